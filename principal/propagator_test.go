package principal_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

// clock is a clock that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_760_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func send(t *testing.T, p *principal.Propagator, ctx context.Context, to string) string { //nolint:revive // the test comes first
	t.Helper()
	h, err := p.Header(ctx, to, "")
	if err != nil {
		t.Fatal(err)
	}
	if principal.EncodeHeader(h.Binary()) != h.Text() {
		t.Fatal("the two forms of a header differ")
	}
	return h.Binary()
}

func TestRelayForwardsTheSameBytes(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	relays, err := principal.NewPropagator()
	if err != nil {
		t.Fatal(err)
	}
	header := iss.Header(principaltest.TrustDomain, principaltest.Standard())
	ctx := iss.ContextOf("orders", header)
	if send(t, relays, ctx, "payments") != header {
		t.Error("other bytes were sent on")
	}
	if _, err := principal.Narrow(ctx, "orders:read"); err == nil || !strings.Contains(err.Error(), "cannot be narrowed") {
		t.Errorf("narrowing a relay: %v", err)
	}
	if _, err := relays.Header(iss.ContextOf("orders", iss.Header("orders", principaltest.Human())), "payments", ""); err == nil ||
		principal.SendCode(err) != principal.CodeFailedPrecondition || !strings.Contains(err.Error(), "WithLinkKey") {
		t.Errorf("linked without a key: %v", err)
	}
}

// I06: nothing is sent for work that has no principal.
func TestI06NoPrincipalNoCall(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	h, err := iss.Propagator("orders").Header(t.Context(), "payments", "")
	if !errors.Is(err, principal.ErrNoPrincipal) || h.Text() != "" || principal.SendCode(err) != principal.CodeFailedPrecondition {
		t.Errorf("%v %v", h, err)
	}
	if _, err := principal.Narrow(t.Context()); !errors.Is(err, principal.ErrNoPrincipal) {
		t.Error(err)
	}
	handler := iss.Context("orders", principaltest.Human("a"))
	ctx, cancel := context.WithCancel(handler)
	cancel() // a handler that has returned: its context still names the principal, and only that one
	if _, err := iss.Propagator("orders").Header(ctx, "payments", ""); err != nil {
		t.Error(err)
	}
}

// I07: a link is reused for half of its life and never for single use.
func TestI07LinksAreHeldAndRenewed(t *testing.T) {
	t.Parallel()
	c := newClock()
	iss := principaltest.NewIssuerAt(t, c.Now)
	p := iss.Propagator("orders")
	parent := iss.Header("orders", principaltest.Human("a", "b"))
	ctx := iss.ContextOf("orders", parent)
	first := send(t, p, ctx, "payments")
	if send(t, p, ctx, "payments") != first {
		t.Error("a link was not reused")
	}
	if send(t, p, iss.ContextOf("orders", parent), "payments") != first {
		t.Error("a link was not reused for the same parent")
	}
	for name, other := range map[string]string{
		"audience":  send(t, p, ctx, "ledger"),
		"narrowing": send(t, p, mustNarrow(t, ctx, "a"), "payments"),
		"to none":   send(t, p, mustNarrow(t, ctx), "payments"),
		"parent":    send(t, p, iss.Context("orders", principaltest.Human("a", "b")), "payments"),
	} {
		if other == first {
			t.Errorf("the same link for another %s", name)
		}
	}
	c.advance(29 * time.Second)
	if send(t, p, ctx, "payments") != first {
		t.Error("a link was renewed before half of its life")
	}
	c.advance(2 * time.Second)
	second := send(t, p, ctx, "payments")
	if second == first {
		t.Error("a link was not renewed")
	}
	for _, h := range []string{first, second} { // a retry that comes late is still accepted
		if _, err := iss.Verifier("payments").Verify(t.Context(), h); err != nil {
			t.Error(err)
		}
	}
	c.advance(5 * time.Minute)
	if _, err := p.Header(ctx, "payments", ""); principal.ReasonOf(err) != principal.ReasonTime {
		t.Errorf("an expired principal was passed on: %v", err)
	}
}

func mustNarrow(t *testing.T, ctx context.Context, scopes ...string) context.Context { //nolint:revive // the test comes first
	t.Helper()
	ctx, err := principal.Narrow(ctx, scopes...)
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

func TestNarrow(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	who := principaltest.Human("a", "b", "c")
	who.Roles = []string{"admin"}
	ctx := iss.Context("orders", who)
	narrow := mustNarrow(t, ctx, "b", "a", "b")
	if p, _ := principal.FromContext(narrow); !p.HasScope("c") {
		t.Error("narrowing changed what the handler sees")
	}
	if _, err := principal.Narrow(narrow, "c"); err == nil {
		t.Error("a second narrowing took back a right")
	}
	if _, err := principal.Narrow(ctx, "d"); err == nil {
		t.Error("narrowing added a right")
	}
	p, err := iss.Verifier("payments").Verify(t.Context(), send(t, iss.Propagator("orders"), narrow, "payments"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.Scopes(), " "); got != "a b" || len(p.Roles()) != 0 {
		t.Errorf("scopes %q roles %q", got, p.Roles())
	}
	none, err := iss.Verifier("payments").Verify(t.Context(), send(t, iss.Propagator("orders"), mustNarrow(t, narrow), "payments"))
	if err != nil || len(none.Scopes()) != 0 {
		t.Errorf("%v %v", none.Scopes(), err)
	}
}

func TestPropagatorRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	ctx := iss.Context("orders", principaltest.Human())
	for name, c := range map[string]struct {
		propagator string
		audience   string
		ctx        context.Context
		want       string
	}{
		"audience is a URL":      {"orders", "https://payments", ctx, "not a service name"},
		"audience is a mesh":     {"orders", "mesh:prod", ctx, "not a service name"},
		"key of another service": {"payments", "ledger", ctx, "belongs to"},
	} {
		if _, err := iss.Propagator(c.propagator).Header(c.ctx, c.audience, ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	once := principaltest.Human()
	once.MaxLinks = 1
	header := iss.Pass(iss.Header("orders", once), "orders", "payments")
	if _, err := iss.Propagator("payments").Header(iss.ContextOf("payments", header), "ledger", ""); err == nil || !strings.Contains(err.Error(), "1 times") {
		t.Errorf("a second hop where one is allowed: %v", err)
	}
	if _, err := principal.NewPropagator(principal.WithLinkKey("Orders", iss.LinkKey("orders"), "")); err == nil {
		t.Error("a link key of no service")
	}
	if _, err := principal.NewPropagator(principal.WithLinkKey("orders", nil, "")); err == nil {
		t.Error("no link key")
	}
	if _, err := principal.NewPropagator(principal.WithLinkKey("orders", iss.LinkKey("orders"), "no spaces")); err == nil {
		t.Error("a bad key id")
	}
}

// In a cycle A→B→A the same principal comes back with less; it must not leave
// again with more.
func TestLinkCacheInCycles(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	a, b := iss.Propagator("a"), iss.Propagator("b")
	ctx := iss.Context("a", principaltest.Human("x", "y"))
	wide := send(t, a, ctx, "b")
	back := send(t, b, mustNarrow(t, iss.ContextOf("b", wide), "x"), "a")
	again := send(t, a, iss.ContextOf("a", back), "b")
	p, err := iss.Verifier("b").Verify(t.Context(), again)
	if err != nil || p.HasScope("y") {
		t.Errorf("scopes %v, %v", p.Scopes(), err)
	}
	if got := strings.Join(p.Path(), " "); got != "bff a b a" {
		t.Errorf("path %q", got)
	}
}

// The verifier counts: keys are looked up each time, signatures are not checked
// again where a prefix is known, and a change of keys forgets everything.
func TestCachesFollowTheKeys(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	set := &changingKeys{Issuer: iss}
	v, err := principal.NewVerifier("payments", set)
	if err != nil {
		t.Fatal(err)
	}
	header := iss.Pass(iss.Header("orders", principaltest.Human()), "orders", "payments")
	for range 2 {
		if _, err := v.Verify(t.Context(), header); err != nil {
			t.Fatal(err)
		}
	}
	if set.finds != 2 {
		t.Errorf("%d look-ups for one cold verification of two blocks", set.finds)
	}
	set.gone = true // without a new version nothing is looked up: the entry holds
	if _, err := v.Verify(t.Context(), header); err != nil {
		t.Error(err)
	}
	set.version++
	if _, err := v.Verify(t.Context(), header); principal.ReasonOf(err) != principal.ReasonUnknownKey {
		t.Errorf("after the keys went: %v", err)
	}
	set.gone = false
	set.version++
	if _, err := v.Verify(t.Context(), header); err != nil {
		t.Errorf("after the keys came back: %v", err)
	}
}

type changingKeys struct {
	*principaltest.Issuer
	version uint64
	finds   int
	gone    bool
}

func (c *changingKeys) Version() uint64 { return c.version }

func (c *changingKeys) Find(ctx context.Context, ref principal.KeyRef) (*principal.Key, error) {
	c.finds++
	if c.gone {
		return nil, nil
	}
	return c.Issuer.Find(ctx, ref)
}

// A key that leaves its window takes what it signed with it, cached or not.
func TestCachedPrincipalsEndWithTheirKey(t *testing.T) {
	t.Parallel()
	c := newClock()
	iss := principaltest.NewIssuerAt(t, c.Now)
	set := windowed{iss, c.now.Add(time.Minute)}
	v, err := principal.NewVerifier("orders", set, principal.WithClock(c.Now))
	if err != nil {
		t.Fatal(err)
	}
	header := iss.Header("orders", principaltest.Human())
	for _, step := range []struct {
		forward time.Duration
		want    principal.Reason
	}{{0, 0}, {89 * time.Second, 0}, {time.Second, principal.ReasonUnknownKey}, {4 * time.Minute, principal.ReasonTime}} {
		c.advance(step.forward)
		if _, err := v.Verify(t.Context(), header); principal.ReasonOf(err) != step.want {
			t.Errorf("after %v more: %v, want %v", step.forward, err, step.want)
		}
	}
}

type windowed struct {
	*principaltest.Issuer
	end time.Time
}

func (w windowed) Find(ctx context.Context, ref principal.KeyRef) (*principal.Key, error) {
	k, err := w.Issuer.Find(ctx, ref)
	if k == nil {
		return nil, err
	}
	bounded := *k
	bounded.NotAfter = w.end
	return &bounded, err
}

// A known prefix must give what the whole chain would give.
func TestPrefixReuseGivesTheSameResult(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	who := principaltest.Human("a", "b", "c")
	who.Roles = []string{"admin"}
	base := iss.Pass(iss.Header("orders", who), "orders", "payments", "a", "b")
	v := iss.Verifier("ledger")
	for _, scopes := range [][]string{{"a"}, nil, {"b"}, {"a", "b"}} {
		header := iss.Pass(base, "payments", "ledger", scopes...)
		warm, err := v.Verify(t.Context(), header)
		if err != nil {
			t.Fatal(err)
		}
		cold, err := iss.Verifier("ledger").Verify(t.Context(), header)
		if err != nil {
			t.Fatal(err)
		}
		if warm.String() != cold.String() || strings.Join(warm.Scopes(), " ") != strings.Join(cold.Scopes(), " ") || len(warm.Roles()) != 0 {
			t.Errorf("%v %v %v / %v %v", warm, warm.Scopes(), warm.Roles(), cold, cold.Scopes())
		}
	}
}

func TestSignerNamesTheField(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	signer, err := principal.NewSigner("https://bff.example", iss.LinkKey("bff"), "")
	if err != nil {
		t.Fatal(err)
	}
	for want, edit := range map[string]func(*principalv1.Principal){
		"issuer":       func(p *principalv1.Principal) { p.Issuer = "https://other.example" },
		"commitment":   func(p *principalv1.Principal) { p.Commitment = make([]byte, 16) },
		"subject":      func(p *principalv1.Principal) { p.Subject = nil },
		"expires_at":   func(p *principalv1.Principal) { p.ExpiresAt = p.GetIssuedAt() + 301 },
		"issued_at":    func(p *principalv1.Principal) { p.IssuedAt = 0 },
		"stream_until": func(p *principalv1.Principal) { p.StreamUntil = p.GetExpiresAt() - 1 },
		"session_id":   func(p *principalv1.Principal) { p.SessionId = []byte("short") },
		"scopes":       func(p *principalv1.Principal) { p.Scopes = []string{"b", "a"} },
		"tenant":       func(p *principalv1.Principal) { p.Tenant = strings.Repeat("t", 257) },
		"audience":     func(p *principalv1.Principal) { p.Audience = "*" },
		"max_links":    func(p *principalv1.Principal) { p.Audience, p.MaxLinks = "mesh:x", 2 },
		"delegations[0].grant_id": func(p *principalv1.Principal) {
			p.Delegations = []*principalv1.Delegation{{Actor: principaltest.Agent("x").GetSubject()}}
		},
		"of which scopes takes the most": func(p *principalv1.Principal) {
			for i := range 16 {
				p.Scopes = append(p.Scopes, string(rune('a'+i))+strings.Repeat("s", 250))
			}
		},
	} {
		p := principaltest.Human()
		p.Audience, p.IssuedAt, p.ExpiresAt = "orders", 1_760_000_000, 1_760_000_300
		edit(p)
		if header, err := signer.Sign(p); err == nil || header != "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one about %s", err, want)
		}
	}
}

func TestStandardSizes(t *testing.T) {
	t.Parallel()
	signer, err := principal.NewSigner(principaltest.StandardIssuer, i1.Private, "")
	if err != nil {
		t.Fatal(err)
	}
	for audience, most := range map[string]int{"mesh:prod": 694, "orders": 747} {
		p := principaltest.Standard()
		p.Audience, p.IssuedAt, p.ExpiresAt = audience, 1_760_000_000, 1_760_000_300
		if audience == "orders" {
			p.MaxLinks, p.Presenter = 6, "bff"
		}
		header, err := signer.Sign(p)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(principal.EncodeHeader(header)); n > most {
			t.Errorf("%s: %d characters, at most %d", audience, n, most)
		}
	}
	iss := principaltest.NewIssuer(t)
	parent := iss.Header("orders", principaltest.Standard())
	if link := len(iss.Pass(parent, "orders", "payments")) - len(parent); link > 170 {
		t.Errorf("a link of %d bytes", link)
	}
}
