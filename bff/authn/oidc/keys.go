package oidc

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Bounds on RSA keys, in bits: below, they can be broken (RFC 7518, section
// 3.3); above, each verification is a burden.
const (
	minRSA = 2048
	maxRSA = 8192
)

// keySet is the usable keys of one issuer, by key id.
type keySet map[string][]jose.JSONWebKey

// find returns the key with this id for an algorithm. known is whether there
// are others with the id.
func (s keySet) find(keyID, algorithm string) (key *jose.JSONWebKey, known bool) {
	keys := s[keyID]
	for i := range keys {
		if fits(&keys[i], algorithm) {
			return &keys[i], true
		}
	}
	return nil, len(keys) > 0
}

// fits decides by the key, not by the token, which algorithm is used with it: a
// token that could choose could have an RSA key used as something else.
func fits(key *jose.JSONWebKey, algorithm string) bool {
	if key.Algorithm != "" && key.Algorithm != algorithm {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		switch public.Curve {
		case elliptic.P256():
			return algorithm == "ES256"
		case elliptic.P384():
			return algorithm == "ES384"
		case elliptic.P521():
			return algorithm == "ES512"
		}
		return false
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	default:
		return false
	}
}

// parseKeySet reads a JWK set (RFC 7517, section 5). A key that cannot be used
// is left out and does not break the others; unusable says why, of each that is
// not simply for something else. A set without keys is valid: all are revoked.
func parseKeySet(body []byte) (set keySet, unusable []error, err error) {
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &document); err != nil {
		return nil, nil, errors.New("not a JWK set")
	}
	if document.Keys == nil {
		return nil, nil, errors.New("a JWK set without the member keys")
	}
	set = make(keySet)
	for i, raw := range document.Keys {
		key, err := parseKey(raw)
		if err != nil {
			unusable = append(unusable, fmt.Errorf("keys[%d]: %w", i, err))
		}
		if key != nil {
			set[key.KeyID] = append(set[key.KeyID], *key)
		}
	}
	return set, unusable, nil
}

// parseKey returns nil and no error for a key that is for something else.
func parseKey(raw json.RawMessage) (*jose.JSONWebKey, error) {
	var purpose struct {
		Type       string   `json:"kty"`
		Use        string   `json:"use"`
		Operations []string `json:"key_ops"`
	}
	if err := json.Unmarshal(raw, &purpose); err != nil {
		return nil, errors.New("not a JWK")
	}
	if purpose.Type == "oct" || purpose.Use != "" && purpose.Use != "sig" ||
		purpose.Operations != nil && !slices.Contains(purpose.Operations, "verify") {
		return nil, nil
	}
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(raw); err != nil {
		if errors.Is(err, jose.ErrUnsupportedKeyType) {
			return nil, nil
		}
		return nil, errors.New("not a valid key")
	}
	switch public, isRSA := key.Key.(*rsa.PublicKey); {
	case !key.IsPublic():
		return nil, errors.New("a private key; whoever reads this set can sign")
	case !key.Valid():
		return nil, errors.New("not a valid key")
	case key.KeyID == "":
		return nil, errors.New("no kid")
	case isRSA && (public.N.BitLen() < minRSA || public.N.BitLen() > maxRSA):
		return nil, errors.New("an RSA key of less than 2048 or more than 8192 bits")
	}
	return &key, nil
}
