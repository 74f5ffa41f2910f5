package trust_test

import (
	"sync"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
	"github.com/onbehalf-dev/onbehalf/principal/trust"
)

// A service acts for itself with a principal that it gets once, for all who ask,
// and again at half of its life or when it was revoked.
func TestAsService(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	var clock shiftedClock
	var out logs
	node := join(t, e.server.URL, trust.WithEnrollmentToken(token), trust.WithClock(clock.now), out.option())
	as := func() *principal.Principal {
		t.Helper()
		ctx, err := node.AsService(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p, ok := principal.FromContext(ctx)
		if !ok || p.String() != "svc-orders via bff" || p.Kind() != principal.KindService || !p.HasScope("reports:write") {
			t.Errorf("%v", p)
		}
		if _, err := node.Propagator().Header(ctx, "payments", ""); err != nil {
			t.Error(err)
		}
		return p
	}
	first := as()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if as().ID() != first.ID() {
				t.Error("not the same principal")
			}
		})
	}
	wg.Wait()
	clock.by.Store(int64(20 * time.Second))
	if as().ID() != first.ID() {
		t.Error("not held")
	}
	caughtUp(t, e, e.revoke(revocation.Principal(issuer, first.ID())))
	second := as()
	if second.ID() == first.ID() {
		t.Error("revoked, and used again")
	}
	if issued := e.issued; issued != 2 {
		t.Errorf("%d principals", issued)
	}
	if !containsAll(out.String(), "acting as the service itself", second.ID().String()) {
		t.Error(out.String())
	}
	e.do(func() { e.quiet = true })
	clock.by.Store(int64(time.Hour))
	if _, err := node.AsService(t.Context()); err == nil {
		t.Error("acts by what it has not heard of for an hour")
	}
}

// The edge decides who acts for itself: an answer for somebody else is refused.
func TestAsSomebodyElse(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	node := join(t, e.server.URL, trust.WithEnrollmentToken(token))
	e.do(func() { e.issueFor = "ledger" })
	if _, err := node.AsService(t.Context()); err == nil || !containsAll(err.Error(), "somebody else") {
		t.Error(err)
	}
	e.do(func() { e.issueFor = "" })
	if _, err := node.AsService(t.Context()); err != nil {
		t.Error(err)
	}
}

// A principal of the edge is renewed for the same session, in the name of the
// service that it was issued to.
func TestRenew(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	node := join(t, e.server.URL, trust.WithEnrollmentToken(token))
	old := e.header("orders", human(1))
	fresh, err := trust.RenewForTest(t.Context(), node, old)
	if err != nil || fresh == old || reason(t, node, fresh) != 0 {
		t.Error(err)
	}
	if _, err := trust.RenewForTest(t.Context(), node, ""); err == nil {
		t.Error("renewed nothing")
	}
	relay := join(t, e.server.URL, trust.WithoutLinkKey())
	if _, err := trust.RenewForTest(t.Context(), relay, old); err == nil {
		t.Error("renewed without a key")
	}
}
