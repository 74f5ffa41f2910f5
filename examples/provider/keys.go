package provider

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// The typ of what is signed. op signs every token as "JWT" and has no setting
// for it; RFC 9068 asks for the first, so that an ID token does not pass for an
// access token.
const (
	accessTokenType = "at+jwt"
	idTokenType     = "JWT"
)

type key struct {
	id        string
	algorithm jose.SignatureAlgorithm
	private   crypto.Signer
}

func newKeys(algorithms []jose.SignatureAlgorithm) ([]key, error) {
	if len(algorithms) == 0 {
		algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}
	}
	var keys []key
	for _, algorithm := range algorithms {
		k, err := newKey(algorithm)
		if err != nil {
			return nil, fmt.Errorf("provider: %w", err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func newKey(algorithm jose.SignatureAlgorithm) (key, error) {
	private, err := generate(algorithm)
	if err != nil {
		return key{}, err
	}
	public := jose.JSONWebKey{Key: private.Public()}
	thumbprint, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return key{}, err
	}
	return key{base64.RawURLEncoding.EncodeToString(thumbprint), algorithm, private}, nil
}

func generate(algorithm jose.SignatureAlgorithm) (crypto.Signer, error) {
	switch algorithm {
	case jose.RS256:
		return rsa.GenerateKey(rand.Reader, 2048)
	case jose.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	default:
		return nil, fmt.Errorf("no keys for algorithm %q", algorithm)
	}
}

func (k key) sign(typ string, claims any) (string, error) {
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: k.algorithm, Key: jose.JSONWebKey{Key: k.private, KeyID: k.id}},
		new(jose.SignerOptions).WithType(jose.ContentType(typ)))
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(claims).Serialize()
}

// signingKey finds the key of an algorithm; empty means the first key.
func (p *Provider) signingKey(algorithm jose.SignatureAlgorithm) (key, bool) {
	i := slices.IndexFunc(p.keys, func(k key) bool { return algorithm == "" || k.algorithm == algorithm })
	if i < 0 {
		return key{}, false
	}
	return p.keys[i], true
}

func (p *Provider) publicKeys() jose.JSONWebKeySet {
	var set jose.JSONWebKeySet
	for _, k := range p.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{
			Key: k.private.Public(), KeyID: k.id, Algorithm: string(k.algorithm), Use: "sig",
		})
	}
	return set
}

func (p *Provider) algorithms() []jose.SignatureAlgorithm {
	var all []jose.SignatureAlgorithm
	for _, k := range p.keys {
		all = append(all, k.algorithm)
	}
	return all
}
