package principal_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

// Z01: whatever verb of fmt is used by mistake, no header and no key comes out.
// The verbs that do not fit a type are the dangerous ones: fmt then follows
// pointers.
func TestZ01NoVerbPrintsAHeaderOrAKey(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	header := iss.Header("orders", principaltest.Human("a"))
	verifier := iss.Verifier("orders")
	p, err := verifier.Verify(t.Context(), header)
	if err != nil {
		t.Fatal(err)
	}
	ctx := contextOf(t, verifier, header)
	sent, err := iss.Propagator("orders").Header(ctx, "payments", "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := principal.NewSigner("https://edge.example", i1.Private, "")
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{"header": header, "link": sent.Binary(), "key": fmt.Sprint(i1.Private)[1:60]}
	values := map[string]any{
		"principal": p, "event": principal.Event{Principal: p}, "list": []*principal.Principal{p}, "verifier": verifier,
		"propagator": iss.Propagator("orders"), "signer": signer, "sent": sent, "context": ctx,
		"admission": principal.Admission{Principal: p, Context: ctx},
	}
	for name, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%t", "%c", "%U", "%e"} {
			out := fmt.Sprintf(verb, value)
			for what, secret := range secrets {
				if leaks(out, secret) {
					t.Errorf("%s of %s shows the %s", verb, name, what)
				}
			}
		}
	}
}

// leaks looks for a piece of secret in the forms in which fmt prints bytes.
func leaks(out, secret string) bool {
	piece := secret[8:24]
	for _, form := range []string{piece, fmt.Sprintf("%q", piece), fmt.Sprintf("%x", piece), fmt.Sprintf("%X", piece), fmt.Sprintf("%d", []byte(piece))} {
		if strings.Contains(out, strings.Trim(form, `[]"`)) {
			return true
		}
	}
	return false
}

// A rule for a service covers its methods, not other spellings of them: one of
// these would escape the stricter rule of the method.
func TestServiceRuleCoversMethodsOnly(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	rules := (&principal.Rules{}).WithService("a.Admin", &principalv1.AccessRule{}).
		WithMethod("/a.Admin/Delete", &principalv1.AccessRule{AllScopes: []string{"admin"}})
	g := iss.Guard("orders", rules)
	header := iss.Header("orders", principaltest.Human())
	for procedure, want := range map[string]principal.Reason{
		"/a.Admin/List": 0, "/a.Admin/Delete": principal.ReasonScope,
		"/a.Admin/Delete/": principal.ReasonNoRule, "/a.Admin/Delete?x=1": principal.ReasonNoRule, "/a.Admin//Delete": principal.ReasonNoRule,
		"/a.Admin/%44elete": principal.ReasonNoRule, "/a.Admin/": principal.ReasonNoRule, "/a.Admin/x/../Delete": principal.ReasonNoRule,
	} {
		_, err := g.Admit(t.Context(), principal.Call{Procedure: procedure, Values: []string{header}})
		if got := principal.ReasonOf(err); got != want {
			t.Errorf("%s: %v, want %v", procedure, got, want)
		}
	}
}

// A source that answers generation 0, against its contract, is asked each time.
func TestGenerationZeroIsNeverTrusted(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	f := &feed{revoked: map[principal.ID]bool{}}
	v := iss.Verifier("orders", principal.WithRevocations(f))
	header := iss.Header("orders", principaltest.Human())
	p, err := v.Verify(t.Context(), header)
	if err != nil {
		t.Fatal(err)
	}
	f.revoked[p.ID()] = true
	if _, err := v.Verify(t.Context(), header); principal.ReasonOf(err) != principal.ReasonRevoked {
		t.Errorf("accepted: %v", err)
	}
	for name, opt := range map[string]principal.VerifierOption{
		"revocations": principal.WithRevocations(nil), "online check": principal.WithOnlineCheck(nil), "clock": principal.WithClock(nil),
	} {
		if _, err := principal.NewVerifier("orders", iss, opt); err == nil {
			t.Errorf("nil %s: no error", name)
		}
	}
}

// D09: a use is remembered for as long as its header could be accepted, by all
// guards of a verifier, and one issuer cannot use up what another one issued.
func TestD09UsesAreRememberedLongEnough(t *testing.T) {
	t.Parallel()
	c := newClock()
	iss := principaltest.NewIssuerAt(t, c.Now)
	v := iss.Verifier("orders")
	rules := ruleOf(&principalv1.AccessRule{SingleUse: true})
	var guards [2]*principal.Guard
	for i := range guards {
		var err error
		if guards[i], err = principal.NewGuard(v, rules); err != nil {
			t.Fatal(err)
		}
	}
	take := func(g *principal.Guard, header string) principal.Reason {
		_, err := g.Admit(t.Context(), principal.Call{Procedure: method, Values: []string{header}})
		return principal.ReasonOf(err)
	}
	header := iss.Header("orders", principaltest.Human())
	if r := take(guards[0], header); r != 0 {
		t.Fatal(r)
	}
	for range 330 {
		for _, g := range guards {
			if r := take(g, header); r == 0 {
				t.Fatalf("accepted again at %v", c.Now())
			}
		}
		take(guards[1], iss.Header("orders", principaltest.Human())) // sweeps
		c.advance(time.Second)
	}
}

// D16: what a transparent gateway hands over has no proven presenter, and its
// caller is the signer, or else the gateway itself.
func TestD16GatewaysProveNothing(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	v := iss.Verifier("payments", principal.AcceptRelay(principaltest.TrustDomain), principal.WithMTLS("td.example", nil), principal.WithTransparentGateways("gw"))
	rules := (&principal.Rules{}).WithMethod("/x/Any", &principalv1.AccessRule{}).
		WithMethod("/x/Edge", &principalv1.AccessRule{Callers: []string{"bff"}}).
		WithMethod("/x/Orders", &principalv1.AccessRule{Callers: []string{"orders"}})
	g, err := principal.NewGuard(v, rules)
	if err != nil {
		t.Fatal(err)
	}
	hop := iss.Pass(iss.Header("orders", principaltest.Human()), "orders", "payments")
	for _, c := range []struct {
		name, procedure, header string
		want                    principal.Reason
	}{
		{"relay", "/x/Any", iss.Header(principaltest.TrustDomain, principaltest.Human()), 0},
		{"linked", "/x/Any", iss.Header("payments", principaltest.Human()), 0},
		{"the edge through a gateway", "/x/Edge", iss.Header("payments", principaltest.Human()), principal.ReasonCaller},
		{"a link through a gateway", "/x/Orders", hop, 0},
	} {
		a, err := g.Admit(t.Context(), principal.Call{Procedure: c.procedure, Values: []string{c.header}, TLS: peerState("gw")})
		if got := principal.ReasonOf(err); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if a.Principal == nil {
			continue
		}
		if who, verified := a.Principal.Presenter(); verified {
			t.Errorf("%s: %q is said to be proven", c.name, who)
		}
	}
}
