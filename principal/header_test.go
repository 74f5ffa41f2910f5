package principal_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// A03: everything that a CGI-style server folds to our name.
func TestA03Aliases(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"x-principal-bin": true, "X-Principal-Bin": true, "X_Principal_Bin": true, "x_principal-bin": true, "X.Principal.Bin": true,
		"x-PRINCIPAL-bin": true, "X-Principal": true, "X-Principal-Bin-": true, "Grpc-Metadata-X-Principal-Bin": true,
		"Trailer-X-Principal-Bin": true, "x-principal-reason": true, "xx-principal": true, "x.x-principal": true,
		"": false, "x": false, "principal": false, "x-print": false, "x-princip": false, "authorization": false, "x-p-r-i-n-c-i-p": false,
	} {
		if got := principal.IsAlias(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func FuzzIsAlias(f *testing.F) {
	f.Add("X_Principal_Bin")
	f.Add("xxprincipal")
	fold := regexp.MustCompile(`[^a-z0-9]`)
	f.Fuzz(func(t *testing.T, name string) {
		ascii := strings.Map(func(r rune) rune {
			if r >= 'A' && r <= 'Z' {
				return r + 'a' - 'A'
			}
			return r
		}, name)
		want := strings.Contains(fold.ReplaceAllString(ascii, ""), "xprincipal")
		if got := principal.IsAlias(name); got != want {
			t.Fatalf("%q: %v, want %v", name, got, want)
		}
	})
}

// B05: what is too long is refused before it is decoded.
func TestB05TextIsBounded(t *testing.T) { //nolint:paralleltest // it counts allocations
	for _, n := range []int{4097, 8 << 10, 64 << 10, 1 << 20, 16 << 20} {
		text := strings.Repeat("A", n)
		allocations := testing.AllocsPerRun(10, func() {
			if _, r := principal.DecodeHeaderForTest(text); r != principal.ReasonSize {
				t.Fatal(r)
			}
		})
		if allocations > 0 {
			t.Errorf("%d characters: %v allocations", n, allocations)
		}
	}
}
