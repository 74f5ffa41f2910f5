package principal_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"math/big"
	"testing"

	"github.com/onbehalf-dev/onbehalf/principal"
)

func proofKeys(t *testing.T) map[string]crypto.Signer {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"Ed25519": ed, "P-256": ec}
}

func TestProof(t *testing.T) {
	t.Parallel()
	for name, key := range proofKeys(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			public, err := principal.NewPublicKey(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			message := []byte("onbehalf/v1 test\x00what is asked for")
			signature, err := principal.SignProof(key, message)
			if err != nil || !public.VerifyProof(message, signature) {
				t.Fatalf("not verified: %v", err)
			}
			for i := range signature { // change any byte, and it is refused
				changed := append([]byte(nil), signature...)
				changed[i] ^= 1
				if public.VerifyProof(message, changed) {
					t.Errorf("byte %d of the signature is not checked", i)
				}
			}
			for i := range message {
				changed := append([]byte(nil), message...)
				changed[i] ^= 1
				if public.VerifyProof(changed, signature) {
					t.Errorf("byte %d of the message is not checked", i)
				}
			}
			for _, length := range []int{0, 1, 63, 65, 72} {
				if public.VerifyProof(message, make([]byte, length)) {
					t.Errorf("a signature of %d bytes", length)
				}
			}
			if name == "P-256" {
				s := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(signature[32:]))
				if public.VerifyProof(message, append(signature[:32:32], s.FillBytes(make([]byte, 32))...)) {
					t.Error("a second spelling of one signature")
				}
			}
		})
	}
}

// C03: what is signed for one purpose must not pass for another. A service that
// is asked to prove something must not sign a block without knowing it.
func TestProofIsNoBlock(t *testing.T) {
	t.Parallel()
	for name, key := range proofKeys(t) {
		public, err := principal.NewPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		for _, message := range []string{
			"", "anything", "\x00", "onbehalf/v1 enroll", "onbehalf/v2 enroll\x00", "onbehalf/v1enroll\x00",
			"onbehalf/v1 authority\x00payload", "onbehalf/v1 link\x00payload", "onbehalf/v1 opening\x00payload",
		} {
			if _, err := principal.SignProof(key, []byte(message)); err == nil {
				t.Errorf("%s signed %q", name, message)
			}
			if ed, ok := key.(ed25519.PrivateKey); ok && public.VerifyProof([]byte(message), ed25519.Sign(ed, []byte(message))) {
				t.Errorf("verified %q", message)
			}
		}
	}
}

func TestSignProofNeedsAKey(t *testing.T) {
	t.Parallel()
	if _, err := principal.SignProof(nil, []byte("onbehalf/v1 test\x00")); err == nil {
		t.Error("signed without a key")
	}
}
