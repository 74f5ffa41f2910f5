package proxy_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

func checked(kind proxy.HealthKind) proxy.HealthCheck {
	c := proxy.HealthCheck{Kind: kind, Interval: 10 * time.Millisecond, Timeout: 5 * time.Second, HealthyAfter: 1, UnhealthyAfter: 2}
	if kind == proxy.HealthHTTP {
		c.Path = "/healthz?deep=1"
	}
	return c
}

// await waits for n lines with text in the log.
func (e *edge) await(t testing.TB, n int, text string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); strings.Count(e.log.String(), text) < n; {
		if time.Now().After(end) {
			t.Fatalf("no %d times %q in %s", n, text, e.log)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// sick answers requests, and checks of its health as it is told.
type sick struct {
	measured

	sick   atomic.Bool
	checks chan http.Header
}

func newSick() *sick { return &sick{checks: make(chan http.Header, 10_000)} }

func (s *sick) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/healthz" {
		s.measured.ServeHTTP(w, r)
		return
	}
	s.checks <- r.Header
	if s.sick.Load() || r.URL.RawQuery != "deep=1" || r.Host != "orders.internal:9000" {
		w.WriteHeader(http.StatusTeapot)
	}
}

func TestHealthOverHTTP(t *testing.T) {
	t.Parallel()
	pair := newPair(t, "orders.internal")
	for _, scheme := range []string{"http", "h2c", "https"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			one, two := newSick(), newSick()
			var conf *tls.Config
			if scheme == "https" {
				conf = pair.server()
				conf.ClientAuth, conf.ClientCAs = tls.RequireAndVerifyClientCert, pair.pool
			}
			up := severalAt(scheme, listen(t, one, conf), listen(t, two, conf))
			if conf != nil {
				up.RootCAs = pair.pool
				up.ClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair.cert, nil }
			}
			up.HealthCheck = checked(proxy.HealthHTTP)
			e := startEdge(t, up, proxy.Options{})
			e.handler.Start()
			one.sick.Store(true)
			e.await(t, 1, "endpoint is not healthy")
			client := clientFor(t, http1)
			before := one.calls.Load()
			for range 30 {
				equal(t, "status", get(t, client, e, "/api", "Authorization", "Bearer canary").StatusCode, http.StatusOK)
			}
			equal(t, "calls of the sick one", one.calls.Load()-before, 0)

			two.sick.Store(true) // then none is believed to be
			e.await(t, 2, "endpoint is not healthy")
			for range 60 {
				equal(t, "status", get(t, client, e, "/api").StatusCode, http.StatusOK)
			}
			if one.calls.Load() == before {
				t.Error("all are said to be sick, and one of them gets nothing")
			}
			one.sick.Store(false)
			e.await(t, 1, "endpoint is healthy")
			for len(one.checks) > 0 {
				h := <-one.checks
				if len(h) > 3 || h.Get("X-Principal-Bin") != "" || h.Get("Authorization") != "" {
					t.Fatal(h)
				}
			}
			equal(t, "lines", strings.Count(e.log.String(), "\n"), 3)
			if log := e.log.String(); !strings.Contains(log, "status 418") || !strings.Contains(log, "healthy=0 of=2") {
				t.Error(log)
			}
		})
	}
}

func TestHealthOverGRPC(t *testing.T) {
	t.Parallel()
	servers := make([]*health.Server, 2)
	addrs := make([]string, 2)
	for i := range servers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		servers[i], addrs[i] = health.NewServer(), l.Addr().String()
		servers[i].SetServingStatus("shop.orders.v1.Orders", healthpb.HealthCheckResponse_SERVING)
		healthpb.RegisterHealthServer(server, servers[i])
		go func() { _ = server.Serve(l) }()
		t.Cleanup(server.Stop)
	}
	for _, service := range []string{"", "shop.orders.v1.Orders"} {
		up := severalAt("h2c", addrs...)
		up.HealthCheck = checked(proxy.HealthGRPC)
		up.HealthCheck.Service = service
		for _, addr := range addrs {
			equal(t, "probe", proxy.Probe(testContext(t), up, addr), nil)
		}
		e := startEdge(t, up, proxy.Options{})
		e.handler.Start()
		servers[0].SetServingStatus(service, healthpb.HealthCheckResponse_NOT_SERVING)
		e.await(t, 1, "not SERVING")
		servers[0].SetServingStatus(service, healthpb.HealthCheckResponse_SERVING)
		e.await(t, 1, "endpoint is healthy")
	}
	up := severalAt("h2c", addrs...)
	up.HealthCheck = checked(proxy.HealthGRPC)
	up.HealthCheck.Service = "nobody.knows.It"
	if err := proxy.Probe(testContext(t), up, addrs[0]); err == nil || !strings.Contains(err.Error(), "NOT_FOUND") {
		t.Error(err)
	}
	_, without := startGRPC(t)
	if err := proxy.Probe(testContext(t), up, without); err == nil || !strings.Contains(err.Error(), "UNIMPLEMENTED") {
		t.Error(err)
	}
	if err := proxy.Probe(testContext(t), up, listen(t, new(measured), nil)); err == nil || !strings.Contains(err.Error(), "the check failed") {
		t.Error(err)
	}
}

// A restart: it goes away and comes back, also of an upstream that has but one
// address, and what comes meanwhile is tried there.
func TestHealthOverTCP(t *testing.T) {
	t.Parallel()
	addr := unused(t)
	up := upstreamAt("http", addr)
	up.HealthCheck = checked(proxy.HealthTCP)
	e := startEdge(t, up, proxy.Options{})
	e.handler.Start()
	e.await(t, 1, "endpoint is not healthy")
	if log := e.log.String(); !strings.Contains(log, "connection refused") {
		t.Error(log)
	}
	for round := 1; round <= 3; round++ {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Skip("the port was taken meanwhile")
		}
		server := &http.Server{Handler: new(measured)}
		go func() { _ = server.Serve(l) }()
		e.await(t, round, "endpoint is healthy")
		_ = server.Close()
		e.await(t, round+1, "endpoint is not healthy")
	}
}

// One that does not answer in time is not healthy.
func TestHealthTimeout(t *testing.T) {
	t.Parallel()
	hangs := listen(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), nil)
	up := severalAt("http", hangs)
	up.HealthCheck = checked(proxy.HealthHTTP)
	up.HealthCheck.Timeout = 20 * time.Millisecond
	e := startEdge(t, up, proxy.Options{})
	e.handler.Start()
	e.await(t, 1, "no answer in time")
}

// What flaps within the thresholds is left alone.
func TestHealthThresholds(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	flaps := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1)%2 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}), nil)
	up := severalAt("http", flaps)
	up.HealthCheck = checked(proxy.HealthHTTP)
	up.HealthCheck.Timeout = 30 * time.Second
	e := startEdge(t, up, proxy.Options{})
	e.handler.Start()
	for end := time.Now().Add(30 * time.Second); n.Load() < 20 && time.Now().Before(end); {
		<-time.After(time.Millisecond)
	}
	equal(t, "log", e.log.String(), "")
}

// After Close nothing asks, and nothing is left.
func TestHealthChecksEnd(t *testing.T) { //nolint:paralleltest // counts goroutines
	one := newSick()
	addr := listen(t, one, nil)
	silent := serveRaw(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1<<10)); _, _ = conn.Read(make([]byte, 1)) })
	before := runtime.NumGoroutine()
	for range 20 {
		up := severalAt("http", addr, silent)
		up.HealthCheck = checked(proxy.HealthHTTP)
		h, err := proxy.New(up, proxy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		h.Start()
		wait(t, one.checks, "check")
		h.Close()
	}
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+2; {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		<-time.After(10 * time.Millisecond)
	}
	for len(one.checks) > 0 {
		<-one.checks
	}
	select {
	case <-one.checks:
		t.Error("it is asked after the end")
	case <-time.After(50 * time.Millisecond):
	}
}

func TestHealthCheckIsRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*proxy.HealthCheck){
		"kind":              func(c *proxy.HealthCheck) { c.Kind = "ping" },
		"gRPC for HTTP/1.1": func(c *proxy.HealthCheck) { c.Kind, c.Path = proxy.HealthGRPC, "" },
		"no path":           func(c *proxy.HealthCheck) { c.Path = "" },
		"a service":         func(c *proxy.HealthCheck) { c.Service = "x" },
		"no interval":       func(c *proxy.HealthCheck) { c.Interval = 0 },
	} {
		up := severalAt("http", "127.0.0.1:1")
		up.HealthCheck = checked(proxy.HealthHTTP)
		change(&up.HealthCheck)
		if _, err := proxy.New(up, proxy.Options{}); err == nil {
			t.Error(name, "is taken")
		}
	}
}
