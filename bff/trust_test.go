package bff_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1/bffv1connect"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
	"github.com/onbehalf-dev/onbehalf/principal/trust"

	"github.com/onbehalf-dev/onbehalf/bff"
)

const edgeIssuer = "https://edge.test"

// operator returns a client of the edge's admin service.
func (e *edge) operator() bffv1connect.AdminServiceClient {
	e.t.Helper()
	client, err := bff.AdminClient(strings.TrimPrefix(e.admin, "http://"), filepath.Join(e.dir, "data"))
	if err != nil {
		e.t.Fatal(err)
	}
	return client
}

// join returns a service that has joined with a token.
func (e *edge) join(service string, opts ...trust.Option) *trust.Node {
	e.t.Helper()
	made, err := e.operator().CreateEnrollmentToken(e.t.Context(), &bffv1.CreateEnrollmentTokenRequest{Service: service})
	if err != nil {
		e.t.Fatal(err)
	}
	plant(made.GetToken())
	ctx, cancel := context.WithTimeout(e.t.Context(), 10*time.Second)
	defer cancel()
	node, err := trust.Join(ctx, e.mesh, service, append([]trust.Option{
		trust.WithEnrollmentToken(made.GetToken()), trust.WithLogger(slog.New(slog.DiscardHandler)),
		trust.WithVerifierOptions(principal.AcceptRelay("mesh:test")),
	}, opts...)...)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(node.Close)
	return node
}

func (e *edge) revoke(target revocation.Target) uint64 {
	e.t.Helper()
	done, err := e.operator().Revoke(e.t.Context(), &bffv1.RevokeRequest{Target: target.Proto(), Reason: "a test"})
	if err != nil {
		e.t.Fatal(err)
	}
	return done.GetSequence()
}

// header returns what the upstream was sent, decoded.
func (e *edge) header(h http.Header) string {
	e.t.Helper()
	header, err := decodeText(h.Get(principal.HeaderName))
	if err != nil {
		e.t.Fatal(err)
	}
	return header
}

// R01, R05: what is revoked is refused by services, cached or not, and not minted
// again; who logs in anew gets a principal.
func TestRevocation(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	orders := e.join("orders")
	token := e.provider.token("alice", map[string]any{"sid": "s1"})
	header := e.header(e.get("/linked", token))
	p, err := orders.Verifier().Verify(t.Context(), header)
	if err != nil {
		t.Fatal(err)
	}
	if p.RevocationSequence() == 0 {
		t.Error("the principal does not say what was revoked when it was issued")
	}
	session, ok := p.SessionID()
	if !ok {
		t.Fatal("no session")
	}
	e.revoke(revocation.Session(edgeIssuer, session))
	if res := e.do(http.MethodGet, "/linked", token, nil); res.StatusCode != http.StatusUnauthorized {
		t.Error("the token is still good:", res.Status)
	}
	eventually(t, "refused by the service", func() bool {
		_, err := orders.Verifier().Verify(t.Context(), header)
		return principal.ReasonOf(err) == principal.ReasonRevoked
	})
	other := e.header(e.get("/linked", e.provider.token("alice", map[string]any{"sid": "s2"})))
	if _, err := orders.Verifier().Verify(t.Context(), other); err != nil {
		t.Error("another session:", err)
	}

	e.revoke(revocation.Identity(p.Subject()))
	eventually(t, "refused by the service", func() bool {
		_, err := orders.Verifier().Verify(t.Context(), other)
		return principal.ReasonOf(err) == principal.ReasonRevoked
	})
	if res := e.do(http.MethodGet, "/linked", e.provider.token("alice", nil), nil); res.StatusCode != http.StatusUnauthorized {
		t.Error("a token of the same second is still good:", res.Status)
	}
	e.clock.advance(time.Minute)
	e.get("/linked", e.provider.token("alice", nil)) // a later login
	var reasons []string
	for _, r := range e.records() {
		if r.text("credential_reason") != "" {
			reasons = append(reasons, r.text("credential_reason"))
		}
		if r.text("action") == "revoke" && (r.text("note") != "a test" || r.text("target") == "" || r.text("sequence") == "") {
			t.Error("record of a revocation:", r)
		}
	}
	if !slices.Equal(reasons, []string{"revoked", "revoked"}) {
		t.Error("records:", reasons)
	}
}

// R05: a request that is under way ends, in the proxy too, however idle it is.
func TestRevocationEndsRequests(t *testing.T) {
	t.Parallel()
	g := newGate()
	e := start(t, setup{handler: g})
	token := e.provider.token("alice", map[string]any{"sid": "s1"})
	ended := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.public+"/linked", nil)
		if err != nil {
			ended <- err
			return
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := e.client.Do(req)
		if err == nil {
			defer res.Body.Close()
			_, err = res.Body.Read(make([]byte, 1))
		}
		ended <- err
	}()
	<-g.came
	p := e.principal("orders", e.upstream.last())
	session, _ := p.SessionID()
	start := time.Now()
	e.revoke(revocation.Session(edgeIssuer, session))
	if err := <-ended; err == nil {
		t.Error("the request went on")
	}
	t.Logf("ended %v after the revocation was asked for", time.Since(start).Round(time.Microsecond))
	for _, r := range e.records() {
		if r.text("path") == "/linked" && r.text("reason") != "revoked" {
			t.Error("record:", r)
		}
	}
}

// G01, G06: the key is rotated, and revoked, without a call that fails.
func TestRotation(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	orders := e.join("orders")
	verify := func(header string) principal.Reason {
		_, err := orders.Verifier().Verify(t.Context(), header)
		return principal.ReasonOf(err)
	}
	active := e.activeKey()
	next, err := e.operator().RotateKey(t.Context(), &bffv1.RotateKeyRequest{})
	if err != nil {
		t.Fatal(err)
	}
	e.clock.advance(11 * time.Second) // from then on it is believed that the services are those that there are
	eventually(t, "the next key signs", func() bool { return e.activeKey() == next.GetKeyId() })
	second := e.header(e.get("/once", e.provider.token("alice", nil)))
	if r := verify(second); r != 0 {
		t.Error("signed by the next key:", r)
	}
	e.revoke(revocation.Key(principal.KeyRef{Role: principal.RoleAuthority, Owner: edgeIssuer, ID: next.GetKeyId()}))
	eventually(t, "refused by the service", func() bool { return keyIsGone(verify(second)) })
	third := e.header(e.get("/once", e.provider.token("alice", nil)))
	if r := verify(third); r != 0 {
		t.Error("signed after the revocation:", r)
	}
	eventually(t, "the list names the key that signs", func() bool { // what it is read from follows the store
		now := e.activeKey()
		return now != next.GetKeyId() && now != active
	})
}

// keyIsGone reports whether it was a revoked key that made a principal refused:
// it is not published any more either.
func keyIsGone(r principal.Reason) bool {
	return r == principal.ReasonRevoked || r == principal.ReasonUnknownKey
}

func (e *edge) activeKey() string {
	e.t.Helper()
	list, err := e.operator().ListKeys(e.t.Context(), &bffv1.ListKeysRequest{})
	if err != nil {
		e.t.Fatal(err)
	}
	active := ""
	for _, k := range list.GetKeys() {
		if k.GetState() == bffv1.KeyState_KEY_STATE_ACTIVE && k.GetEpoch() > 0 {
			if active != "" {
				e.t.Fatalf("%s and %s are active", active, k.GetRef().GetId())
			}
			active = k.GetRef().GetId()
		}
	}
	if active == "" {
		e.t.Fatal("no key is active")
	}
	return active
}

// A service passes a principal on with the key that it has enrolled, until the
// service is revoked.
func TestServiceIsRevoked(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	orders, payments := e.join("orders"), e.join("payments")
	ctx, err := orders.Verifier().Context(t.Context(), e.header(e.get("/linked", e.provider.token("alice", nil))))
	if err != nil {
		t.Fatal(err)
	}
	passed, err := orders.Propagator().Header(ctx, "payments", "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := payments.Verifier().Verify(t.Context(), passed.Binary())
	if err != nil || !slices.Equal(p.Path(), []string{"bff", "orders"}) {
		t.Fatal(p, err)
	}
	e.revoke(revocation.Service("orders"))
	eventually(t, "refused by payments", func() bool {
		_, err := payments.Verifier().Verify(t.Context(), passed.Binary())
		return keyIsGone(principal.ReasonOf(err))
	})
	eventually(t, "orders knows", func() bool { return orders.Health() != nil })
}

// A service that acts for itself says so, and has what the configuration gives it.
func TestAsService(t *testing.T) {
	t.Parallel()
	e := start(t, setup{extra: "services: [{name: billing, scopes: ['ledger:write', 'ledger:read'], roles: [nightly]}]\n"})
	billing, ledger := e.join("billing"), e.join("ledger")
	ctx, err := billing.AsService(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	header, err := billing.Propagator().Header(ctx, "ledger", "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ledger.Verifier().Verify(t.Context(), header.Binary())
	if err != nil {
		t.Fatal(err)
	}
	if p.Kind() != principal.KindService || p.Actor().String() != "svc-billing" || !p.HasScope("ledger:read") || !p.HasRole("nightly") {
		t.Error(p)
	}
	if again, err := billing.AsService(t.Context()); err != nil || idOf(again) != idOf(ctx) {
		t.Error("not used again:", err)
	}
	e.revoke(revocation.Identity(p.Actor()))
	eventually(t, "refused", func() bool {
		_, err := billing.AsService(t.Context())
		return err != nil
	})
	issued := 0
	for _, r := range e.records() {
		if r.text("action") == "issue" && r.text("decision") == "allowed" && r.text("service") == "billing" {
			issued++
		}
	}
	if issued != 1 {
		t.Errorf("%d records of what was issued", issued)
	}
}

func idOf(ctx context.Context) principal.ID {
	p, _ := principal.FromContext(ctx)
	return p.ID()
}

// Z08: the admin service is on the admin listener only, and asks for the token.
func TestAdminService(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	path := bffv1connect.AdminServiceListKeysProcedure
	token, err := os.ReadFile(filepath.Join(e.dir, "data", "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	good := "Bearer " + strings.TrimSpace(string(token))
	for name, c := range map[string]struct {
		base          string
		authorization []string
		want          int
	}{
		"public":         {e.public, []string{good}, http.StatusNotFound},
		"mesh":           {e.mesh, []string{good}, http.StatusNotFound},
		"none":           {e.admin, nil, http.StatusUnauthorized},
		"wrong":          {e.admin, []string{good + "x"}, http.StatusUnauthorized},
		"twice":          {e.admin, []string{good, good}, http.StatusUnauthorized},
		"an access":      {e.admin, []string{"Bearer " + e.provider.token("alice", nil)}, http.StatusUnauthorized},
		"right":          {e.admin, []string{good}, http.StatusOK},
		"not the scheme": {e.admin, []string{strings.TrimPrefix(good, "Bearer ")}, http.StatusUnauthorized},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.base+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header["Authorization"] = c.authorization
		if res := e.send(req); res.StatusCode != c.want {
			t.Errorf("%s: %s, want %d", name, res.Status, c.want)
		}
	}
	for name, r := range map[string]*bffv1.RevokeRequest{
		"nothing":       {},
		"a long reason": {Target: revocation.Service("orders").Proto(), Reason: strings.Repeat("x", 257)},
	} {
		if _, err := e.operator().Revoke(t.Context(), r); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if strings.Contains(e.log.String(), strings.TrimSpace(string(token))) {
		t.Error("the token is in the log")
	}
}

// Who follows the feed is listed, with how it verifies.
func TestServices(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	e.join("orders")
	e.join("payments")
	sequence := e.revoke(revocation.Service("nobody"))
	eventually(t, "both have it", func() bool {
		list, err := e.operator().ListServices(t.Context(), &bffv1.ListServicesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		have := 0
		for _, s := range list.GetServices() {
			if s.GetSequence() >= sequence && s.GetVersion() != "" && slices.Contains(s.GetSettings(), "relay=mesh:test") &&
				len(s.GetKeyIds()) == 1 && !s.GetVerified() {
				have++
			}
		}
		return have == 2
	})
}

// The edge knows after a restart what it knew before, and no sequence goes back
// (R09).
func TestRestart(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	orders := e.join("orders")
	token := e.provider.token("alice", map[string]any{"sid": "s1"})
	p, err := orders.Verifier().Verify(t.Context(), e.header(e.get("/linked", token)))
	if err != nil {
		t.Fatal(err)
	}
	session, _ := p.SessionID()
	sequence := e.revoke(revocation.Session(edgeIssuer, session))
	e.client.CloseIdleConnections()
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	e.restart(setup{})
	if res := e.do(http.MethodGet, "/linked", token, nil); res.StatusCode != http.StatusUnauthorized {
		t.Error("the revoked session is back:", res.Status)
	}
	if again := e.revoke(revocation.Service("nobody")); again <= sequence {
		t.Errorf("sequence %d after %d", again, sequence)
	}
}

var errNotText = errors.New("not one header")

func decodeText(text string) (string, error) {
	if text == "" {
		return "", errNotText
	}
	raw, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNotText, err)
	}
	return string(raw), nil
}
