package feed_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/internal/feed"
	"github.com/onbehalf-dev/onbehalf/bff/internal/state"
)

func issuing(_ *edge, o *feed.Options) {
	o.Issue = func(_ context.Context, service string, relay bool) (string, error) {
		if relay {
			return "relay " + service, nil
		}
		return "linked " + service, nil
	}
	o.Renew = func(_ context.Context, service string, p *principal.Principal) (string, error) {
		return service + " renewed " + p.Subject().String(), nil
	}
}

func TestIssuePrincipal(t *testing.T) {
	t.Parallel()
	e := newEdge(t, issuing)
	c := e.dial()
	l := e.enrolled(c, "orders")
	ask := func(l link, at time.Time, edit func(*trustv1.IssuePrincipalRequest)) (*trustv1.IssuePrincipalResponse, error) {
		r := &trustv1.IssuePrincipalRequest{Service: "orders", Relay: true}
		r.Signed = l.signed(t, at, r)
		if edit != nil {
			edit(r)
		}
		return c.IssuePrincipal(t.Context(), r)
	}
	for _, off := range []time.Duration{0, 29 * time.Second, -29 * time.Second} {
		if answer, err := ask(l, e.now().Add(off), nil); err != nil || string(answer.GetHeader()) != "relay orders" {
			t.Error(off, answer, err)
		}
	}
	used := instance()
	other := e.enrolled(c, "ledger")
	for name, attack := range map[string]struct {
		key  link
		off  time.Duration
		edit func(*trustv1.IssuePrincipalRequest)
	}{
		"another service's key":      {other, 0, nil},
		"a key that is not enrolled": {newLink(t, "orders"), 0, nil},
		"no signature":               {l, 0, func(r *trustv1.IssuePrincipalRequest) { r.Signed = nil }},
		"another mode":               {l, 0, func(r *trustv1.IssuePrincipalRequest) { r.Relay = false }},
		"another time":               {l, 0, func(r *trustv1.IssuePrincipalRequest) { r.Signed.Time++ }},
		"another nonce":              {l, 0, func(r *trustv1.IssuePrincipalRequest) { r.Signed.Nonce = used }},
		"a short nonce":              {l, 0, func(r *trustv1.IssuePrincipalRequest) { r.Signed.Nonce = used[:15] }},
		"a clock behind":             {l, -time.Minute, nil},
		"a clock ahead":              {l, time.Minute, nil},
		"a clock beyond all":         {l, 1 << 62, nil},
	} {
		_, err := ask(attack.key, e.now().Add(attack.off), attack.edit)
		wantCode(t, name, err, connect.CodeUnauthenticated)
	}
	// A request is good once, for as long as it could be.
	r := &trustv1.IssuePrincipalRequest{Service: "orders"}
	r.Signed = l.signed(t, e.now().Add(29*time.Second), r)
	if answer, err := c.IssuePrincipal(t.Context(), r); err != nil || string(answer.GetHeader()) != "linked orders" {
		t.Fatal(err)
	}
	for range 4 {
		_, err := c.IssuePrincipal(t.Context(), r)
		wantCode(t, "a replay", err, connect.CodeUnauthenticated)
		e.advance(14 * time.Second)
	}
	e.revoke(revocation.Key(l.ref()).Proto())
	_, err := ask(l, e.now(), nil)
	wantCode(t, "a revoked key", err, connect.CodeUnauthenticated)
	e.advance(24 * time.Hour)
	r = &trustv1.IssuePrincipalRequest{Service: "ledger"}
	r.Signed = other.signed(t, e.now(), r)
	_, err = c.IssuePrincipal(t.Context(), r)
	wantCode(t, "an expired key", err, connect.CodeUnauthenticated)
}

func TestIssueFails(t *testing.T) {
	t.Parallel()
	e := newEdge(t, func(_ *edge, o *feed.Options) {
		o.Issue = func(_ context.Context, _ string, relay bool) (string, error) {
			if relay {
				return "", connect.NewError(connect.CodeResourceExhausted, "for the caller").WithCause(errors.New("secret"))
			}
			return "", errors.New("secret")
		}
	})
	c := e.dial()
	l := e.enrolled(c, "orders")
	for relay, want := range map[bool]connect.Code{true: connect.CodeResourceExhausted, false: connect.CodeInternal} {
		r := &trustv1.IssuePrincipalRequest{Service: "orders", Relay: relay}
		r.Signed = l.signed(t, e.now(), r)
		_, err := c.IssuePrincipal(t.Context(), r)
		if wantCode(t, "issue", err, want); strings.Contains(err.Error(), "secret") {
			t.Error(err)
		}
	}
	renew := &trustv1.RenewPrincipalRequest{Service: "orders"}
	renew.Signed = l.signed(t, e.now(), renew)
	_, err := c.RenewPrincipal(t.Context(), renew)
	wantCode(t, "an edge that renews nothing", err, connect.CodeUnimplemented)
}

// renewing is a service that holds a principal.
type renewing struct {
	*edge
	client

	key    link
	signer *principal.Signer
}

func newRenewing(t *testing.T, change ...func(*edge, *feed.Options)) *renewing {
	t.Helper()
	e := newEdge(t, append([]func(*edge, *feed.Options){issuing}, change...)...)
	c := e.dial()
	w := &renewing{edge: e, client: c, key: e.enrolled(c, "orders")}
	private := newLink(t, "edge").private
	var err error
	if w.signer, err = principal.NewSigner(issuer, private, ""); err != nil {
		t.Fatal(err)
	}
	e.signer.Store(w.signer)
	record := &bffv1.AuthorityRecord{Replica: "r1", Issuer: issuer, Active: w.signer.Key().ID}
	record.Keys = []*bffv1.AuthorityKey{{Id: w.signer.Key().ID, PublicKey: linkOf(t, "edge", private).der}}
	if _, err := e.state.Put(t.Context(), state.AuthorityName("r1"), record); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *renewing) header(edit func(*principalv1.Principal)) string {
	w.t.Helper()
	now := w.now().Unix()
	p := principaltest.Human("orders:read")
	p.Audience, p.Presenter, p.MaxLinks, p.SessionId = "orders", "edge", 6, instance()
	p.IssuedAt, p.ExpiresAt, p.StreamUntil = now, now+300, now+3600
	p.RevocationSequence = w.state.Sequence()
	if edit != nil {
		edit(p)
	}
	header, err := w.signer.Sign(p)
	if err != nil {
		w.t.Fatal(err)
	}
	return header
}

func (w *renewing) renew(header string) (string, error) {
	r := &trustv1.RenewPrincipalRequest{Service: "orders", Header: []byte(header)}
	r.Signed = w.key.signed(w.t, w.now(), r)
	answer, err := w.RenewPrincipal(w.t.Context(), r)
	return string(answer.GetHeader()), err
}

func TestRenewPrincipal(t *testing.T) {
	t.Parallel()
	w := newRenewing(t)
	relay := func(p *principalv1.Principal) {
		p.Audience, p.Presenter, p.MaxLinks = trustDomain, "", 0
	}
	if got, err := w.renew(w.header(nil)); err != nil || !strings.HasPrefix(got, "orders renewed hm-") {
		t.Error(got, err)
	}
	for name, test := range map[string]struct {
		header string
		want   connect.Code
	}{
		"none":              {"", connect.CodeUnauthenticated},
		"relayed":           {w.header(relay), connect.CodePermissionDenied}, // whoever has seen it could live on it
		"for another":       {w.header(func(p *principalv1.Principal) { p.Audience = "ledger" }), connect.CodeUnauthenticated},
		"a session's end":   {w.header(func(p *principalv1.Principal) { p.StreamUntil = 0 }), connect.CodeFailedPrecondition},
		"expired":           {w.header(func(p *principalv1.Principal) { p.IssuedAt -= 1000; p.ExpiresAt -= 1000 }), connect.CodeUnauthenticated},
		"before all floors": {w.header(func(p *principalv1.Principal) { p.RevocationSequence = 1 }), connect.CodeUnauthenticated},
		"changed": {func() string {
			h := []byte(w.header(nil))
			h[40] ^= 1
			return string(h)
		}(), connect.CodeUnauthenticated},
	} {
		_, err := w.renew(test.header)
		wantCode(t, name, err, test.want)
	}
	// The request is bound to its header.
	r := &trustv1.RenewPrincipalRequest{Service: "orders", Header: []byte(w.header(nil))}
	r.Signed = w.key.signed(t, w.now(), r)
	swapped := proto.CloneOf(r)
	swapped.Header = []byte(w.header(nil))
	_, err := w.RenewPrincipal(t.Context(), swapped)
	wantCode(t, "another header", err, connect.CodeUnauthenticated)
}

// What was passed on is renewed by whom it was issued to.
func TestRenewPassedOn(t *testing.T) {
	t.Parallel()
	w := newRenewing(t)
	ledger := w.enrolled(w.client, "ledger")
	verifier, err := principal.NewVerifier("ledger", w.state, principal.WithClock(w.now))
	if err != nil {
		t.Fatal(err)
	}
	propagator, err := principal.NewPropagator(principal.WithLinkKey("ledger", ledger.private, ""), principal.WithPropagatorClock(w.now))
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := verifier.Context(t.Context(), w.header(func(p *principalv1.Principal) { p.Audience = "ledger" }))
	if err != nil {
		t.Fatal(err)
	}
	passed, err := propagator.Header(ctx, "orders", "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.renew(passed.Binary())
	wantCode(t, "passed on", err, connect.CodePermissionDenied)
}

// R07: nothing that was revoked is renewed.
func TestRenewRevoked(t *testing.T) {
	t.Parallel()
	w := newRenewing(t)
	var session []byte
	header := w.header(func(p *principalv1.Principal) { session = p.GetSessionId() })
	if _, err := w.renew(header); err != nil {
		t.Fatal(err)
	}
	w.revoke(revocation.Session(issuer, principal.ID(session)).Proto())
	_, err := w.renew(header)
	wantCode(t, "its session is revoked", err, connect.CodeUnauthenticated)

	header = w.header(nil)
	w.revoke(revocation.Key(w.signer.Key().KeyRef).Proto())
	_, err = w.renew(header)
	wantCode(t, "the authority's key is revoked", err, connect.CodeUnauthenticated)
}
