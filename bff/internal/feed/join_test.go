package feed_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
	"github.com/onbehalf-dev/onbehalf/principal/trust"

	"github.com/onbehalf-dev/onbehalf/bff/internal/feed"
)

// What services use fits to what the edge serves: one joins, calls another in
// its own name, and is refused there once it is revoked (R01).
func TestJoin(t *testing.T) {
	t.Parallel()
	w := newRenewing(t, func(e *edge, o *feed.Options) {
		o.Issue = func(_ context.Context, service string, _ bool) (string, error) {
			p := principaltest.Service(service)
			p.Audience, p.Presenter, p.MaxLinks, p.SessionId = service, "edge", 6, nil
			p.IssuedAt = e.now().Unix()
			p.ExpiresAt, p.RevocationSequence = p.IssuedAt+300, e.state.Sequence()
			return e.sign(p)
		}
	})
	join := func(service string) *trust.Node {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		node, err := trust.Join(ctx, w.url, service, trust.WithEnrollmentToken(w.token(service)), trust.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { node.Close() })
		return node
	}
	orders, ledger := join("invoices"), join("ledger")
	ctx, err := orders.AsService(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	header, err := orders.Propagator().Header(ctx, "ledger", "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ledger.Verifier().Verify(t.Context(), header.Binary())
	if err != nil || p.Subject().String() != "svc-invoices" {
		t.Fatal(p, err)
	}
	sequence := w.revoke(revocation.Service("invoices").Proto())
	acknowledged := time.Now()
	for err == nil { // each call takes some microseconds
		if _, err = ledger.Verifier().Verify(t.Context(), header.Binary()); time.Since(acknowledged) > 30*time.Second {
			t.Fatal("not refused")
		}
	}
	t.Logf("refused %v after the acknowledgement: %v", time.Since(acknowledged), err)
	switch principal.ReasonOf(err) {
	case principal.ReasonRevoked, principal.ReasonUnknownKey: // its key is not published any more either
	default:
		t.Error(err)
	}
	allHave(t, w.edge, sequence)
	if list := w.Services(); len(list) != 2 || list[0].GetBehind() != nil || len(list[0].GetKeyIds()) != 0 || len(list[1].GetKeyIds()) != 1 {
		t.Error(list)
	}
}

func (e *edge) sign(p *principalv1.Principal) (string, error) { return e.signer.Load().Sign(p) }
