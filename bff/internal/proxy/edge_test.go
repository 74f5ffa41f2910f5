package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// minted stands for the principal that the edge makes.
const minted = "bWludGVk"

// edge does what package bff does around a handler: routes, and a principal
// for some of them.
type edge struct {
	addr     string
	table    *proxy.Table
	handler  *proxy.Handler
	log      *logBuffer
	outcomes chan proxy.Outcome
	// call makes the call of a request that was let in, and may replace it.
	call func(w http.ResponseWriter, r *http.Request) (*http.Request, proxy.Call)
}

var testRoutes = []proxy.Route{
	{PathPrefix: "/api"}, {PathPrefix: "/public"}, {PathPrefix: "/healthz"}, {PathPrefix: "/trailers"},
	{Service: "grpc.testing.TestService"}, {Service: "test.v1.Echo"}, {Service: "grpc.health.v1.Health"},
}

func newEdge(t testing.TB, up proxy.Upstream, o proxy.Options) *edge {
	t.Helper()
	e := &edge{log: new(logBuffer), outcomes: make(chan proxy.Outcome, 1000)}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(e.log, nil))
	}
	var err error
	if e.table, err = proxy.NewTable(testRoutes); err != nil {
		t.Fatal(err)
	}
	if e.handler, err = proxy.New(up, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.handler.Close)
	return e
}

// startEdge returns an edge that listens for HTTP/1.1 and h2c.
func startEdge(t testing.TB, up proxy.Upstream, o proxy.Options) *edge {
	t.Helper()
	e := newEdge(t, up, o)
	e.addr = listen(t, e, nil)
	return e
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target, err := e.table.Match(r)
	switch {
	case errors.Is(err, proxy.ErrTarget):
		e.refuse(w, r, proxy.BadRequest)
	case err != nil:
		e.refuse(w, r, proxy.NotFound)
	default:
		call := proxy.Call{Principal: minted, RequestID: "req_1"}
		if target.Path == "/healthz" || strings.HasPrefix(target.Path, "/public") {
			call.Principal = ""
		}
		if e.call != nil {
			r, call = e.call(w, r)
		}
		var out proxy.Outcome
		defer func() { e.outcomes <- out }()
		e.handler.Forward(w, r, call, &out)
	}
}

func (e *edge) refuse(w http.ResponseWriter, r *http.Request, f proxy.Failure) {
	out := proxy.Outcome{Smuggled: proxy.Smuggled(r)}
	proxy.WriteError(w, r, f)
	e.outcomes <- out
}

// listen serves h on a loopback port: HTTP/1.1 and HTTP/2, with or without TLS.
func listen(t testing.TB, h http.Handler, conf *tls.Config) (addr string) {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(conf != nil)
	protocols.SetUnencryptedHTTP2(conf == nil)
	return listenFor(t, h, conf, protocols)
}

func listenFor(t testing.TB, h http.Handler, conf *tls.Config, protocols *http.Protocols) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, Protocols: protocols, TLSConfig: conf.Clone(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	var wg sync.WaitGroup
	wg.Go(func() {
		if conf != nil {
			_ = server.ServeTLS(l, "", "")
			return
		}
		_ = server.Serve(l)
	})
	t.Cleanup(func() {
		_ = server.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

func upstreamAt(scheme, addr string) proxy.Upstream {
	return proxy.Upstream{URL: &url.URL{Scheme: scheme, Host: addr}}
}

// clientFor returns a client that speaks one protocol and follows no redirect.
func clientFor(t testing.TB, set func(*http.Protocols)) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	set(transport.Protocols)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func http1(p *http.Protocols) { p.SetHTTP1(true) }
func h2c(p *http.Protocols)   { p.SetUnencryptedHTTP2(true) }

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// wait returns the next of c, or fails.
func wait[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

// manualClock runs what is due when a test says so.
type manualClock struct {
	mu     sync.Mutex
	now    time.Time
	timers map[*timer]bool
	armed  chan time.Duration
}

type timer struct {
	at time.Time
	f  func()
}

func newClock() *manualClock {
	return &manualClock{now: time.Unix(1_800_000_000, 0), timers: make(map[*timer]bool), armed: make(chan time.Duration, 1000)}
}

func (c *manualClock) options() proxy.Options {
	return proxy.Options{Now: c.Now, AfterFunc: c.AfterFunc}
}

func (c *manualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *manualClock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tm := &timer{c.now.Add(d), f}
	c.timers[tm] = true
	c.armed <- d
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		was := c.timers[tm]
		delete(c.timers, tm)
		return was
	}
}

func (c *manualClock) Advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	var due []func()
	for tm := range c.timers {
		if !tm.at.After(c.now) {
			due = append(due, tm.f)
			delete(c.timers, tm)
		}
	}
	c.mu.Unlock()
	for _, f := range due {
		f()
	}
}

// logBuffer is what the operator sees.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
