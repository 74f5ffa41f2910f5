package wiretext_test

import (
	"crypto/ed25519"
	"testing"
	"unicode"
	"unicode/utf8"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"

	"github.com/onbehalf-dev/onbehalf/bff/internal/wiretext"
)

// What the wire format itself refuses is the same, character by character.
func TestIsHidden(t *testing.T) {
	t.Parallel()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := principal.NewSigner("https://edge.test", key, "")
	if err != nil {
		t.Fatal(err)
	}
	for r := range rune(unicode.MaxRune + 1) {
		// All that could be special, and of the others some.
		if !utf8.ValidRune(r) || r > 0x3000 && r != '\ufeff' && r%997 != 0 {
			continue
		}
		_, err := signer.Sign(&principalv1.Principal{
			Audience: "orders", IssuedAt: 1_800_000_000, ExpiresAt: 1_800_000_060, Tenant: "a" + string(r) + "b",
			Subject: &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: "alice"}},
		})
		if refused := err != nil; refused != wiretext.IsHidden(r) {
			t.Errorf("%U: hidden %v, signed: %v", r, !refused, err)
		}
	}
}
