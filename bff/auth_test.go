package bff_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff"
	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/principal"
)

func TestPrincipalOfAHuman(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	token := e.provider.token("alice", map[string]any{"sid": "s1", "acr": "2"})

	p := e.principal("orders", e.get("/linked", token))
	if p.Kind() != principal.KindHuman || !p.HasScope("orders:write") || p.ClientID() != "web" || p.Authentication().ACR != "2" ||
		p.Issuer() != "https://edge.test" || p.Authentication().Source != "oidc" {
		t.Error(p)
	}
	if presenter, _ := p.Presenter(); presenter != "bff" {
		t.Error("presenter", presenter)
	}
	if _, ok := p.TransactionID(); ok {
		t.Error("a principal of a window has a transaction")
	}
	relayed := e.principal("payments", e.get("/relay", token))
	if relayed.Subject() != p.Subject() || relayed.ID() == p.ID() {
		t.Error(relayed)
	}
	r := e.records()[0]
	for name, want := range map[string]string{
		"decision": "allowed", "reason": "", "status": "200", "route": "/linked", "path": "/linked", "method": "GET",
		"client": "127.0.0.1", "principal.id": p.ID().String(), "principal.subject": p.Subject().String(),
		"principal.actor": p.Actor().String(), "principal.kind": "human", "principal.scopes": "[orders:read orders:write]",
		"principal.client_id": "web", "principal.source": "oidc", "principal.issuer": "https://edge.test", "principal.audience": "orders",
		"principal.acr": "2", "credential_issuer": e.provider.URL, "smuggle_stripped": "", "msg": "request", "level": "",
	} {
		if r.text(name) != want {
			t.Errorf("%s is %q, want %q", name, r.text(name), want)
		}
	}
}

func TestServicePrincipal(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	p := e.principal("orders", e.get("/linked", e.provider.token("x", map[string]any{"service": "billing"})))
	if p.Kind() != principal.KindService || p.Subject().String() != "svc-billing" {
		t.Error(p)
	}
}

// forged is a token that the provider did not sign.
func forged(t *testing.T, p *provider) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other := &provider{Server: p.Server, t: t, now: p.now, key: key}
	return other.token("admin", nil)
}

func TestAuth(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	valid := e.provider.token("alice", nil)
	bad := map[string]string{
		"signature": forged(t, e.provider),
		"time":      e.provider.token("alice", map[string]any{"exp": e.clock.now().Add(-time.Hour).Unix()}),
		"audience":  e.provider.token("alice", map[string]any{"aud": "other"}),
		"malformed": "garbage",
	}
	const (
		none    = `Bearer`
		invalid = `Bearer error="invalid_token"`
	)
	for _, tt := range []struct {
		path, credential  string
		status            int
		challenge, reason string
		principal         bool
	}{
		{path: "/relay", credential: valid, status: 200, principal: true},
		{path: "/relay", status: 401, challenge: none, reason: "missing"},
		{path: "/relay", credential: bad["signature"], status: 401, challenge: invalid, reason: "signature"},
		{path: "/relay", credential: bad["time"], status: 401, challenge: invalid, reason: "time"},
		{path: "/relay", credential: bad["audience"], status: 401, challenge: invalid, reason: "audience"},
		{path: "/optional", credential: valid, status: 200, principal: true},
		{path: "/optional", status: 200},
		{path: "/optional", credential: bad["signature"], status: 401, challenge: invalid, reason: "signature"},
		{path: "/optional", credential: bad["malformed"], status: 401, challenge: invalid, reason: "malformed"},
		{path: "/public", credential: valid, status: 200},
		{path: "/public", credential: bad["malformed"], status: 200},
		{path: "/public", status: 200},
	} {
		before := e.upstream.count()
		res := e.do(http.MethodGet, tt.path, tt.credential, nil)
		if res.StatusCode != tt.status || res.Header.Get("WWW-Authenticate") != tt.challenge {
			t.Errorf("%s, %s: %d %q, want %d %q", tt.path, tt.reason, res.StatusCode, res.Header.Get("WWW-Authenticate"), tt.status, tt.challenge)
		}
		if !strings.HasPrefix(res.Header.Get("X-Request-Id"), "req_") {
			t.Errorf("%s: no request id", tt.path)
		}
		if reached := e.upstream.count() > before; reached != (tt.status == 200) {
			t.Errorf("%s, %s: reached the upstream: %t", tt.path, tt.reason, reached)
		} else if reached {
			h := e.upstream.last()
			if h.Get("X-Request-Id") != res.Header.Get("X-Request-Id") || (h.Get(principal.HeaderName) != "") != tt.principal {
				t.Errorf("%s: the upstream sees %v", tt.path, h)
			}
		}
		defer func() {
			i := slices.IndexFunc(e.records(), func(r record) bool { return r.text("request_id") == res.Header.Get("X-Request-Id") })
			if i < 0 {
				t.Fatalf("%s: no record", tt.path)
			}
			r := e.records()[i]
			reason := r.text("reason")
			if reason == "credential" {
				reason = r.text("credential_reason")
			}
			if reason != tt.reason || (r["principal"] != nil) != tt.principal || (r.text("decision") == "allowed") != (tt.status == 200) {
				t.Errorf("%s, %s: %v", tt.path, tt.reason, r)
			}
		}()
	}
}

// The text for a refused request is the same whatever was wrong.
func TestAnswersAreConstant(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	var first string
	for _, token := range []string{
		"garbage", forged(t, e.provider), e.provider.token("a", map[string]any{"aud": "x"}), e.provider.token("a", map[string]any{"nonce": "x"}),
	} {
		res := e.do(http.MethodGet, "/relay", token, nil)
		if first == "" {
			first = res.Body
		}
		if res.Body != first || res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%d %s", res.StatusCode, res.Body)
		}
	}
}

// A gRPC client gets its errors as gRPC.
func TestErrorsInTheClientsProtocol(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	for path, want := range map[string]string{"/relay": "16", "/nowhere": "12"} {
		res := e.do(http.MethodPost, path, "", http.Header{"Content-Type": {"application/grpc"}})
		if res.StatusCode != http.StatusOK || res.Header.Get("Grpc-Status") != want {
			t.Errorf("%s: %d, grpc-status %q", path, res.StatusCode, res.Header.Get("Grpc-Status"))
		}
	}
	for _, r := range e.records() {
		if r.text("decision") != "refused" || r.text("status") != "200" {
			t.Error(r)
		}
	}
}

func TestMintWindow(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	alice := e.provider.token("alice", nil)
	value := func(path, token string) string { return e.get(path, token).Get(principal.HeaderName) }
	first := value("/relay", alice)
	if value("/relay", alice) != first || value("/again", alice) != first {
		t.Error("routes of one trust domain do not share")
	}
	if value("/linked", alice) == value("/short", alice) {
		t.Error("a route takes the principal of one with more links")
	}
	if value("/relay", e.provider.token("alice", nil)) == first {
		t.Error("two credentials share")
	}
	e.clock.advance(59 * time.Second)
	if value("/relay", alice) != first {
		t.Error("the window is too short")
	}
	e.clock.advance(time.Second)
	if value("/relay", alice) == first {
		t.Error("the window is too long")
	}
	once := e.principal("orders", e.get("/once", alice))
	again := e.principal("orders", e.get("/once", alice))
	a, ok := once.TransactionID()
	b, _ := again.TransactionID()
	if !ok || a == b || once.ID() == again.ID() {
		t.Error("requests share a transaction")
	}
}

// A credential that ends within the window ends there, too.
func TestCredentialEndsInTheWindow(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	token := e.provider.token("alice", map[string]any{"exp": e.clock.now().Add(20 * time.Second).Unix()})
	e.get("/relay", token)
	e.clock.advance(20 * time.Second) // within the skew that is allowed for tokens
	if res := e.do(http.MethodGet, "/relay", token, nil); res.StatusCode != http.StatusUnauthorized {
		t.Error(res.Status)
	}
	if r := e.records()[1]; r.text("credential_reason") != "time" {
		t.Error(r)
	}
}

// While a provider is away, its tokens are refused as unavailable, never taken
// as anonymous; what was verified before goes on.
func TestProviderIsDown(t *testing.T) {
	t.Parallel()
	c := newClock()
	p := newProvider(t, c.now)
	p.down.Store(true)
	e := start(t, setup{provider: p})
	for _, path := range []string{"/relay", "/optional"} {
		if res := e.do(http.MethodGet, path, p.token("alice", nil), nil); res.StatusCode != http.StatusServiceUnavailable {
			t.Error(path, res.Status)
		}
	}
	if e.upstream.count() != 0 {
		t.Error("reached the upstream")
	}
	if r := e.records()[0]; r.text("reason") != "unavailable" || r.text("decision") != "refused" {
		t.Error(r)
	}
}

// apiKeys is an authenticator of somebody else.
type apiKeys struct {
	err    error
	result *authn.Result
}

func (apiKeys) CredentialHeaders() []string { return []string{"X-Api-Key"} }

func (a apiKeys) Authenticate(_ context.Context, h http.Header) (*authn.Result, error) {
	if h.Get("X-Api-Key") == "" {
		return nil, authn.ErrNoCredential
	}
	if a.err == nil && a.result == nil {
		panic("canary-panic")
	}
	return a.result, a.err
}

func TestAuthenticatorFails(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]apiKeys{
		"error": {err: errors.New("canary-error")},
		"panic": {},
		"empty": {result: new(authn.Result)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t, setup{options: []bff.Option{bff.WithAuthenticator(a)}})
			for _, path := range []string{"/relay", "/optional"} {
				if res := e.do(http.MethodGet, path, "", http.Header{"X-Api-Key": {"canary-key"}}); res.StatusCode != http.StatusServiceUnavailable {
					t.Error(path, res.Status)
				}
			}
			e.get("/relay", e.provider.token("alice", nil))
			if r := e.records()[0]; r.text("reason") != "unavailable" {
				t.Error(r)
			}
			if strings.Contains(e.log.String(), "canary") {
				t.Error(e.log)
			}
		})
	}
}

// Two credentials are no credential, and none of them is forwarded.
func TestTwoCredentials(t *testing.T) {
	t.Parallel()
	e := start(t, setup{options: []bff.Option{bff.WithAuthenticator(apiKeys{err: &authn.Error{Reason: authn.ReasonSignature}})}})
	key := http.Header{"X-Api-Key": {"k"}}
	if res := e.do(http.MethodGet, "/relay", e.provider.token("alice", nil), key); res.StatusCode != http.StatusUnauthorized {
		t.Error(res.Status)
	}
	e.do(http.MethodGet, "/public", "", key)
	if got := e.upstream.last().Get("X-Api-Key"); got != "" {
		t.Error("the key was forwarded")
	}
	if r := e.records()[0]; r.text("credential_reason") != "ambiguous" {
		t.Error(r)
	}
}

// What cannot be signed is not sent without a principal.
func TestPrincipalTooLarge(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	var scopes []string
	for i := range 50 {
		scopes = append(scopes, fmt.Sprintf("%080d", i))
	}
	token := e.provider.token("alice", map[string]any{"scope": strings.Join(scopes, " ")})
	for _, path := range []string{"/relay", "/optional", "/once"} {
		if res := e.do(http.MethodGet, path, token, nil); res.StatusCode != http.StatusServiceUnavailable {
			t.Error(path, res.Status)
		}
	}
	if e.upstream.count() != 0 {
		t.Error("reached the upstream")
	}
	if r := e.records()[0]; r.text("reason") != "signing" || !strings.Contains(e.log.String(), "scopes takes the most") {
		t.Error(r, e.log)
	}
}

func TestTraceID(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	e.do(http.MethodGet, "/public", "", http.Header{"Traceparent": {"00-" + trace + "-00f067aa0ba902b7-01"}})
	if got := e.upstream.last().Get("Traceparent"); !strings.Contains(got, trace) {
		t.Error("not forwarded", got)
	}
	if r := e.records()[0]; r.text("trace_id") != trace {
		t.Error(r)
	}
}

// Only a trusted proxy chooses the id of a request.
func TestRequestID(t *testing.T) {
	t.Parallel()
	for extra, trusted := range map[string]bool{"": false, "trusted_proxies: [127.0.0.1]\n": true, "trusted_proxies: [10.0.0.0/8]\n": false} {
		e := start(t, setup{extra: extra})
		res := e.do(http.MethodGet, "/public", "", http.Header{"X-Request-Id": {"theirs"}})
		if got := res.Header.Get("X-Request-Id"); (got == "theirs") != trusted || e.upstream.last().Get("X-Request-Id") != got {
			t.Errorf("%q: %q", extra, got)
		}
	}
}

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	e := start(t, setup{
		extra:   "limits: {body_bytes: 10}\n",
		handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }),
	})
	for body, want := range map[string]int{"0123456789": http.StatusOK, "0123456789a": http.StatusRequestEntityTooLarge} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.public+"/public", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if res := e.send(req); res.StatusCode != want {
			t.Errorf("%d bytes: %s", len(body), res.Status)
		}
	}
}
