package oidc_test

import (
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
)

// FuzzKeySet: whatever an issuer serves as its keys, what is kept of it are
// public keys for signatures, or there is an error.
func FuzzKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"x"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"e","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"e","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		usable, odd, err := oidc.ReadKeySetForTest(body)
		if err != nil && usable > 0 {
			t.Fatal("an error and keys")
		}
		if odd {
			t.Fatal("a key was kept that is no public signature key")
		}
	})
}
