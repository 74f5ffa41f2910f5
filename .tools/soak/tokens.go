package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// provider is an OpenID provider, and many: each path is an issuer of its own.
type provider struct {
	url     string
	signers map[string]jose.Signer
	keys    jose.JSONWebKeySet
}

func newProvider() (*provider, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &provider{url: "http://" + l.Addr().String(), signers: make(map[string]jose.Signer)}
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	for alg, key := range map[string]crypto.Signer{"RS256": old, "ES256": curve} {
		signer, err := jose.NewSigner(
			jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: jose.JSONWebKey{Key: key, KeyID: alg}},
			(&jose.SignerOptions{}).WithType("at+jwt"))
		if err != nil {
			return nil, err
		}
		p.signers[alg] = signer
		p.keys.Keys = append(p.keys.Keys, jose.JSONWebKey{Key: key.Public(), KeyID: alg, Algorithm: alg, Use: "sig"})
	}
	srv := &http.Server{Handler: http.HandlerFunc(p.serve), ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(l) }()
	return p, nil
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	base, found := strings.CutSuffix(r.URL.Path, "/.well-known/openid-configuration")
	if !found {
		_ = json.NewEncoder(w).Encode(p.keys)
		return
	}
	issuer := p.url + base
	_ = json.NewEncoder(w).Encode(map[string]any{
		"issuer": issuer, "jwks_uri": issuer + "/keys", "authorization_endpoint": issuer + "/auth", "token_endpoint": issuer + "/token",
	})
}

// token returns one that nobody has seen before, of the first issuer.
func (p *provider) token(alg string) string { return p.tokenOf(alg, "alice") }

// tokenOf returns one of a user.
func (p *provider) tokenOf(alg, user string) string {
	payload, err := json.Marshal(map[string]any{
		"iss": p.url + "/0", "sub": user, "aud": "shop", "client_id": "web", "scope": "orders:read orders:write",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "jti": rand.Text(),
	})
	if err != nil {
		panic(err)
	}
	jws, err := p.signers[alg].Sign(payload)
	if err != nil {
		panic(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return text
}
