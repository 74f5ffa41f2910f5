package feed_test

import (
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/encoding/protowire"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/internal/feed"
)

// G06, R04: an edge that has not heard from its store for too long does not know
// who is revoked, and vouches for nobody.
func TestStaleEdgeIssuesNothing(t *testing.T) {
	t.Parallel()
	w := newRenewing(t)
	header := w.header(nil)
	w.store.external.Store(true)
	if _, err := w.state.Pulse(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.renew(header); err != nil {
		t.Fatal("a fresh edge:", err)
	}
	w.store.broken.Store(true)
	w.advance(5*time.Minute + time.Second)
	header = w.header(nil)
	_, err := w.renew(header)
	wantCode(t, "renew", err, connect.CodeUnavailable)
	r := &trustv1.IssuePrincipalRequest{Service: "orders"}
	r.Signed = w.key.signed(t, w.now(), r)
	_, err = w.IssuePrincipal(t.Context(), r)
	wantCode(t, "issue", err, connect.CodeUnavailable)
}

// What is signed to have a principal renewed is not good for another one: its
// bytes are also those of a request to issue one, with a field that is unknown.
func TestRenewalIsNotIssue(t *testing.T) {
	t.Parallel()
	w := newRenewing(t)
	renew := &trustv1.RenewPrincipalRequest{Service: "orders", Header: []byte(w.header(nil))}
	signed := w.key.signed(t, w.now(), renew)
	issue := &trustv1.IssuePrincipalRequest{Service: "orders"}
	issue.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), renew.GetHeader()))
	issue.Signed = signed
	answer, err := w.IssuePrincipal(t.Context(), issue)
	wantCode(t, "a signature of another RPC: "+string(answer.GetHeader()), err, connect.CodeUnauthenticated)
}

// A service that was revoked and let in again does not get back the link key
// that a file of the edge names: whoever has it may be why it was revoked.
func TestRevokedServiceStaticKey(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	stolen := newLink(t, "orders")
	public, err := principal.NewPublicKey(stolen.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	e.stop()
	e.static = []principal.Key{{KeyRef: stolen.ref(), Public: public}}
	e.start()
	if !e.published(stolen) {
		t.Fatal("not published")
	}
	e.revoke(revocation.Service("orders").Proto())
	if e.published(stolen) {
		t.Fatal("published although its service is revoked")
	}
	e.enrolled(e.dial(), "orders")
	if e.published(stolen) {
		t.Error("published again")
	}
}

// Who has stolen a link key can renew it, and so can its owner. When it is revoked
// all that it was renewed to goes with it, however long ago that was.
func TestStolenKeyIsRenewed(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	c := e.dial()
	stolen := e.enrolled(c, "orders")
	own, next, last := newLink(t, "orders"), newLink(t, "orders"), newLink(t, "orders")
	if err := enroll(t, c, next.after(stolen)); err != nil {
		t.Fatal(err)
	}
	e.advance(23 * time.Hour)
	if err := enroll(t, c, last.after(next)); err != nil {
		t.Fatal(err)
	}
	if err := enroll(t, c, own.withToken(e.token("orders"))); err != nil {
		t.Fatal(err)
	}
	e.revoke(revocation.Key(stolen.ref()).Proto())
	if e.published(stolen) || e.published(next) || e.published(last) || !e.published(own) {
		t.Error("published:", e.published(stolen), e.published(next), e.published(last), e.published(own))
	}
	wantCode(t, "renewed again", enroll(t, c, newLink(t, "orders").after(last)), connect.CodePermissionDenied)
}

// One service that follows many times over does not keep the others out.
func TestOneServiceFillsTheFeed(t *testing.T) {
	t.Parallel()
	e := newEdge(t, func(_ *edge, o *feed.Options) { o.MaxWatchers = 4 })
	c := e.dial()
	for range 4 {
		watch(t.Context(), t, c, &trustv1.WatchRequest{Service: "greedy"}).snapshot()
	}
	for _, service := range []string{"orders", "payments", "ledger"} {
		watch(t.Context(), t, c, &trustv1.WatchRequest{Service: service}).snapshot()
	}
	_, err := watch(t.Context(), t, c, &trustv1.WatchRequest{Service: "catalog"}).Receive()
	wantCode(t, "when all have their share", err, connect.CodeResourceExhausted)
}

// A connection does not outlive the certificate that it began with.
func TestExpiredCertificate(t *testing.T) {
	t.Parallel()
	e := newEdge(t, func(_ *edge, o *feed.Options) { o.Identify, o.RequireCert = identify, true })
	orders := e.tls(newAuthority(t))(spiffe + "orders")
	if err := enroll(t, orders, newLink(t, "orders").request()); err != nil {
		t.Fatal(err)
	}
	e.advance(10 * 365 * 24 * time.Hour)
	wantCode(t, "enroll", enroll(t, orders, newLink(t, "orders").request()), connect.CodeUnavailable)
	_, err := watch(t.Context(), t, orders, &trustv1.WatchRequest{Service: "orders"}).Receive()
	wantCode(t, "watch", err, connect.CodeUnavailable)
}
