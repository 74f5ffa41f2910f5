package principal

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// KeyRole says what a key may sign. A key has one role.
type KeyRole uint8

// The roles.
const (
	// RoleAuthority keys belong to issuers and sign principals.
	RoleAuthority KeyRole = 1
	// RoleLink keys belong to one service each and sign its links.
	RoleLink KeyRole = 2
)

// String returns "authority" or "link".
func (r KeyRole) String() string {
	switch r {
	case RoleAuthority:
		return "authority"
	case RoleLink:
		return "link"
	default:
		return "none"
	}
}

// KeyRef is how a key is found: never by its id alone, or a service could sign
// in the name of another one.
type KeyRef struct {
	Role  KeyRole
	Owner string // an issuer's name, or a service name
	ID    string
}

// Key is a public key with what it may be used for, and when.
type Key struct {
	KeyRef
	Public *PublicKey
	// NotBefore and NotAfter bound when the key verifies, with the verifier's
	// skew; zero is unbounded.
	NotBefore, NotAfter time.Time
}

// KeySet finds verification keys. It is safe for concurrent use.
type KeySet interface {
	// Find returns the key, or nil if there is none. An error says that the set
	// has no keys at all now, so that nothing can be decided. It may fetch, and
	// must bound how long and how often it does.
	Find(ctx context.Context, ref KeyRef) (*Key, error)
	// Version changes whenever a key that was there has changed or gone, never
	// before it has: what was verified under another version is verified again.
	Version() uint64
}

// PublicKey is a checked verification key: Ed25519, or ECDSA on P-256. The
// algorithm is a property of the key, never of a message. It is immutable.
type PublicKey struct {
	ed ed25519.PublicKey
	ec *ecdsa.PublicKey
	id string
}

// NewPublicKey checks a key and wraps it. It refuses Ed25519 points that are
// not canonical or of low order (for those a signature over any message can be
// made up without a private key), and curves other than P-256.
func NewPublicKey(key crypto.PublicKey) (*PublicKey, error) {
	switch k := key.(type) {
	case ed25519.PublicKey:
		if err := checkEd25519(k); err != nil {
			return nil, err
		}
		x := base64.RawURLEncoding.EncodeToString(k)
		return &PublicKey{ed: slices.Clone(k), id: keyID(`{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`)}, nil
	case *ecdsa.PublicKey:
		if k == nil || k.Curve != elliptic.P256() {
			return nil, errors.New("principal: an ECDSA key must be on P-256")
		}
		point, err := pointOf(k)
		if err != nil {
			return nil, fmt.Errorf("principal: bad P-256 key: %w", err)
		}
		x := base64.RawURLEncoding.EncodeToString(point[1:33])
		y := base64.RawURLEncoding.EncodeToString(point[33:])
		own, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			return nil, fmt.Errorf("principal: bad P-256 key: %w", err)
		}
		return &PublicKey{ec: own, id: keyID(`{"crv":"P-256","kty":"EC","x":"` + x + `","y":"` + y + `"}`)}, nil
	default:
		return nil, fmt.Errorf("principal: a key of type %T cannot be used; use Ed25519 or ECDSA P-256", key)
	}
}

// pointOf is k.Bytes for a key that may also be empty, where that panics.
func pointOf(k *ecdsa.PublicKey) (point []byte, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("has no coordinates")
		}
	}()
	return k.Bytes()
}

// keyID is the first 11 characters of the RFC 7638 thumbprint.
func keyID(canonicalJWK string) string {
	sum := sha256.Sum256([]byte(canonicalJWK))
	return base64.RawURLEncoding.EncodeToString(sum[:])[:11]
}

// ID returns the key's default id: the first 11 characters of its RFC 7638
// thumbprint.
func (k *PublicKey) ID() string { return k.id }

// Equal reports whether both are the same key.
func (k *PublicKey) Equal(other *PublicKey) bool {
	if other == nil {
		return false
	}
	if k.ed != nil {
		return k.ed.Equal(other.ed)
	}
	return other.ec != nil && k.ec.Equal(other.ec)
}

// Crypto returns the key as an [ed25519.PublicKey] or [*ecdsa.PublicKey].
func (k *PublicKey) Crypto() crypto.PublicKey {
	if k.ed != nil {
		return slices.Clone(k.ed)
	}
	point, _ := k.ec.Bytes() // a copy that shares no coordinates
	own, _ := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	return own
}

// verify checks a signature of 64 bytes.
func (k *PublicKey) verify(message, signature []byte) Reason {
	if k.ed != nil {
		if ed25519.Verify(k.ed, message, signature) {
			return 0
		}
		return ReasonSignature
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if r.Sign() == 0 || r.Cmp(p256Order) >= 0 || s.Sign() == 0 || s.Cmp(p256HalfOrder) > 0 {
		return ReasonMalformed // one signature, one spelling
	}
	digest := sha256.Sum256(message)
	if ecdsa.Verify(k.ec, digest[:], r, s) {
		return 0
	}
	return ReasonSignature
}

var (
	p256Order     = elliptic.P256().Params().N
	p256HalfOrder = new(big.Int).Rsh(p256Order, 1)
)

// window returns the seconds between which the key verifies, skew included.
func (k *Key) window() (from, until int64) {
	from, until = minTime, maxTime
	if !k.NotBefore.IsZero() {
		from = k.NotBefore.Unix() - skew
	}
	if !k.NotAfter.IsZero() {
		until = k.NotAfter.Unix() + skew
	}
	return from, until
}

// Check says what is wrong with a key record: an owner, id or role that no
// header could name, or a missing key.
func (k *Key) Check() error {
	switch {
	case k.Public == nil:
		return errors.New("principal: key without a public key")
	case k.Role != RoleAuthority && k.Role != RoleLink:
		return errors.New("principal: key without a role")
	case k.Role == RoleLink && !wire.IsServiceName(k.Owner):
		return fmt.Errorf("principal: link key of %q: the owner is not a service name", k.Owner)
	case k.Owner == "":
		return errors.New("principal: key without an owner")
	case !wire.IsText(k.Owner):
		return fmt.Errorf("principal: authority key %q: the owner is not 1 to %d bytes of text", k.ID, wire.MaxString)
	case !wire.IsKeyID(k.ID):
		return fmt.Errorf("principal: key of %q: the id is not 1 to 32 characters of [A-Za-z0-9_-]", k.Owner)
	}
	return nil
}
