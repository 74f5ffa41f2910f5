package feed_test

import (
	"context"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/internal/feed"
	"github.com/onbehalf-dev/onbehalf/bff/internal/state"
)

// G06, R04: an edge that has not heard from its store for too long does not know
// who is revoked, and vouches for nobody.
func TestStaleEdgeIssuesNothing(t *testing.T) {
	t.Parallel()
	w := newRenewing(t)
	header := w.header(func(p *principalv1.Principal) { p.StreamUntil += 3600 })
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

// PROBES
func TestProbeStolenKeyOutlives(t *testing.T) {
	e := newEdge(t, issuing)
	c := e.dial()
	l := e.enrolled(c, "orders")
	evil := newLink(t, "orders")
	if err := enroll(t, c, evil.after(l)); err != nil {
		t.Fatal(err)
	}
	e.revoke(revocation.Key(l.ref()).Proto())
	for range 3 {
		e.advance(23 * time.Hour)
		next := newLink(t, "orders")
		t.Log("after revocation of the stolen key, child renews:", enroll(t, c, next.after(evil)))
		evil = next
	}
	r := &trustv1.IssuePrincipalRequest{Service: "orders"}
	r.Signed = evil.signed(t, e.now(), r)
	_, err := c.IssuePrincipal(t.Context(), r)
	t.Log("issue 69 h later:", err)
}

func TestProbeWatchersLockOut(t *testing.T) {
	e := newEdge(t, func(_ *edge, o *feed.Options) { o.MaxWatchers, o.Identify, o.RequireCert = 8, identify, true })
	a := newAuthority(t)
	dial := e.tls(a)
	bad := dial(spiffe + "evil")
	for range 8 {
		watch(t.Context(), t, bad, &trustv1.WatchRequest{Service: "evil"}).snapshot()
	}
	s, err := dial(spiffe+"orders").Watch(t.Context(), &trustv1.WatchRequest{Service: "orders", Instance: instance()})
	if err == nil {
		_, err = s.Receive()
	}
	t.Log("orders with a certificate, after 8 streams of one other service:", err)
}

func TestProbeExpiredCertificate(t *testing.T) {
	e := newEdge(t, func(_ *edge, o *feed.Options) { o.Identify, o.RequireCert = identify, true })
	c := e.tls(newAuthority(t))(spiffe + "orders")
	t.Log(enroll(t, c, newLink(t, "orders").request()))
	e.advance(240 * time.Hour)
	t.Log("9 days after the certificate has ended, same connection:", enroll(t, c, newLink(t, "orders").request()))
}

func TestProbeServiceOwnRelay(t *testing.T) {
	w := newRenewing(t)
	id, err := principal.ParseIdentity("svc-orders", issuer)
	if err != nil {
		t.Fatal(err)
	}
	h := w.header(func(p *principalv1.Principal) {
		p.Subject, p.Audience, p.Presenter, p.MaxLinks, p.SessionId = id.Proto(), trustDomain, "", 0, nil
		p.Subject.Issuer = ""
	})
	index, _ := revocation.NewIndex(issuer)
	v, err := principal.NewVerifier("ledger", w.state, principal.WithClock(w.now), principal.AcceptRelay(trustDomain), principal.WithRevocations(index))
	if err != nil {
		t.Fatal(err)
	}
	load := func() {
		e := watch(t.Context(), t, w.client, &trustv1.WatchRequest{Service: "ledger"}).snapshot()
		u := revocation.Update{Sequence: e.GetSequence(), Floor: e.GetFloor(), Sent: w.now()}
		for _, r := range e.GetRevocations() {
			target, _ := revocation.FromProto(r.GetTarget())
			u.Events = append(u.Events, revocation.Event{Sequence: r.GetSequence(), Target: target})
		}
		if err := index.Load(w.now(), u); err != nil {
			t.Fatal(err)
		}
	}
	load()
	_, err = v.Verify(t.Context(), h)
	t.Log("before:", err)
	w.revoke(revocation.Service("orders").Proto())
	load()
	_, err = v.Verify(t.Context(), h)
	t.Log("after revoke service orders:", err)
	_, err = v.Context(t.Context(), h)
	t.Log("context after:", err)
}

func TestProbeBadClock(t *testing.T) {
	e := newEdge(t)
	id, _ := principal.ParseIdentity("am-helper", issuer)
	e.advance(-40 * 24 * time.Hour)
	e.revoke(revocation.Identity(id).Proto())
	e.advance(40 * 24 * time.Hour)
	t.Log("identity, token issued 1 h before its revocation, revoked =", e.state.Revoked(revocation.Identity(id), e.now().Add(-time.Hour)))
}

func TestProbeWatchFloodMem(t *testing.T) {
	_ = context.Background
	_ = proto.Size
	_ = state.ServiceName
}
