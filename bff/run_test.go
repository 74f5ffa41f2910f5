package bff_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff"
)

// gate is an upstream that tells when a request has come, and answers when it
// is told to.
type gate struct {
	came, answer chan struct{}
}

func newGate() gate { return gate{came: make(chan struct{}), answer: make(chan struct{})} }

func (g gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	http.NewResponseController(w).Flush() // the header, so that the client has its answer
	g.came <- struct{}{}
	select {
	case <-g.answer:
		io.WriteString(w, "done")
	case <-r.Context().Done():
	}
}

// begin makes a request that the upstream is about to answer.
func (e *edge) begin(g gate) (body io.ReadCloser) {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, e.public+"/public", nil)
	if err != nil {
		e.t.Fatal(err)
	}
	came := make(chan struct{})
	go func() { <-g.came; close(came) }()
	res, err := e.client.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	<-came
	return res.Body
}

func (e *edge) ready() int {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, e.admin+"/readyz", nil)
	if err != nil {
		e.t.Fatal(err)
	}
	return e.send(req).StatusCode
}

// A request that is under way when the edge is told to stop is completed; while
// it is, the edge says that it is not ready, takes no others, and services get
// their keys.
func TestDrain(t *testing.T) {
	t.Parallel()
	g := newGate()
	e := start(t, setup{handler: g})
	body := e.begin(g)
	if got := e.ready(); got != http.StatusOK {
		t.Error("ready:", got)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- e.stop() }()
	eventually(t, "it says that it is not ready", func() bool { return e.ready() != http.StatusOK })
	eventually(t, "its listener is closed", func() bool {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(e.public, "http://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	e.keys()
	select {
	case err := <-stopped:
		t.Fatal("did not wait", err)
	default:
	}
	close(g.answer)
	if data, err := io.ReadAll(body); err != nil || string(data) != "done" {
		t.Errorf("%q %v", data, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if r := e.records()[0]; r.text("status") != "200" || r.text("reason") != "" {
		t.Error(r)
	}
}

// What does not end in time is broken off, and the edge stops all the same.
func TestDrainEnds(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			g := newGate()
			e := start(t, setup{handler: g, extra: "limits: {drain: 10ms}\n"})
			if protocol == "HTTP/2" {
				transport := &http.Transport{Protocols: new(http.Protocols)}
				transport.Protocols.SetUnencryptedHTTP2(true)
				e.client = &http.Client{Transport: transport}
			}
			body := e.begin(g)
			if err := e.stop(); err != nil {
				t.Error(err)
			}
			if data, err := io.ReadAll(body); err == nil {
				t.Errorf("an answer that was broken off looks complete: %q", data)
			}
			if r := e.records()[0]; r.text("reason") != "canceled" {
				t.Error(r)
			}
			if !strings.Contains(e.log.String(), "requests are broken off") {
				t.Error(e.log)
			}
		})
	}
}

// For as long as a load balancer needs to notice, requests are still taken.
func TestDrainDelay(t *testing.T) {
	t.Parallel()
	mesh := listen(t)
	e := start(t, setup{extra: "limits: {drain_delay: 10m}\n", mesh: mesh, fails: true})
	e.get("/public", "")
	stopped := make(chan error, 1)
	go func() { stopped <- e.stop() }()
	eventually(t, "it says that it is not ready", func() bool { return e.ready() != http.StatusOK })
	e.client.CloseIdleConnections()
	e.get("/public", "")
	mesh.Close() // ends the wait
	if err := <-stopped; err == nil || !strings.HasPrefix(err.Error(), "listen.mesh: ") {
		t.Error(err)
	}
}

// A connection that was upgraded is not the server's any more, and is broken
// off as well.
func TestDrainEndsUpgraded(t *testing.T) {
	t.Parallel()
	held := make(chan net.Conn, 1)
	e := start(t, setup{
		extra: "  - {path_prefix: /ws, upstream: \"%[2]s\", auth: none, websocket: true}\nlimits: {drain: 10ms}\n",
		handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			held <- conn
		}),
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.public+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
	res, err := e.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	conn := <-held
	defer conn.Close()
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res.Status)
	}
	if err := e.stop(); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(res.Body); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Log(err) // either end of the connection will do
	}
	if r := e.records()[0]; r.text("status") != "101" {
		t.Error(r)
	}
}

func TestListenerInUse(t *testing.T) {
	t.Parallel()
	taken := listen(t)
	defer taken.Close()
	free := listen(t)
	cfg, err := bff.LoadConfig(writeConfig(t, "version: 1\nissuer: https://edge.test\n"+
		"routes: [{path_prefix: /, upstream: 'http://127.0.0.1:1', auth: none}]\n"+
		fmt.Sprintf("listen: {public: %q, mesh: %q, admin: '127.0.0.1:0'}\n", taken.Addr(), "192.0.2.1:1")))
	if err != nil {
		t.Fatal(err)
	}
	s, err := bff.New(cfg, bff.WithLogger(slog.New(slog.DiscardHandler)), bff.WithListeners(bff.Listeners{Admin: free}))
	if err != nil {
		t.Fatal(err)
	}
	err = s.Run(t.Context())
	if err == nil {
		t.Fatal("ran")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 2 || lines[0] != fmt.Sprintf("listen.public: %s is in use by another process; stop that, or choose another address", taken.Addr()) ||
		!strings.HasPrefix(lines[1], "listen.mesh: ") {
		t.Error(err)
	}
	if err := free.Close(); !errors.Is(err, net.ErrClosed) {
		t.Error("a listener was left open", err)
	}
}

// A listener that fails stops the edge with an error.
func TestListenerFails(t *testing.T) {
	t.Parallel()
	l := listen(t)
	cfg, err := bff.LoadConfig(writeConfig(t, "version: 1\nissuer: https://edge.test\nlisten: {public: '127.0.0.1:0', admin: '127.0.0.1:0'}\n"+
		"routes: [{path_prefix: /, upstream: 'http://127.0.0.1:1', auth: none}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := bff.New(cfg, bff.WithLogger(slog.New(slog.DiscardHandler)), bff.WithListeners(bff.Listeners{Mesh: l}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l.Close()
	if err := s.Run(ctx); err == nil || !strings.HasPrefix(err.Error(), "listen.mesh: ") {
		t.Error(err)
	}
}

// Z08: what is for operators and services is not on the public listener.
func TestOtherListeners(t *testing.T) {
	t.Parallel()
	e := start(t, setup{config: strings.ReplaceAll(template, `  - {path_prefix: /healthz, upstream: "%[2]s", auth: none}`, "")})
	status := func(method, url string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		return e.send(req).StatusCode
	}
	const jwks = "/.well-known/onbehalf/jwks.json"
	for _, tt := range []struct {
		method, url string
		want        int
	}{
		{http.MethodGet, e.admin + "/healthz", 200},
		{http.MethodGet, e.admin + "/readyz", 200},
		{http.MethodHead, e.admin + "/readyz", 200},
		{http.MethodPost, e.admin + "/healthz", 405},
		{http.MethodGet, e.admin + jwks, 404},
		{http.MethodGet, e.admin + "/relay", 404},
		{http.MethodGet, e.mesh + jwks, 200},
		{http.MethodPut, e.mesh + jwks, 405},
		{http.MethodGet, e.mesh + "/healthz", 404},
		{http.MethodGet, e.public + "/healthz", 404},
		{http.MethodGet, e.public + "/readyz", 404},
		{http.MethodGet, e.public + jwks, 404},
		{http.MethodGet, e.public + "/public/../healthz", 400},
	} {
		if got := status(tt.method, tt.url); got != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.url, got, tt.want)
		}
	}
	if status := e.raw("OPTIONS * HTTP/1.1\nHost: edge.test\nConnection: close\n\n"); status != 400 {
		t.Error("OPTIONS *:", status)
	}
	if n := len(e.records()); n != 5 {
		t.Errorf("%d records, want 5", n)
	}
}

// An edge that cannot record does not serve, unless it is told to.
func TestAuditFails(t *testing.T) {
	t.Parallel()
	for action, want := range map[string]int{"refuse": http.StatusServiceUnavailable, "serve": http.StatusOK} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			e := start(t, setup{config: strings.Replace(template, "{file: audit.jsonl}", "{file: /dev/full, on_failure: "+action+"}", 1)})
			if res := e.do(http.MethodGet, "/public", "", nil); res.StatusCode != http.StatusOK {
				t.Error("the first request:", res.Status)
			}
			e.client.CloseIdleConnections()
			eventually(t, "a complaint", func() bool { return strings.Contains(e.log.String(), "audit records cannot be written") })
			if res := e.do(http.MethodGet, "/public", "", nil); res.StatusCode != want {
				t.Error("the second request:", res.Status)
			}
			if got := e.ready(); got != want {
				t.Error("ready:", got)
			}
		})
	}
}
