package principal

import (
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// Signer issues principals in the name of one issuer. Services do not need
// one: the edge signs, tests use principaltest. It is safe for concurrent use if
// its key is.
type Signer struct {
	issuer string
	key    *blockSigner
}

// NewSigner returns a signer for the issuer. The key is Ed25519, or ECDSA P-256
// for a key in a KMS or HSM. keyID names it in headers; "" is the default,
// the first 11 characters of its RFC 7638 thumbprint.
func NewSigner(issuer string, key crypto.Signer, keyID string) (*Signer, error) {
	if !wire.IsText(issuer) {
		return nil, fmt.Errorf("principal: issuer %q: use 1 to %d bytes of text, such as \"https://edge.example\"", issuer, wire.MaxString)
	}
	k, err := newBlockSigner(key, keyID)
	if err != nil {
		return nil, err
	}
	return &Signer{issuer: issuer, key: k}, nil
}

// Format keeps every verb of fmt from printing the private key.
func (s *Signer) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "principal.Signer{"+s.issuer+"}")
}

// Key returns the public half under the name in which it signs, without a
// window.
func (s *Signer) Key() Key {
	return Key{KeyRef: KeyRef{Role: RoleAuthority, Owner: s.issuer, ID: s.key.id}, Public: s.key.public}
}

// Sign signs p and returns the header, decoded; see [EncodeHeader]. p says all
// but what the signer adds: the issuer, the id (16 random bytes unless given)
// and, in linked mode, the commitment. What a verifier would refuse in any
// circumstances is an error that names the field. p is not changed.
func (s *Signer) Sign(p *principalv1.Principal) (header string, err error) {
	if p.GetIssuer() != "" && p.GetIssuer() != s.issuer {
		return "", fmt.Errorf("principal: issuer: the signer's is %q", s.issuer)
	}
	if len(p.GetCommitment()) > 0 {
		return "", errors.New("principal: commitment: is made by the signer")
	}
	w, err := wireFrom(p)
	if err != nil {
		return "", fmt.Errorf("principal: %w", err)
	}
	w.Issuer = s.issuer
	var random [2 * len(wire.ID{})]byte
	rand.Read(random[:]) // once: it is a system call
	if len(p.GetId()) == 0 {
		w.ID = wire.ID(random[:len(wire.ID{})])
	}
	opening := wire.ID(random[len(wire.ID{}):])
	if !w.Relay() {
		w.Commitment, w.HasCommitment = wire.Commitment(opening), true
	}
	return s.seal(w, opening)
}

// seal encodes and signs. The encoding is parsed by what verifiers use, so that
// nothing is signed that they would call malformed.
func (s *Signer) seal(w *wire.Principal, opening wire.ID) (string, error) {
	payload := string(wire.AppendPrincipal(make([]byte, 0, 512), w))
	var parsed wire.Principal
	if err := wire.ParsePrincipal(payload, &parsed); err != nil {
		return "", fmt.Errorf("principal: %w", err)
	}
	if life := w.ExpiresAt - w.IssuedAt; life <= 0 || life > maxLife {
		return "", fmt.Errorf("principal: expires_at: must be 1 to %d seconds after issued_at, is %d", maxLife, life)
	}
	if w.StreamUntil != 0 && w.StreamUntil < w.ExpiresAt {
		return "", errors.New("principal: stream_until: is before expires_at")
	}
	message := wire.Transcript{}.AppendSigned(make([]byte, 0, len(payload)+96), false, s.key.id, payload)
	signature, err := s.key.sign(message)
	if err != nil {
		return "", err
	}
	env := wire.Envelope{Authority: wire.Block{Payload: payload, KeyID: s.key.id, Signature: string(signature)}}
	if !w.Relay() {
		env.Opening = string(opening[:])
	}
	if err := wire.CheckMode(&env, w); err != nil {
		return "", fmt.Errorf("principal: %w", err)
	}
	header := wire.AppendEnvelope(make([]byte, 0, len(payload)+160), &env)
	if len(header) > wire.MaxHeader {
		return "", fmt.Errorf("principal: %d bytes, of which %s takes the most; %d are allowed", len(header), wire.LargestField(w), wire.MaxHeader)
	}
	return string(header), nil
}
