package principal_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

var universe = []string{"a", "ab", "abc", "b", "c:read", "c:write"}

// step is one link of a sequence: the scopes it names, as a set of bits over
// the universe; inherit is a link that names none.
type step int

const inherit step = -1

func (s step) scopes() []string {
	var list []string
	for i, scope := range universe {
		if s>>i&1 != 0 {
			list = append(list, scope)
		}
	}
	return list
}

// grows returns the first step after which something is allowed that was not
// allowed before it, or -1.
func grows(start step, links []step) int {
	scopes, roles := start.scopes(), []string{"admin"}
	for i, link := range links {
		var named *[]string
		if link != inherit {
			list := link.scopes()
			named = &list
		}
		left, leftRoles, ok := principal.NarrowForTest(scopes, roles, named)
		if !ok {
			return -1 // refused: nothing is allowed at all
		}
		for _, s := range left {
			if !slices.Contains(scopes, s) {
				return i
			}
		}
		if len(leftRoles) > len(roles) {
			return i
		}
		scopes, roles = left, leftRoles
	}
	return -1
}

// E09: a million random sequences of links, none of which ever adds a right.
func TestE09NarrowingIsMonotonic(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(9, 9))
	accepted := 0
	for range 1_000_000 {
		start := step(rng.IntN(1 << len(universe)))
		links := make([]step, rng.IntN(7))
		have := start
		for i := range links {
			switch rng.IntN(4) {
			case 0:
				links[i] = inherit
			case 1:
				links[i] = step(rng.IntN(1 << len(universe)))
			default: // mostly what is allowed, so that sequences get long
				links[i] = have & step(rng.IntN(1<<len(universe)))
			}
			if links[i] != inherit {
				have = links[i]
			}
		}
		if grows(start, links) >= 0 {
			failWithShrunk(t, start, links)
		}
		accepted += len(links)
	}
	if accepted == 0 {
		t.Fatal("no sequence had a link")
	}
}

// failWithShrunk drops links and scopes for as long as the example still fails,
// saves it, and fails.
func failWithShrunk(t *testing.T, start step, links []step) {
	t.Helper()
	for again := true; again; {
		again = false
		for i := range links {
			if shorter := slices.Delete(slices.Clone(links), i, i+1); grows(start, shorter) >= 0 {
				links, again = shorter, true
				break
			}
		}
	}
	example := fmt.Sprintf("start %q links %v", start.scopes(), links)
	path := filepath.Join(t.ArtifactDir(), "narrowing.txt")
	if err := os.WriteFile(path, []byte(example+"\n"), 0o600); err != nil {
		t.Error(err)
	}
	t.Fatalf("a right was added: %s (saved as %s)", example, path)
}

// requests is a universe of rules; what a principal may do is which of them
// permit it.
func requests() (*principal.Rules, []string) {
	rules := &principal.Rules{}
	kinds := []principalv1.Kind{1, 2, 3}
	for bits := range 1 << 3 {
		all := step(bits).scopes()
		rules = rules.WithMethod(fmt.Sprintf("/all/%d", bits), &principalv1.AccessRule{Kinds: kinds, AllScopes: all})
		rules = rules.WithMethod(fmt.Sprintf("/any/%d", bits), &principalv1.AccessRule{Kinds: kinds, AnyScopes: all})
		rules = rules.WithMethod(fmt.Sprintf("/role/%d", bits), &principalv1.AccessRule{Kinds: kinds, AllScopes: all, AnyRoles: []string{"admin"}})
	}
	return rules, rules.Methods()
}

// E09: the same over signed chains, from the propagator to the verifier and the
// rules.
func TestE09SignedChainsAreMonotonic(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(9, 10))
	iss := principaltest.NewIssuer(t)
	services := []string{"s1", "s2", "s3"}
	verifiers := map[string]*principal.Verifier{}
	propagators := map[string]*principal.Propagator{}
	for _, s := range services {
		propagators[s] = iss.Propagator(s)
	}
	for _, s := range services {
		verifiers[s] = iss.Verifier(s)
	}
	rules, methods := requests()
	for range signedChains {
		have := step(rng.IntN(1 << len(universe)))
		p := principaltest.Human(have.scopes()...)
		p.Roles = []string{"admin"}
		at := services[rng.IntN(len(services))]
		header := iss.Header(at, p)
		var before map[string]bool
		for range 1 + rng.IntN(3) {
			verified, err := verifiers[at].Verify(t.Context(), header)
			if err != nil {
				t.Fatal(err)
			}
			now := map[string]bool{}
			for _, m := range methods {
				now[m] = principal.PermitsForTest(rules, m, verified) == 0
				if before != nil && now[m] && !before[m] {
					t.Fatalf("%v may now call %s: scopes %q", verified, m, verified.Scopes())
				}
			}
			before = now
			next := services[rng.IntN(len(services))]
			ctx := contextOf(t, verifiers[at], header)
			if rng.IntN(2) == 0 {
				have &= step(rng.IntN(1 << len(universe)))
				if ctx, err = principal.Narrow(ctx, have.scopes()...); err != nil {
					t.Fatal(err)
				}
			}
			sent, err := propagators[at].Header(ctx, next, "")
			if err != nil {
				t.Fatal(err)
			}
			at, header = next, sent.Binary()
		}
	}
}
