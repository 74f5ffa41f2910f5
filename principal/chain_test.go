package principal_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/internal/forge"
)

var chainServices = []string{"s1", "s2", "s3", "s4"}

// modelChain is a chain of which a test knows everything: who signed each block
// for whom, and with which opening.
type modelChain struct {
	blocks    forge.Chain
	signers   []string // of each block; the edge signs the first
	audiences []string
	maxLinks  int
}

func randomChain(rng *rand.Rand) modelChain {
	first := chainServices[rng.IntN(len(chainServices))]
	most := 1 + rng.IntN(6)
	m := modelChain{signers: []string{"bff"}, audiences: []string{first}, maxLinks: most}
	m.blocks = linked(func(p *principalv1.Principal) { p.Audience, p.MaxLinks = first, uint32(most) })
	for n := 1; n <= rng.IntN(most+1); n++ {
		m = m.pass(chainServices[rng.IntN(len(chainServices))])
	}
	return m
}

func linkKeyOf(service string) forge.Key {
	return forge.Ed25519Key(principal.RoleLink, service, "k")
}

func (m modelChain) pass(to string) modelChain {
	n := len(m.blocks)
	from := m.audiences[n-1]
	return modelChain{
		blocks:    m.blocks.Append(linkKeyOf(from), linkPayload(n, to)),
		signers:   append(slices.Clip(m.signers), from),
		audiences: append(slices.Clip(m.audiences), to),
		maxLinks:  m.maxLinks,
	}
}

// knows returns the openings that a service has seen: of the blocks it signed
// and of those it received as the tail.
func (m modelChain) knows(service string) []int {
	var list []int
	for i := range m.blocks {
		if m.signers[i] == service || m.audiences[i] == service {
			list = append(list, i)
		}
	}
	return list
}

// accepts is the reference model: the rules in words, without a format.
func (m modelChain) accepts(tail int, presenter, target string, mtls bool) bool {
	return m.audiences[tail] == target && // meant for it
		slices.Contains(m.knows(presenter), tail) && // by someone who holds the whole chain
		(!mtls || m.signers[tail] == presenter) && // and, if that is checked, by its signer
		tail <= m.maxLinks
}

// D01 D02 D03 D05 D06 D07 D17: what each party that ever held a part of a chain
// can do with any prefix of it, against a model.
func TestDChainsAgainstModel(t *testing.T) {
	t.Parallel()
	chains := 150
	for _, mtls := range []bool{false, true} {
		t.Run(fmt.Sprintf("mtls=%v", mtls), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(1, 2))
			guards := modelGuards(t, mtls)
			parties := append([]string{"bff", "outsider"}, chainServices...)
			accepted, refused := 0, 0
			for range chains {
				m := randomChain(rng)
				for tail := range m.blocks {
					for _, presenter := range parties {
						for _, target := range chainServices {
							want := m.accepts(tail, presenter, target, mtls)
							got := m.present(t, guards[target], tail, presenter, mtls)
							if got != want {
								t.Fatalf("signers %v audiences %v: %s presents the first %d blocks to %s: accepted %v, the model says %v",
									m.signers, m.audiences, presenter, tail+1, target, got, want)
							}
							if got {
								accepted++
							} else {
								refused++
							}
							m.appendOwn(t, guards[target], tail, presenter, target, mtls)
						}
					}
				}
			}
			if accepted < 100 || refused < 1000 {
				t.Errorf("only %d accepted and %d refused: the test shows nothing", accepted, refused)
			}
		})
	}
}

func modelGuards(t *testing.T, mtls bool) map[string]*principal.Guard {
	t.Helper()
	set := keySet{i1.Public()}
	for _, s := range chainServices {
		set = append(set, linkKeyOf(s).Public())
	}
	guards := map[string]*principal.Guard{}
	for _, s := range chainServices {
		opts := []principal.VerifierOption{principal.WithClock(func() time.Time { return time.Unix(vNow, 0) })}
		if mtls {
			opts = append(opts, principal.WithMTLS("td.example", nil))
		}
		v, err := principal.NewVerifier(s, set, opts...)
		if err != nil {
			t.Fatal(err)
		}
		guards[s] = anyoneGuard(t, v)
	}
	return guards
}

const anyMethod = "/any.Service/Call"

// anyoneGuard admits every verified principal.
func anyoneGuard(t testing.TB, v *principal.Verifier, opts ...principal.GuardOption) *principal.Guard {
	t.Helper()
	rules := (&principal.Rules{}).WithMethod(anyMethod, &principalv1.AccessRule{Kinds: []principalv1.Kind{1, 2, 3}})
	g, err := principal.NewGuard(v, rules, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// present lets presenter try the prefix with every opening it knows.
func (m modelChain) present(t *testing.T, guard *principal.Guard, tail int, presenter string, mtls bool) bool {
	t.Helper()
	tries := m.knows(presenter)
	if len(tries) == 0 {
		tries = []int{99} // an outsider has to guess
	}
	ok := false
	for _, opening := range tries {
		header := m.blocks[:tail+1].Header(forge.Opening(strconv.Itoa(opening)))
		ok = ok || admits(t, guard, header, presenter, mtls)
	}
	return ok
}

// appendOwn lets presenter append a link of its own to the prefix. Only the
// party that the prefix is meant for may.
func (m modelChain) appendOwn(t *testing.T, guard *principal.Guard, tail int, presenter, target string, mtls bool) {
	t.Helper()
	n := tail + 1
	header := m.blocks[:n].Append(linkKeyOf(presenter), linkPayload(n, target)).Header(forge.Opening(strconv.Itoa(n)))
	want := m.audiences[tail] == presenter && n <= m.maxLinks
	if len(header) > 3072 || n > 6 {
		want = false
	}
	if got := admits(t, guard, header, presenter, mtls); got != want {
		t.Fatalf("signers %v audiences %v: %s appends its own link to the first %d blocks, for %s: accepted %v, the model says %v",
			m.signers, m.audiences, presenter, n, target, got, want)
	}
}

func admits(t *testing.T, guard *principal.Guard, header, peer string, mtls bool) bool {
	t.Helper()
	call := principal.Call{Procedure: anyMethod, Values: []string{header}}
	if mtls {
		call.TLS = peerState(peer)
	}
	_, err := guard.Admit(t.Context(), call)
	return err == nil
}

// Any change of any byte of a header is refused, in both modes.
func TestEveryByteMatters(t *testing.T) {
	t.Parallel()
	one := linked().Append(orders, linkPayload(1, "payments"))
	for name, c := range map[string]struct{ header, audience string }{
		"relay":  {relay(), "orders"},
		"linked": {opened(linked()), "orders"},
		"hop":    {opened(one), "payments"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := vectorVerifier(t, c.audience)
			if _, err := v.Verify(t.Context(), c.header); err != nil {
				t.Fatal(err)
			}
			for i := range c.header {
				for _, mask := range []byte{1, 0x20, 0x80} {
					changed := []byte(c.header)
					changed[i] ^= mask
					if p, err := v.Verify(t.Context(), string(changed)); err == nil || p != nil {
						t.Fatalf("byte %d ^ %#x: accepted", i, mask)
					}
				}
				if _, err := v.Verify(t.Context(), c.header[:i]); err == nil {
					t.Fatalf("cut at %d: accepted", i)
				}
			}
		})
	}
}

func vectorVerifier(t testing.TB, audience string, opts ...principal.VerifierOption) *principal.Verifier {
	t.Helper()
	var set keySet
	for _, k := range vKeys {
		set = append(set, k.Public())
	}
	opts = append([]principal.VerifierOption{
		principal.AcceptRelay(vMesh), principal.WithClock(func() time.Time { return time.Unix(vNow, 0) }),
	}, opts...)
	v, err := principal.NewVerifier(audience, set, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func FuzzVerify(f *testing.F) {
	one := linked().Append(orders, linkPayload(1, "payments"))
	f.Add([]byte(relay()))
	f.Add([]byte(opened(one)))
	f.Add([]byte(opened(one.Append(payments, linkPayload(2, "ledger", scopes("orders:read"))))))
	known := map[string]bool{relay(): true, opened(one): true}
	v := vectorVerifier(f, "payments")
	f.Fuzz(func(t *testing.T, header []byte) {
		p, err := v.Verify(t.Context(), string(header))
		if (err == nil) != (p != nil) {
			t.Fatal("an error and a principal, or neither")
		}
		if err == nil && !known[string(header)] {
			t.Fatalf("accepted a header that nobody signed: %x", header)
		}
		if err != nil && principal.ReasonOf(err) == 0 {
			t.Fatalf("no reason: %v", err)
		}
	})
}

func FuzzHeaderText(f *testing.F) {
	f.Add(principal.EncodeHeader(relay()))
	f.Add("QQ==")
	f.Fuzz(func(t *testing.T, text string) {
		header, reason := principal.DecodeHeaderForTest(text)
		if reason != 0 {
			return
		}
		again := principal.EncodeHeader(header)
		if trimmed := trimPadding(text); again != trimmed {
			t.Fatalf("%q decodes to what is written %q", text, again)
		}
	})
}

func trimPadding(s string) string {
	for range 2 {
		if len(s) > 0 && s[len(s)-1] == '=' {
			s = s[:len(s)-1]
		}
	}
	return s
}
