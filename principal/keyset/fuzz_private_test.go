package keyset_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
)

// FuzzPrivateKey: a key file gives a key that can sign principals, or an error.
func FuzzPrivateKey(f *testing.F) {
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	f.Add([]byte("Key-Id: x\n-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := keyset.ParsePrivateKeyForTest(data)
		if (err == nil) != (key != nil) {
			t.Fatal("an error and a key, or neither")
		}
		if err != nil {
			return
		}
		if _, err := principal.NewSigner("https://edge.example", key, ""); err != nil {
			t.Fatalf("a key was read that cannot sign: %v", err)
		}
	})
}
