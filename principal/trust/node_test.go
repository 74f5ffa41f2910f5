package trust_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
	"github.com/onbehalf-dev/onbehalf/principal/trust"
)

// logs collects what was logged.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logs) option() trust.Option { return trust.WithLogger(slog.New(slog.NewTextHandler(l, nil))) }

// join joins the service orders and leaves with the test.
func join(t testing.TB, url string, opts ...trust.Option) *trust.Node {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	opts = append([]trust.Option{trust.HurryForTest(), trust.WithLogger(slog.New(slog.DiscardHandler)), trust.PatientForTest(5 * time.Second)}, opts...)
	node, err := trust.Join(ctx, url, "orders", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Close)
	return node
}

// await waits until something is so.
func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func reason(t testing.TB, node *trust.Node, header string) principal.Reason {
	t.Helper()
	_, err := node.Verifier().Verify(t.Context(), header)
	return principal.ReasonOf(err)
}

// The whole life of a node: keys and revocations come by the feed, links are
// signed with an enrolled key, and nothing is left over.
func TestJoin(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	var out logs
	labels := pprof.Labels("node", t.Name())
	pprof.Do(t.Context(), labels, func(context.Context) {
		node := join(t, e.server.URL, trust.WithEnrollmentToken(token), trust.WithIssuer(issuer), out.option())
		if err := node.Health(); err != nil {
			t.Error(err)
		}
		header := e.header("orders", human(1))
		ctx, err := node.Verifier().Context(t.Context(), header)
		if err != nil {
			t.Fatal(err)
		}
		sent, err := node.Propagator().Header(ctx, "payments", "")
		if err != nil {
			t.Fatal(err)
		}
		payments, err := principal.NewVerifier("payments", node)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := payments.Verify(t.Context(), sent.Binary()); err != nil {
			t.Error(err)
		}
		sequence := e.revoke(sessionOf(1))
		await(t, "the session is revoked", func() bool { return reason(t, node, header) == principal.ReasonRevoked })
		await(t, "the edge is told", func() bool {
			e.mu.Lock()
			defer e.mu.Unlock()
			return len(e.reports) > 0 && e.reports[len(e.reports)-1] == sequence
		})
		if text := fmt.Sprintf("%v %+v %#v %s", node, node, node, node.Propagator()); strings.Contains(text, token) || !strings.Contains(text, "trust.Node{orders}") {
			t.Error(text)
		}
		node.Close()
		node.Close()
		if err := node.Health(); err == nil {
			t.Error("a closed node is healthy")
		}
	})
	await(t, "no goroutine is left", func() bool {
		var profile bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
			t.Fatal(err)
		}
		return !strings.Contains(profile.String(), `"node":"`+t.Name())
	})
	if text := out.String(); strings.Contains(text, token) || !strings.Contains(text, "link key in use") {
		t.Error(text)
	}
	if request := e.watches[0]; len(request.GetInstance()) != 16 || request.GetService() != "orders" ||
		strings.Join(request.GetSettings(), " ") != "audience=orders binding=none staleness=30s" {
		t.Errorf("%v", request)
	}
}

func TestJoinRefusesArguments(t *testing.T) {
	t.Parallel()
	with := func(opts ...trust.Option) []trust.Option { return append(opts, trust.WithEnrollmentToken(token)) }
	for name, c := range map[string]struct {
		url, service string
		opts         []trust.Option
		want         string
	}{
		"plain text":     {"http://bff.internal:9443", "orders", with(), "use https"},
		"a password":     {"https://user:hunter2@bff.internal", "orders", with(), "holds a password"},
		"a path":         {"https://bff.internal/hunter2", "orders", with(), "a scheme, a host and a port"},
		"a query":        {"https://bff.internal?hunter2", "orders", with(), "a scheme, a host and a port"},
		"malformed":      {"https://bff.internal:hunter2", "orders", with(), "malformed"},
		"no scheme":      {"bff.internal", "orders", with(), "a scheme, a host and a port"},
		"no service":     {"https://bff.internal", "Orders", with(), "not a service name"},
		"no credential":  {"https://bff.internal", "orders", nil, "WithEnrollmentToken"},
		"no token":       {"https://bff.internal", "orders", []trust.Option{trust.WithEnrollmentToken("")}, "token is empty"},
		"no issuer":      {"https://bff.internal", "orders", with(trust.WithIssuer("")), "issuer is empty"},
		"no logger":      {"https://bff.internal", "orders", with(trust.WithLogger(nil)), "no logger"},
		"no clock":       {"https://bff.internal", "orders", with(trust.WithClock(nil)), "clock is nil"},
		"no TLS":         {"https://bff.internal", "orders", with(trust.WithTLSConfig(nil)), "TLS configuration is nil"},
		"no client":      {"https://bff.internal", "orders", with(trust.WithHTTPClient(nil)), "client is nil"},
		"bad verifier":   {"https://bff.internal", "orders", with(trust.WithVerifierOptions(principal.AcceptRelay("prod"))), "mesh:"},
		"odd transport":  {"https://bff.internal", "orders", with(trust.WithHTTPClient(&http.Client{Transport: http.NewFileTransport(nil)})), "not an *http.Transport"},
		"unverified TLS": {"https://bff.internal", "orders", with(trust.WithTLSConfig(insecure())), "does not verify"},
	} {
		_, err := trust.Join(t.Context(), c.url, c.service, c.opts...)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Join says what was missing when its time is over, and leaves nothing behind.
func TestJoinSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	silent := func(ctx context.Context, _ int, _ func(*trustv1.WatchResponse) error) error {
		<-ctx.Done()
		return ctx.Err()
	}
	refusing := func(context.Context, int, func(*trustv1.WatchResponse) error) error {
		return connect.NewError(connect.CodeUnavailable, "behind")
	}
	for name, c := range map[string]struct {
		prepare func(e *edge)
		opts    []trust.Option
		want    string
		ends    bool // without being told to
	}{
		"silent feed":   {prepare: func(e *edge) { e.onWatch = silent }, want: "no snapshot of the feed yet"},
		"refusing feed": {prepare: func(e *edge) { e.onWatch = refusing }, want: "behind"},
		"other issuer":  {opts: []trust.Option{trust.WithIssuer("https://other.test")}, want: `this is the feed of "https://edge.test"`},
		"no enrolment": {prepare: func(e *edge) {
			e.onEnroll = func(*trustv1.EnrollKeyRequest) error { return connect.NewError(connect.CodeUnavailable, "no quorum") }
		}, want: "no quorum"},
		"used token": {prepare: func(e *edge) { clear(e.tokens) }, want: "unused enrolment token", ends: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t)
			if c.prepare != nil {
				c.prepare(e)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var out logs
			opts := append([]trust.Option{trust.HurryForTest(), trust.WithEnrollmentToken(token), out.option()}, c.opts...)
			timer := time.AfterFunc(300*time.Millisecond, func() {
				if !c.ends {
					cancel()
				}
			})
			defer timer.Stop()
			_, err := trust.Join(ctx, e.server.URL, "orders", opts...)
			if err == nil || !strings.Contains(err.Error(), c.want) || !c.ends && !errors.Is(err, context.Canceled) || strings.Contains(err.Error()+out.String(), token) {
				t.Errorf("%v\n%s", err, out.String())
			}
		})
	}
}

// A redirect would let whoever answers for the edge send services elsewhere.
func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	other := httptest.NewUnstartedServer(http.RedirectHandler(e.server.URL, http.StatusTemporaryRedirect))
	other.Config.Protocols = new(http.Protocols)
	other.Config.Protocols.SetUnencryptedHTTP2(true)
	other.Start()
	defer other.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := trust.Join(ctx, other.URL, "orders", trust.HurryForTest(), trust.WithoutLinkKey(), trust.WithLogger(slog.New(slog.DiscardHandler)))
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil || len(e.watches) > 0 {
		t.Errorf("%v, %d calls", err, len(e.watches))
	}
}

// A service that relays has no key, and says so when asked to act for itself.
func TestWithoutLinkKey(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	node := join(t, e.server.URL, trust.WithoutLinkKey())
	if err := node.Health(); err != nil {
		t.Error(err)
	}
	if _, ok := node.Propagator().Key(); ok {
		t.Error("there is a key")
	}
	if _, err := node.AsService(t.Context()); err == nil || !strings.Contains(err.Error(), "WithoutLinkKey") {
		t.Error(err)
	}
	if reason(t, node, e.header("orders", human(1))) != 0 {
		t.Error("a good header was refused")
	}
}

// The options of the user do not replace what the node is for.
func TestVerifierOptionsCannotReplaceTheFeed(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	own, err := revocation.NewIndex("other")
	if err != nil {
		t.Fatal(err)
	}
	node := join(t, e.server.URL, trust.WithoutLinkKey(), trust.WithVerifierOptions(principal.WithRevocations(own)))
	header := e.header("orders", human(1))
	e.revoke(sessionOf(1))
	await(t, "the session is revoked", func() bool { return reason(t, node, header) == principal.ReasonRevoked })
}
