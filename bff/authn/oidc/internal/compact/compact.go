// Package compact takes a JWS in compact serialization (RFC 7515, section 7.1)
// apart before any JOSE library sees it.
//
// [Parse] bounds the size of everything and refuses what makes such libraries
// dangerous: encryption, keys and algorithms that the token brings along, and
// bytes with more than one reading. It verifies nothing.
package compact

import (
	"encoding/base64"
	"slices"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc/internal/strictjson"
)

// Limits, in bytes.
const (
	// MaxToken is the longest token. Verifying one costs about eight times its
	// size in memory, which an outsider can cause with any signature.
	MaxToken = 8 << 10
	// MaxHeader is the longest header segment, as base64url.
	MaxHeader = 2 << 10
	// MaxKeyID is the longest kid.
	MaxKeyID = 256
)

// Unverified is a token that has the right form. Nothing in it may be believed
// before its signature is verified.
type Unverified struct {
	// SigningInput is what is signed: header and payload as they came.
	SigningInput string
	// Signature is the signature, decoded and never empty.
	Signature []byte
	// Algorithm is the header's alg; it is one of those that Parse was given.
	Algorithm string
	// KeyID is the header's kid, never empty.
	KeyID string
	// Type is the header's typ, or empty.
	Type string
	// Issuer is the claim iss, never empty.
	Issuer string
	// Claims are all claims.
	Claims strictjson.Object
}

// Header parameters that say where the key is, and those that change how the
// token is to be read (RFC 7515, section 4.1; RFC 7797; RFC 7516).
var refusedParameters = []string{"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc"}

// Parse reads a token that is to be signed with one of algorithms. Its error is
// an [*authn.Error].
func Parse(token string, algorithms []string) (*Unverified, error) {
	if len(token) > MaxToken {
		return nil, refuse(authn.ReasonSize, "token")
	}
	header, payload, signature, err := split(token)
	if err != nil {
		return nil, err
	}
	u := &Unverified{SigningInput: token[:len(header)+1+len(payload)]}
	if err := u.readHeader(header, algorithms); err != nil {
		return nil, err
	}
	if err := u.readPayload(payload); err != nil {
		return nil, err
	}
	var ok bool
	if u.Signature, ok = decode(signature); !ok || len(u.Signature) == 0 {
		return nil, refuse(authn.ReasonMalformed, "signature is not base64url")
	}
	return u, nil
}

// split cuts a token into its three segments, of which each character is one of
// base64url. It looks at each byte once and stops at the first that is wrong.
func split(token string) (header, payload, signature string, err error) {
	var dots [4]int
	n := 0
	for i := range len(token) {
		switch c := token[i]; {
		case c == '.':
			if n == len(dots) {
				return "", "", "", refuse(authn.ReasonMalformed, "too many segments")
			}
			dots[n] = i
			n++
		case !isBase64URL(c):
			return "", "", "", refuse(authn.ReasonMalformed, "a character that is not base64url")
		}
	}
	switch n {
	case 2:
		return token[:dots[0]], token[dots[0]+1 : dots[1]], token[dots[1]+1:], nil
	case 4:
		return "", "", "", refuse(authn.ReasonUnsupported, "encrypted")
	default:
		return "", "", "", refuse(authn.ReasonMalformed, "not three segments")
	}
}

func (u *Unverified) readHeader(segment string, algorithms []string) error {
	if len(segment) > MaxHeader {
		return refuse(authn.ReasonSize, "header")
	}
	header, err := object("header", segment)
	if err != nil {
		return err
	}
	for _, name := range refusedParameters {
		if _, ok := header.Get(name); ok {
			return refuse(authn.ReasonUnsupported, "header parameter "+name)
		}
	}
	var ok bool
	if u.Algorithm, ok = text(header, "alg"); !ok || !slices.Contains(algorithms, u.Algorithm) {
		return refuse(authn.ReasonAlgorithm, "not allowed")
	}
	if u.KeyID, ok = text(header, "kid"); !ok || u.KeyID == "" || len(u.KeyID) > MaxKeyID {
		return refuse(authn.ReasonKey, "kid is missing, empty, too long or not a string")
	}
	if u.Type, ok = text(header, "typ"); !ok {
		if _, ok := header.Get("typ"); ok {
			return refuse(authn.ReasonMalformed, "typ is not a string")
		}
	}
	return nil
}

func (u *Unverified) readPayload(segment string) error {
	claims, err := object("payload", segment)
	if err != nil {
		return err
	}
	issuer, ok := text(claims, "iss")
	if !ok || issuer == "" {
		return refuse(authn.ReasonIssuer, "iss is missing, empty or not a string")
	}
	u.Issuer, u.Claims = issuer, claims
	return nil
}

func object(what, segment string) (strictjson.Object, error) {
	raw, ok := decode(segment)
	if !ok {
		return nil, refuse(authn.ReasonMalformed, what+" is not base64url")
	}
	o, err := strictjson.Parse(raw)
	if err != nil {
		return nil, refuse(authn.ReasonMalformed, what+": "+err.Error())
	}
	return o, nil
}

// decode is strict: there is one text for each sequence of bytes. Line ends,
// which encoding/base64 skips, are not left by split.
func decode(segment string) ([]byte, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	return raw, err == nil
}

func text(o strictjson.Object, name string) (string, bool) {
	raw, ok := o.Get(name)
	if !ok {
		return "", false
	}
	return strictjson.Text(raw)
}

func isBase64URL(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

func refuse(reason authn.Reason, detail string) error {
	return &authn.Error{Reason: reason, Detail: detail}
}
