package principal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
)

const method = "/shop.v1.Orders/Place"

func ruleOf(r *principalv1.AccessRule) *principal.Rules {
	return (&principal.Rules{}).WithMethod(method, r)
}

// recorder keeps the events of a guard.
type recorder struct {
	mu     sync.Mutex
	events []principal.Event
}

func (r *recorder) Observe(_ context.Context, e *principal.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, *e)
}

func (r *recorder) last(t *testing.T) principal.Event {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == 0 {
		t.Fatal("no event")
	}
	return r.events[len(r.events)-1]
}

func TestRuleDecidesWhoMayCall(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	with := func(p *principalv1.Principal, edit func(*principalv1.Principal)) *principalv1.Principal {
		edit(p)
		return p
	}
	human := func() *principalv1.Principal { return principaltest.Human("orders:read", "orders:write") }
	kinds := func(k ...principalv1.Kind) *principalv1.AccessRule { return &principalv1.AccessRule{Kinds: k} }
	cases := []struct {
		name string
		rule *principalv1.AccessRule
		who  *principalv1.Principal // nil: anonymous
		want principal.Reason
	}{
		{"empty rule admits a human", &principalv1.AccessRule{}, human(), 0},
		{"empty rule admits a service", &principalv1.AccessRule{}, principaltest.Service("billing"), 0},
		{"empty rule refuses an agent", &principalv1.AccessRule{}, principaltest.Agent("bot"), principal.ReasonKind},
		{"empty rule refuses an agent for a human", &principalv1.AccessRule{}, principaltest.Delegate(human(), "bot"), principal.ReasonKind},
		{"empty rule refuses nobody", &principalv1.AccessRule{}, nil, principal.ReasonMissing},
		{"agents where named", kinds(2), principaltest.Delegate(human(), "bot"), 0},
		{"only agents", kinds(2), human(), principal.ReasonKind},
		{"only humans", kinds(1), principaltest.Service("billing"), principal.ReasonKind},
		{"all scopes", &principalv1.AccessRule{AllScopes: []string{"orders:write", "orders:read"}}, human(), 0},
		{"all scopes but one", &principalv1.AccessRule{AllScopes: []string{"orders:read", "orders:delete"}}, human(), principal.ReasonScope},
		{"a scope is not a prefix", &principalv1.AccessRule{AllScopes: []string{"orders:rea"}}, human(), principal.ReasonScope},
		{"any scope", &principalv1.AccessRule{AnyScopes: []string{"orders:delete", "orders:read"}}, human(), 0},
		{"none of any scope", &principalv1.AccessRule{AnyScopes: []string{"orders:delete"}}, human(), principal.ReasonScope},
		{"both", &principalv1.AccessRule{AllScopes: []string{"orders:read"}, AnyScopes: []string{"x"}}, human(), principal.ReasonScope},
		{"role", &principalv1.AccessRule{AnyRoles: []string{"buyer"}}, with(human(), func(p *principalv1.Principal) { p.Roles = []string{"admin", "buyer"} }), 0},
		{"no role", &principalv1.AccessRule{AnyRoles: []string{"buyer"}}, human(), principal.ReasonRole},
		{"caller is the edge", &principalv1.AccessRule{Callers: []string{"bff"}}, human(), 0},
		{"another caller", &principalv1.AccessRule{Callers: []string{"payments"}}, human(), principal.ReasonCaller},
		{"one delegation", &principalv1.AccessRule{Kinds: []principalv1.Kind{2}, MaxDelegations: proto.Uint32(1)}, principaltest.Delegate(human(), "a"), 0},
		{"two delegations", &principalv1.AccessRule{Kinds: []principalv1.Kind{2}, MaxDelegations: proto.Uint32(1)}, principaltest.Delegate(principaltest.Delegate(human(), "a"), "b"), principal.ReasonDelegations},
		{"no delegations", &principalv1.AccessRule{Kinds: []principalv1.Kind{1, 2}, MaxDelegations: proto.Uint32(0)}, principaltest.Delegate(human(), "a"), principal.ReasonDelegations},
		{"acr", &principalv1.AccessRule{Acr: []string{"loa3", "loa2"}}, with(human(), func(p *principalv1.Principal) { p.Authentication = &principalv1.Authentication{Acr: "loa2"} }), 0},
		{"acr too weak", &principalv1.AccessRule{Acr: []string{"loa3"}}, with(human(), func(p *principalv1.Principal) { p.Authentication = &principalv1.Authentication{Acr: "loa2"} }), principal.ReasonACR},
		{"no acr", &principalv1.AccessRule{Acr: []string{"loa3"}}, human(), principal.ReasonACR},
		{"anonymous", principal.AllowAnonymous(), nil, 0},
		{"anonymous with a principal", principal.AllowAnonymous(), principaltest.Agent("bot"), 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var seen recorder
			g, err := principal.NewGuard(iss.Verifier("orders"), ruleOf(c.rule), principal.WithObserver(&seen))
			if err != nil {
				t.Fatal(err)
			}
			call := principal.Call{Procedure: method}
			if c.who != nil {
				call.Values = []string{iss.Header("orders", c.who)}
			}
			a, err := g.Admit(t.Context(), call)
			if got := principal.ReasonOf(err); got != c.want {
				t.Fatalf("reason %v, want %v", got, c.want)
			}
			e := seen.last(t)
			if e.Reason != c.want || (e.Decision == principal.Allowed) != (c.want == 0) {
				t.Errorf("event %v %v", e.Decision, e.Reason)
			}
			if err != nil {
				return
			}
			p, ok := principal.FromContext(a.Context)
			if ok != (c.who != nil) || p != a.Principal {
				t.Errorf("principal in the context: %v %v", p, ok)
			}
		})
	}
}

func TestMethodWithoutRuleIsRefused(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	g := iss.Guard("orders", ruleOf(&principalv1.AccessRule{}))
	header := iss.Header("orders", principaltest.Human())
	for call, want := range map[string]principal.Reason{
		"/shop.v1.Orders/New": principal.ReasonNoRule, method: 0, "": principal.ReasonNoRule, "/shop.v1.Orders/place": principal.ReasonNoRule,
		"/shop.v1.Orders/Place/": principal.ReasonNoRule, "shop.v1.Orders/Place": principal.ReasonNoRule, "//shop.v1.Orders/Place": principal.ReasonNoRule,
	} {
		_, err := g.Admit(t.Context(), principal.Call{Procedure: call, Values: []string{header}})
		if got := principal.ReasonOf(err); got != want {
			t.Errorf("%q: %v, want %v", call, got, want)
		}
		if _, err := g.Admit(t.Context(), principal.Call{Procedure: call}); principal.ReasonOf(err) != principal.ReasonMissing {
			t.Errorf("%q without a header: %v", call, err)
		}
	}
	err := g.CheckMethods([]string{method, "/b/B", "/a/A"})
	if err == nil || !strings.Contains(err.Error(), "/a/A, /b/B") {
		t.Errorf("start-up check: %v", err)
	}
}

// The guard replaces whatever principal it finds, also for anonymous calls.
func TestGuardOverwritesTheContext(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	outer := iss.Context("orders", principaltest.Human("a"))
	g := iss.Guard("orders", ruleOf(principal.AllowAnonymous()))
	a, err := g.Admit(outer, principal.Call{Procedure: method})
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := principal.FromContext(a.Context); ok {
		t.Errorf("an anonymous call sees %v", p)
	}
	h, err := iss.Propagator("orders").Header(a.Context, "payments", "")
	if err != nil || h.Text() != "" || h.Binary() != "" {
		t.Errorf("an anonymous call sends %v, %v", h, err)
	}
	a, err = g.Admit(outer, principal.Call{Procedure: method, Values: []string{iss.Header("orders", principaltest.Service("s"))}})
	if err != nil || a.Principal.Kind() != principal.KindService {
		t.Errorf("got %v, %v", a.Principal, err)
	}
	if _, err = g.Admit(outer, principal.Call{Procedure: method, Values: []string{"x"}}); err == nil {
		t.Error("an invalid header on an anonymous method was let in")
	}
}

func TestObserveOnlyLetsThrough(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	for _, name := range []string{method, "shop.v1.Orders"} {
		var seen recorder
		v := iss.Verifier("orders")
		g, err := principal.NewGuard(v, ruleOf(&principalv1.AccessRule{AllScopes: []string{"x"}}), principal.ObserveOnly(name), principal.WithObserver(&seen))
		if err != nil {
			t.Fatal(err)
		}
		a, err := g.Admit(t.Context(), principal.Call{Procedure: method, Values: []string{iss.Header("orders", principaltest.Human())}})
		if e := seen.last(t); err != nil || a.Principal == nil || e.Decision != principal.WouldRefuse || e.Reason != principal.ReasonScope {
			t.Errorf("refused by the rule: %v %v %v", err, a.Principal, e)
		}
		a, err = g.Admit(t.Context(), principal.Call{Procedure: method, Values: []string{iss.Header("payments", principaltest.Human("x"))}})
		if e := seen.last(t); err != nil || a.Principal != nil || e.Reason != principal.ReasonAudience || e.Principal != nil {
			t.Errorf("not verified, yet seen by the handler: %v %v %v", err, a.Principal, e)
		}
		if _, ok := principal.FromContext(a.Context); ok {
			t.Error("an unverified principal is in the context")
		}
		for _, other := range []string{"/shop.v1.Other/X", "/shop.v1.Orders/../shop.v1.Other/X", "/shop.v1.Orders//shop.v1.Other/X"} {
			if _, err := g.Admit(t.Context(), principal.Call{Procedure: other}); err == nil {
				t.Errorf("%s is let through as well", other)
			}
		}
	}
}

// What the online check of an observed method finds revoked is not shown to its
// handler either.
func TestObservedHandlerSeesNothingRevoked(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	index, err := revocation.NewIndex(principaltest.IssuerName)
	if err != nil {
		t.Fatal(err)
	}
	if err := index.Apply(time.Now(), revocation.Update{Sent: time.Now()}); err != nil {
		t.Fatal(err)
	}
	header := iss.Header("orders", principaltest.Human())
	p, err := iss.Verifier("orders").Verify(t.Context(), header)
	if err != nil {
		t.Fatal(err)
	}
	v := iss.Verifier("orders", principal.WithRevocations(index), principal.WithOnlineCheck(func(context.Context) error {
		revoked := revocation.Principal(principaltest.IssuerName, p.ID())
		return index.Apply(time.Now(), revocation.Update{Sequence: 1, Sent: time.Now(), Events: []revocation.Event{{Sequence: 1, Target: revoked}}})
	}))
	var seen recorder
	g, err := principal.NewGuard(v, ruleOf(&principalv1.AccessRule{OnlineCheck: true}), principal.ObserveOnly(method), principal.WithObserver(&seen))
	if err != nil {
		t.Fatal(err)
	}
	a, err := g.Admit(t.Context(), principal.Call{Procedure: method, Values: []string{header}})
	if err != nil {
		t.Fatal(err)
	}
	if e := seen.last(t); e.Decision != principal.WouldRefuse || e.Reason != principal.ReasonRevoked {
		t.Errorf("%+v", e)
	}
	if _, ok := principal.FromContext(a.Context); ok || a.Principal != nil {
		t.Error("the handler sees a principal that is revoked")
	}
}

type panics struct{ principal.KeySet }

func (panics) Find(context.Context, principal.KeyRef) (*principal.Key, error) { panic("secret") }

type nilKeys struct{ principal.KeySet }

func (nilKeys) Find(context.Context, principal.KeyRef) (*principal.Key, error) {
	return &principal.Key{}, nil
}

type wrongKeys struct{ *principaltest.Issuer }

// Find answers with a key of another name.
func (w wrongKeys) Find(ctx context.Context, ref principal.KeyRef) (*principal.Key, error) {
	k, err := w.Issuer.Find(ctx, ref)
	c := *k
	c.Owner = "https://elsewhere.example"
	return &c, err
}

// I09: a panic or a nil key in what the guard calls refuses the call.
func TestI09PanicRefuses(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	for name, c := range map[string]struct {
		keys principal.KeySet
		want principal.Reason
	}{
		"panic":     {panics{iss}, principal.ReasonInternal},
		"nil key":   {nilKeys{iss}, principal.ReasonUnknownKey},
		"wrong key": {wrongKeys{iss}, principal.ReasonUnknownKey},
	} {
		v, err := principal.NewVerifier("orders", c.keys)
		if err != nil {
			t.Fatal(err)
		}
		for _, opts := range [][]principal.GuardOption{nil, {principal.ObserveOnly(anyMethod)}} {
			g := anyoneGuard(t, v, append(opts, principal.WithObserver(panicObserver{}))...)
			a, err := g.Admit(t.Context(), principal.Call{Procedure: anyMethod, Values: []string{iss.Header("orders", principaltest.Human())}})
			if a.Principal != nil {
				t.Errorf("%s: a principal came out", name)
			}
			if opts == nil || c.want == principal.ReasonInternal {
				if principal.ReasonOf(err) != c.want {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
	if principal.ReasonInternal.Code() != principal.CodeInternal {
		t.Error("a defect is not the caller's fault")
	}
}

type panicObserver struct{}

func (panicObserver) Observe(context.Context, *principal.Event) { panic("observer") }

// feed is a source of revocations.
type feed struct {
	mu         sync.Mutex
	generation uint64
	revoked    map[principal.ID]bool
	unheard    time.Duration
	age        time.Duration
	checks     int
	onChange   []func()
}

func (f *feed) Generation() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.generation
}

func (f *feed) Check(p *principal.Principal, _ bool) principal.Reason {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.checks++
	if f.revoked[p.ID()] {
		return principal.ReasonRevoked
	}
	return 0
}

func (f *feed) Age(time.Time) (unheard, age time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unheard, f.age
}

func (f *feed) OnChange(g func()) { f.onChange = append(f.onChange, g) }

func (f *feed) change(change func()) {
	f.mu.Lock()
	change()
	f.generation++
	f.mu.Unlock()
	for _, g := range f.onChange {
		g()
	}
}

func TestRevocationReachesCachedPrincipals(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	f := &feed{generation: 1, revoked: map[principal.ID]bool{}}
	v := iss.Verifier("orders", principal.WithRevocations(f))
	header := iss.Header("orders", principaltest.Human())
	var p *principal.Principal
	for range 3 {
		var err error
		if p, err = v.Verify(t.Context(), header); err != nil {
			t.Fatal(err)
		}
	}
	if f.checks != 1 {
		t.Errorf("%d checks under one generation", f.checks)
	}
	f.change(func() { f.revoked[p.ID()] = true })
	for range 2 {
		if _, err := v.Verify(t.Context(), header); principal.ReasonOf(err) != principal.ReasonRevoked {
			t.Errorf("after the revocation: %v", err)
		}
	}
}

func TestFreshnessRules(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	f := &feed{generation: 1}
	failing := errors.New("down")
	var online error
	v := iss.Verifier("orders", principal.WithRevocations(f),
		principal.WithOnlineCheck(func(context.Context) error { return online }))
	rules := ruleOf(&principalv1.AccessRule{MaxRevocationAge: durationpb.New(time.Second)}).
		WithMethod("/x/Online", &principalv1.AccessRule{OnlineCheck: true}).
		WithMethod("/x/Once", &principalv1.AccessRule{SingleUse: true})
	g, err := principal.NewGuard(v, rules)
	if err != nil {
		t.Fatal(err)
	}
	admit := func(procedure, header string) principal.Reason {
		_, err := g.Admit(t.Context(), principal.Call{Procedure: procedure, Values: []string{header}})
		return principal.ReasonOf(err)
	}
	header := iss.Header("orders", principaltest.Human())
	steps := []struct {
		name string
		got  func() principal.Reason
		want principal.Reason
	}{
		{"fresh", func() principal.Reason { return admit(method, header) }, 0},
		{"stale", func() principal.Reason { f.change(func() { f.age = 2 * time.Second }); return admit(method, header) }, principal.ReasonStale},
		{"online", func() principal.Reason { return admit("/x/Online", header) }, 0},
		{"offline", func() principal.Reason { online = failing; return admit("/x/Online", header) }, principal.ReasonOnline},
		{"once", func() principal.Reason { return admit("/x/Once", header) }, 0},
		{"twice", func() principal.Reason { return admit("/x/Once", header) }, principal.ReasonReplayed},
		{"another", func() principal.Reason { return admit("/x/Once", iss.Header("orders", principaltest.Human())) }, 0},
	}
	for _, s := range steps {
		if got := s.got(); got != s.want {
			t.Errorf("%s: %v, want %v", s.name, got, s.want)
		}
	}
	if principal.ReasonStale.Code() != principal.CodeUnavailable || principal.ReasonOnline.Code() != principal.CodeUnavailable {
		t.Error("freshness that cannot be had is UNAVAILABLE")
	}
}

func TestSingleUseInRelayMode(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	g, err := principal.NewGuard(iss.Verifier("orders", principal.AcceptRelay(principaltest.TrustDomain)), ruleOf(&principalv1.AccessRule{SingleUse: true}))
	if err != nil {
		t.Fatal(err)
	}
	header := iss.Header(principaltest.TrustDomain, principaltest.Human())
	padded := principal.EncodeHeader(header)
	for len(padded)%4 != 0 {
		padded += "="
	}
	calls := []principal.Call{
		{Procedure: method, Values: []string{header}},
		{Procedure: method, Values: []string{principal.EncodeHeader(header)}, Text: true},
		{Procedure: method, Values: []string{padded}, Text: true},
	}
	for i, call := range calls {
		_, err := g.Admit(t.Context(), call)
		if got := principal.ReasonOf(err); (got == principal.ReasonReplayed) != (i > 0) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

func TestRulesThatCannotBeDecidedAreConstructorErrors(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	acceptRelay := principal.AcceptRelay(principaltest.TrustDomain)
	linkedOnly, relay := iss.Verifier("orders"), iss.Verifier("orders", acceptRelay)
	mtls := iss.Verifier("orders", acceptRelay, principal.WithMTLS("td.example", nil))
	for _, c := range []struct {
		name     string
		verifier *principal.Verifier
		rule     *principalv1.AccessRule
		want     string
	}{
		{"age without feed", relay, &principalv1.AccessRule{MaxRevocationAge: durationpb.New(1)}, "max_revocation_age needs a revocation feed"},
		{"online without anyone", relay, &principalv1.AccessRule{OnlineCheck: true}, "online_check needs"},
		{"callers in relay without mTLS", relay, &principalv1.AccessRule{Callers: []string{"a"}}, "callers cannot be told"},
		{"callers linked", linkedOnly, &principalv1.AccessRule{Callers: []string{"a"}}, ""},
		{"callers in relay with mTLS", mtls, &principalv1.AccessRule{Callers: []string{"a"}}, ""},
		{"session stream without feed", relay, &principalv1.AccessRule{Stream: principalv1.StreamLife_STREAM_LIFE_SESSION}, ""},
		{"anonymous with more", relay, &principalv1.AccessRule{Anonymous: true, AllScopes: []string{"x"}}, "anonymous must stand alone"},
		{"unspecified kind", relay, &principalv1.AccessRule{Kinds: []principalv1.Kind{0}}, "kinds has a value"},
		{"unknown kind", relay, &principalv1.AccessRule{Kinds: []principalv1.Kind{77}}, "kinds has a value"},
		{"unknown stream life", relay, &principalv1.AccessRule{Stream: 9}, "stream has a value"},
		{"zero age", relay, &principalv1.AccessRule{MaxRevocationAge: durationpb.New(0)}, "longer than 0 s"},
		{"bad caller", relay, &principalv1.AccessRule{Callers: []string{"Payments"}}, "not a service name"},
		{"empty scope", relay, &principalv1.AccessRule{AllScopes: []string{""}}, "empty element"},
		{"nil rule", relay, nil, "is nil"},
	} {
		_, err := principal.NewGuard(c.verifier, ruleOf(c.rule))
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), method) {
			t.Errorf("%s: %v, want %q and the method", c.name, err, c.want)
		}
	}
}

func TestLogLineTellsTheWholeChain(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	var out bytes.Buffer
	rules := ruleOf(&principalv1.AccessRule{Kinds: []principalv1.Kind{2}, AllScopes: []string{"orders:read"}})
	v := iss.Verifier("payments")
	g, err := principal.NewGuard(v, rules, principal.WithObserver(principal.NewLogObserver(slog.New(slog.NewJSONHandler(&out, nil)))))
	if err != nil {
		t.Fatal(err)
	}
	who := principaltest.Delegate(principaltest.Human("orders:read", "orders:write"), "shopper")
	header := iss.Pass(iss.Header("orders", who), "orders", "payments", "orders:read")
	if _, err := g.Admit(t.Context(), principal.Call{Procedure: method, Values: []string{header}, RequestID: "req_1", TraceID: "0af7651916cd43dd8448eb211c80319c"}); err != nil {
		t.Fatal(err)
	}
	var line struct {
		Service, Method, Decision, Rule string
		RequestID                       string `json:"request_id"`
		TraceID                         string `json:"trace_id"`
		Principal                       struct {
			Kind, Actor, Subject, Issuer string
			Delegations, Path, Scopes    []string
		}
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil { //nolint:musttag // encoding/json ignores case
		t.Fatalf("%v: %s", err, out.Bytes())
	}
	if !strings.Contains(line.Rule, "KIND_AGENT") {
		t.Errorf("rule %q", line.Rule)
	}
	line.Rule = ""
	want := line
	want.Service, want.Method, want.Decision, want.RequestID, want.TraceID = "payments", method, "allowed", "req_1", "0af7651916cd43dd8448eb211c80319c"
	want.Principal.Kind, want.Principal.Actor, want.Principal.Issuer = "agent", "am-shopper", principaltest.IssuerName
	want.Principal.Delegations, want.Principal.Path, want.Principal.Scopes = []string{"am-shopper"}, []string{"bff", "orders"}, []string{"orders:read"}
	if diff := cmp.Diff(want, line); diff != "" {
		t.Error(diff)
	}
}

// Z01 Z02: what a caller sends does not get into a record as it is.
func TestZ01Z02RecordsHoldNothingSecret(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	var out bytes.Buffer
	v := iss.Verifier("orders")
	g, err := principal.NewGuard(v, ruleOf(&principalv1.AccessRule{}),
		principal.WithObserver(principal.NewLogObserver(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))))
	if err != nil {
		t.Fatal(err)
	}
	header := iss.Header("orders", principaltest.Human())
	text := principal.EncodeHeader(header)
	evil := "a\r\n\x1b[31m\"}{" + strings.Repeat("x", 1<<20)
	calls := []principal.Call{
		{Procedure: method, Values: []string{header}},
		{Procedure: method, Values: []string{text}, Text: true},
		{Procedure: method, Values: []string{text + "," + text}, Text: true},
		{Procedure: method, Values: []string{text, text}, Text: true},
		{Procedure: method, Values: []string{text[:len(text)-8]}, Text: true},
		{Procedure: evil, Values: []string{text}, Text: true, RequestID: evil, TraceID: evil},
		{Procedure: method, Values: []string{header[:40] + header}},
	}
	for _, call := range calls {
		_, err := g.Admit(t.Context(), call)
		if err != nil && strings.Contains(err.Error(), text[:24]) {
			t.Errorf("error %v", err)
		}
	}
	log := out.String()
	if n := strings.Count(log, "\n"); n != len(calls) {
		t.Errorf("%d lines for %d calls", n, len(calls))
	}
	for i := 0; i+24 < len(text); i += 8 {
		if strings.Contains(log, text[i:i+24]) {
			t.Fatal("a part of the header is in the log")
		}
	}
	for line := range strings.Lines(log) {
		if !json.Valid([]byte(line)) || len(line) > 4096 {
			t.Errorf("bad line of %d bytes", len(line))
		}
	}
}
