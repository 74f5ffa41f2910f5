package feed_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/internal/feed"
	"github.com/onbehalf-dev/onbehalf/bff/internal/state"
)

func enroll(t *testing.T, c client, r *trustv1.EnrollKeyRequest) error {
	t.Helper()
	_, err := c.EnrollKey(t.Context(), r)
	return err
}

func (e *edge) published(l link) bool {
	key, err := e.state.Find(e.t.Context(), l.ref())
	return err == nil && key != nil
}

func (l link) ref() principal.KeyRef {
	return principal.KeyRef{Role: principal.RoleLink, Owner: l.service, ID: l.id}
}

func TestEnroll(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	c := e.dial()
	f := watch(t.Context(), t, c, &trustv1.WatchRequest{Service: "ledger"})
	at := f.snapshot().GetSequence()
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]link{"Ed25519": newLink(t, "orders"), "P-256": linkOf(t, "a..b", ecKey)} {
		r := l.withToken(e.token(l.service))
		answer, err := c.EnrollKey(t.Context(), r)
		if err != nil {
			t.Fatal(name, err)
		}
		if answer.GetKeyId() != l.id || answer.GetExpiresAt() < e.now().Add(23*time.Hour).Unix() || !e.published(l) {
			t.Error(name, answer)
		}
		event := f.event(at)
		if at = event.GetSequence(); at < answer.GetSequence() || !strings.Contains(string(event.GetKeys()), l.id) {
			t.Error(name, event)
		}
		// The answer was lost: whoever has the key asks again, and is told the same.
		again, err := c.EnrollKey(t.Context(), r)
		if err != nil || !proto.Equal(again, answer) {
			t.Error(name, again, err)
		}
	}
	orders := e.state.LinkKeys("orders")
	if len(orders) != 1 || orders[0].Message.GetBy() != "token" || orders[0].Message.GetEnrolled() == 0 {
		t.Error(orders)
	}
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	c := e.dial()
	old := e.enrolled(c, "orders")
	next, last := newLink(t, "orders"), newLink(t, "orders")
	if err := enroll(t, c, next.after(old)); err != nil || !e.published(old) || !e.published(next) {
		t.Fatal(err)
	}
	e.advance(25 * time.Hour)
	wantCode(t, "with an expired key", enroll(t, c, last.after(next)), connect.CodePermissionDenied)
}

// Each attacker is refused, and what it asked for is not published.
func TestEnrollmentAttacks(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	c := e.dial()
	orders, ledger := e.enrolled(c, "orders"), e.enrolled(c, "ledger")
	revoked := e.enrolled(c, "orders")
	e.revoke(revocation.Key(revoked.ref()).Proto())
	authorityKey := newLink(t, "orders")
	record := &bffv1.AuthorityRecord{Replica: "r1", Issuer: issuer, Active: "k", Keys: []*bffv1.AuthorityKey{{Id: "k", PublicKey: authorityKey.der}}}
	if _, err := e.state.Put(t.Context(), state.AuthorityName("r1"), record); err != nil {
		t.Fatal(err)
	}
	used := e.token("orders")
	if err := enroll(t, c, newLink(t, "orders").withToken(used)); err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaDER, err := x509.MarshalPKIXPublicKey(rsaKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	lowOrder := append(bytes.Clone(orders.der[:12]), make([]byte, 32)...)
	lowOrder[12] = 1 // the identity point: any signature verifies
	changed := func(edit func(r *trustv1.EnrollKeyRequest, l link)) *trustv1.EnrollKeyRequest {
		l := newLink(t, "orders")
		r := l.withToken(e.token("orders"))
		edit(r, l)
		return r
	}
	before := len(e.state.Keys())
	for name, attack := range map[string]struct {
		request *trustv1.EnrollKeyRequest
		want    connect.Code
	}{
		"no credential":         {newLink(t, "orders").request(), connect.CodeUnauthenticated},
		"a made-up token":       {newLink(t, "orders").withToken("obe_" + strings.Repeat("A", 43)), connect.CodePermissionDenied},
		"a token that was used": {newLink(t, "orders").withToken(used), connect.CodePermissionDenied},
		"another service's":     {newLink(t, "orders").withToken(e.token("ledger")), connect.CodePermissionDenied},
		"a token's hash":        {newLink(t, "orders").withToken(strings.TrimPrefix(state.TokenName(used), "token.")), connect.CodePermissionDenied},
		"no proof":              {changed(func(r *trustv1.EnrollKeyRequest, _ link) { r.Proof = nil }), connect.CodeInvalidArgument},
		"a wrong proof":         {changed(func(r *trustv1.EnrollKeyRequest, _ link) { r.Proof[5] ^= 1 }), connect.CodeInvalidArgument},
		"C03 the proof of a renewal": {changed(func(r *trustv1.EnrollKeyRequest, l link) {
			r.Proof = l.sign("onbehalf/v1 renew\x00", l)
		}), connect.CodeInvalidArgument},
		"the proof for another service": {changed(func(r *trustv1.EnrollKeyRequest, l link) {
			other := l
			other.service = "ledger"
			r.Proof = l.sign("onbehalf/v1 enroll\x00", other)
		}), connect.CodeInvalidArgument},
		"someone else's key, own proof": {changed(func(r *trustv1.EnrollKeyRequest, _ link) { r.PublicKey = ledger.der }), connect.CodeInvalidArgument},
		"another service's own key": {func() *trustv1.EnrollKeyRequest {
			l := ledger // which has its private half
			l.service = "orders"
			return l.withToken(e.token("orders"))
		}(), connect.CodeAlreadyExists},
		"C02 the authority's key": {authorityKey.withToken(e.token("orders")), connect.CodeAlreadyExists},
		"a revoked key":           {revoked.withToken(e.token("orders")), connect.CodeAlreadyExists},
		"RSA":                     {changed(func(r *trustv1.EnrollKeyRequest, _ link) { r.PublicKey = rsaDER }), connect.CodeInvalidArgument},
		"C04 a low-order key":     {changed(func(r *trustv1.EnrollKeyRequest, _ link) { r.PublicKey = lowOrder }), connect.CodeInvalidArgument},
		"trailing bytes":          {changed(func(r *trustv1.EnrollKeyRequest, _ link) { r.PublicKey = append(r.PublicKey, 0) }), connect.CodeInvalidArgument},
		"a second spelling": {changed(func(r *trustv1.EnrollKeyRequest, l link) {
			var outer struct {
				Algorithm asn1.RawValue
				Key       asn1.BitString
			}
			if _, err := asn1.Unmarshal(l.der, &outer); err != nil {
				t.Fatal(err)
			}
			outer.Algorithm.FullBytes = append(bytes.Clone(outer.Algorithm.FullBytes), 5, 0) // with NULL parameters
			outer.Algorithm.FullBytes[1] += 2
			r.PublicKey, _ = asn1.Marshal(outer)
		}), connect.CodeInvalidArgument},
		"renewal by another service's key": {newLink(t, "orders").after(ledger), connect.CodePermissionDenied},
		"renewal by a revoked key":         {newLink(t, "orders").after(revoked), connect.CodePermissionDenied},
		"renewal by itself":                {func() *trustv1.EnrollKeyRequest { l := newLink(t, "orders"); return l.after(l) }(), connect.CodePermissionDenied},
		"the renewal of another key": {func() *trustv1.EnrollKeyRequest {
			r := newLink(t, "orders").request()
			r.Credential = newLink(t, "orders").after(orders).GetCredential()
			return r
		}(), connect.CodePermissionDenied},
		"no service name": {changed(func(r *trustv1.EnrollKeyRequest, _ link) { r.Service = "../orders" }), connect.CodeInvalidArgument},
	} {
		wantCode(t, name, enroll(t, c, attack.request), attack.want)
	}
	if after := len(e.state.Keys()); after != before {
		t.Errorf("%d keys are published, not %d", after, before)
	}
	expiring := e.token("orders")
	e.advance(time.Hour)
	wantCode(t, "an expired token", enroll(t, c, newLink(t, "orders").withToken(expiring)), connect.CodePermissionDenied)
}

// Of all who have the same token, one enrols.
func TestRacingEnrollments(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	for range 5 {
		token, won := e.token("orders"), atomic.Int32{}
		before := len(e.state.LinkKeys("orders"))
		var wg sync.WaitGroup
		for range 8 {
			l, c := newLink(t, "orders"), e.dial()
			wg.Go(func() {
				if err := enroll(t, c, l.withToken(token)); err == nil {
					won.Add(1)
				} else {
					wantCode(t, "the loser", err, connect.CodePermissionDenied)
				}
			})
		}
		wg.Wait()
		if n := len(e.state.LinkKeys("orders")) - before; won.Load() != 1 || n != 1 {
			t.Errorf("%d have won, %d keys", won.Load(), n)
		}
	}
}

func TestKeysPerService(t *testing.T) {
	t.Parallel()
	e := newEdge(t, func(_ *edge, o *feed.Options) { o.KeysPerService = 3 })
	c := e.dial()
	first := e.enrolled(c, "orders")
	e.advance(time.Hour)
	e.enrolled(c, "orders")
	e.enrolled(c, "orders")
	token := e.token("orders")
	wantCode(t, "one too many", enroll(t, c, newLink(t, "orders").withToken(token)), connect.CodeResourceExhausted)
	if e.state.Token(token).Message == nil {
		t.Error("the token was used up for nothing")
	}
	e.enrolled(c, "ledger")
	e.advance(23*time.Hour + time.Second) // the first one expires
	e.enrolled(c, "orders")
	if e.published(first) || len(e.state.LinkKeys("orders")) != 3 {
		t.Error(e.state.LinkKeys("orders"))
	}
}

// A revoked service is out: keys and all, until an operator makes a new token.
func TestRevokedService(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	c := e.dial()
	k, early := e.enrolled(c, "orders"), e.token("orders")
	other := e.enrolled(c, "ledger")
	at := e.revoke(revocation.Service("orders").Proto())
	if e.published(k) || !e.published(other) || e.state.Sequence() < at ||
		!e.state.Revoked(revocation.Key(k.ref()), e.now()) || !e.state.Revoked(revocation.Service("orders"), time.Time{}) {
		t.Error("still in")
	}
	next := newLink(t, "orders")
	wantCode(t, "renewed after revocation", enroll(t, c, next.after(k)), connect.CodePermissionDenied)
	wantCode(t, "a token from before", enroll(t, c, next.withToken(early)), connect.CodePermissionDenied)
	if err := enroll(t, c, next.withToken(e.token("orders"))); err != nil || !e.published(next) || e.published(k) {
		t.Error("with a new token:", err)
	}
	if e.state.Service("orders").Message != nil {
		t.Error("still marked")
	}
	wantCode(t, "the old key comes back", enroll(t, c, k.withToken(e.token("orders"))), connect.CodeAlreadyExists)
	if err := enroll(t, c, newLink(t, "orders").after(next)); err != nil {
		t.Error("it is a service like any other again:", err)
	}
}

// An enrolment and the revocation of its service at the same time: whoever comes
// first in the store, no key is left that nobody revoked.
func TestEnrollmentRacesRevocation(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	c := e.dial()
	for range 20 {
		old := e.enrolled(c, "orders")
		next := newLink(t, "orders")
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = enroll(t, c, next.after(old))
		}()
		e.revoke(revocation.Service("orders").Proto())
		<-done
		if e.published(old) || e.published(next) {
			t.Fatal("a key is left")
		}
		e.enrolled(c, "orders") // lets the service in
		if e.published(next) {
			t.Fatal("the key came back")
		}
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	e := newEdge(t, func(_ *edge, o *feed.Options) { o.Identify, o.RequireCert = identify, true })
	dial := e.tls(newAuthority(t))
	orders := dial(spiffe + "orders")
	k := newLink(t, "orders")
	if err := enroll(t, orders, k.request()); err != nil || e.state.LinkKeys("orders")[0].Message.GetBy() != "mtls" {
		t.Fatal(err)
	}
	wantCode(t, "in another's name", enroll(t, orders, newLink(t, "ledger").request()), connect.CodePermissionDenied)
	wantCode(t, "in another's name, with its token", enroll(t, orders, newLink(t, "ledger").withToken(e.token("ledger"))), connect.CodePermissionDenied)
	id := instance()
	f := watch(t.Context(), t, orders, &trustv1.WatchRequest{Service: "orders", Instance: id})
	f.snapshot()
	if list := e.Services(); len(list) != 1 || !list[0].GetVerified() || list[0].GetKeyIds()[0] != k.id {
		t.Error(list)
	}
	f = watch(t.Context(), t, orders, &trustv1.WatchRequest{Service: "ledger"})
	_, err := f.Receive()
	wantCode(t, "watching as another", err, connect.CodePermissionDenied)

	for name, c := range map[string]client{"none": dial(""), "plain": e.dial(), "of no service": dial("spiffe://other/orders"), "a longer path": dial(spiffe + "a/orders")} {
		wantCode(t, name+": enroll", enroll(t, c, newLink(t, "orders").withToken(e.token("orders"))), connect.CodePermissionDenied)
		_, err := c.Confirm(t.Context(), &trustv1.ConfirmRequest{})
		wantCode(t, name+": confirm", err, connect.CodePermissionDenied)
		_, err = c.Report(t.Context(), &trustv1.ReportRequest{Service: "orders", Instance: id, Sequence: 1})
		wantCode(t, name+": report", err, connect.CodePermissionDenied)
	}
	// A certificate alone does not let a revoked service in.
	e.revoke(revocation.Service("orders").Proto())
	next := newLink(t, "orders")
	wantCode(t, "a revoked service", enroll(t, orders, next.request()), connect.CodePermissionDenied)
	if err := enroll(t, orders, next.withToken(e.token("orders"))); err != nil {
		t.Error(err)
	}
}

// Where certificates are not asked for, one that is shown counts, and who has
// none does not speak for who has.
func TestOptionalCertificates(t *testing.T) {
	t.Parallel()
	e := newEdge(t, func(_ *edge, o *feed.Options) { o.Identify = identify })
	dial := e.tls(newAuthority(t))
	orders, anybody := dial(spiffe+"orders"), e.dial()
	id := instance()
	f := watch(t.Context(), t, orders, &trustv1.WatchRequest{Service: "orders", Instance: id})
	f.snapshot()
	_, err := anybody.Report(t.Context(), &trustv1.ReportRequest{Service: "orders", Instance: id, Sequence: 1})
	wantCode(t, "a report for it", err, connect.CodePermissionDenied)
	other := watch(t.Context(), t, anybody, &trustv1.WatchRequest{Service: "orders", Instance: id})
	_, err = other.Receive()
	wantCode(t, "in its place", err, connect.CodePermissionDenied)
	wantCode(t, "enrolling for it", enroll(t, anybody, newLink(t, "orders").request()), connect.CodeUnauthenticated)
	wantCode(t, "of no service", enroll(t, dial("spiffe://other/orders"), newLink(t, "orders").withToken(e.token("orders"))), connect.CodePermissionDenied)
	f.next()
}

func TestCreateToken(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	for _, life := range []time.Duration{-1, time.Millisecond, 31 * 24 * time.Hour} {
		if _, _, err := e.CreateToken(t.Context(), "orders", life); err == nil {
			t.Error(life)
		}
	}
	if _, _, err := e.CreateToken(t.Context(), "Orders", 0); err == nil {
		t.Error("no service name")
	}
	token, expires, err := e.CreateToken(t.Context(), "orders", 0)
	if err != nil || !strings.HasPrefix(token, "obe_") || len(token) != 47 || expires.Sub(e.now()) > time.Hour || expires.Sub(e.now()) < 59*time.Minute {
		t.Error(len(token), expires, err)
	}
	stored, err := e.store.Get(t.Context(), state.TokenName(token))
	if err != nil || bytes.Contains(stored.Value, []byte(token)) || strings.Contains(stored.Key, token) {
		t.Error("the token itself is kept", err)
	}
}

// No token, and nothing of a private key or a principal, is ever logged.
func TestCanary(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	c := e.dial()
	token := e.token("orders")
	l := newLink(t, "orders")
	r := l.withToken(token)
	secrets := []string{token, strings.TrimPrefix(token, "obe_"), hex.EncodeToString(r.GetProof())}
	wrong := newLink(t, "ledger").withToken(token)
	wantCode(t, "of another service", enroll(t, c, wrong), connect.CodePermissionDenied)
	if err := enroll(t, c, r); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "used", enroll(t, c, newLink(t, "orders").withToken(token)), connect.CodePermissionDenied)
	e.store.broken.Store(true)
	if _, err := e.Revoke(t.Context(), session(1), "lost"); err == nil {
		t.Error("revoked without a store")
	}
	text := e.logs.String()
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	if !strings.Contains(text, "a link key was enrolled") {
		t.Error(text)
	}
}
