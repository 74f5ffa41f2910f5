package oidc_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
)

// BenchmarkAuthenticate compares a token that was never seen before with the bare
// verification of a signature by its key.
func BenchmarkAuthenticate(b *testing.B) {
	for _, alg := range []string{"RS256", "ES256"} {
		k := newKey("k1", alg)
		digest := sha256.Sum256([]byte("what is signed"))
		b.Run(alg+"/bare", func(b *testing.B) {
			signature := must(k.signer.Sign(nil, digest[:], crypto.SHA256))
			for b.Loop() {
				ok := false
				switch public := k.signer.Public().(type) {
				case *rsa.PublicKey:
					ok = rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature) == nil
				case *ecdsa.PublicKey:
					ok = ecdsa.VerifyASN1(public, digest[:], signature)
				}
				if !ok {
					b.Fatal("not verified")
				}
			}
		})
		b.Run(alg+"/token", func(b *testing.B) {
			p := newIDP(b, k)
			a := start(b, []oidc.Issuer{p.config()})
			token := p.token(time.Now())
			for b.Loop() {
				if _, err := authenticate(b.Context(), a, token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
