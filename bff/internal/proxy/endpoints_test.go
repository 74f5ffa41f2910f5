package proxy_test

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// nobody returns an address at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func severalAt(scheme string, endpoints ...string) proxy.Upstream {
	return proxy.Upstream{URL: &url.URL{Scheme: scheme, Host: "orders.internal:9000"}, Endpoints: endpoints}
}

// measured answers with what it was sent.
type measured struct {
	calls atomic.Int64
	host  atomic.Value
}

func (c *measured) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.calls.Add(1)
	c.host.Store(r.Host)
	body, _ := io.ReadAll(r.Body)
	_, _ = w.Write(body)
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "h2c"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			one, two, clock := new(measured), new(measured), newClock()
			dead := nobody(t)
			e := startEdge(t, severalAt(scheme, dead, listen(t, one, nil), listen(t, two, nil)), clock.options())
			client := clientFor(t, http1)
			body := strings.Repeat("x", 100<<10)
			post := func() {
				t.Helper()
				res, err := client.Post("http://"+e.addr+"/api", "text/plain", strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				if got, err := io.ReadAll(res.Body); err != nil || string(got) != body || res.StatusCode != http.StatusOK {
					t.Fatal(res.Status, len(got), err)
				}
			}
			for range 40 {
				post()
			}
			if one.calls.Load() == 0 || two.calls.Load() == 0 || one.calls.Load()+two.calls.Load() != 40 {
				t.Error(one.calls.Load(), two.calls.Load())
			}
			equal(t, "host", one.host.Load(), any("orders.internal:9000"))
			equal(t, "log", e.log.String(), "")

			l, err := net.Listen("tcp", dead)
			if err != nil {
				t.Skip("the port was taken meanwhile")
			}
			three := new(measured)
			protocols := new(http.Protocols)
			protocols.SetHTTP1(true)
			protocols.SetUnencryptedHTTP2(true)
			server := &http.Server{Handler: three, Protocols: protocols}
			defer server.Close()
			go func() { _ = server.Serve(l) }()
			for range 20 {
				post()
			}
			equal(t, "calls while it rests", three.calls.Load(), 0)
			clock.Advance(time.Minute)
			for range 40 {
				post()
			}
			if three.calls.Load() == 0 {
				t.Error("it is back, and gets nothing")
			}
		})
	}
}

// The one that a call is to go to goes away, in the middle of many.
func TestEndpointGoesAway(t *testing.T) {
	t.Parallel()
	_, stays := startGRPC(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	goes := grpc.NewServer()
	testpb.RegisterTestServiceServer(goes, &testService{calls: make(chan metadata.MD, 1000), ended: make(chan error, 1000)})
	go func() { _ = goes.Serve(l) }()
	e := startEdge(t, severalAt("h2c", stays, l.Addr().String()), proxy.Options{})
	client := dialGRPC(t, e.addr)
	for i := range 100 {
		if i == 50 {
			goes.GracefulStop()
		}
		if _, err := client.UnaryCall(testContext(t), &testpb.SimpleRequest{}); err != nil {
			t.Fatal(i, err)
		}
	}
}

func TestNoEndpoint(t *testing.T) {
	t.Parallel()
	e := startEdge(t, severalAt("http", nobody(t), nobody(t)), proxy.Options{})
	for range 3 { // also while both rest
		res := get(t, clientFor(t, http1), e, "/api")
		equal(t, "status", res.StatusCode, http.StatusServiceUnavailable)
	}
	if log := e.log.String(); !strings.Contains(log, "connection refused") {
		t.Error(log)
	}
}

// A burst that finds nobody counts as one failure, not as many.
func TestBurstRestsOnce(t *testing.T) {
	t.Parallel()
	clock, here := newClock(), new(measured)
	dead := nobody(t)
	begun := make(chan struct{}, 100)
	goOn := make(chan struct{})
	slow := listen(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		begun <- struct{}{}
		<-goOn
	}), nil)
	e := startEdge(t, severalAt("http", dead, slow), clock.options())
	client := clientFor(t, http1)
	var work sync.WaitGroup
	for range 60 {
		work.Go(func() {
			if res, err := client.Get("http://" + e.addr + "/api"); err == nil {
				res.Body.Close()
			}
		})
	}
	for range 60 {
		wait(t, begun, "request")
	}
	close(goOn)
	work.Wait()
	l, err := net.Listen("tcp", dead)
	if err != nil {
		t.Skip("the port was taken meanwhile")
	}
	server := &http.Server{Handler: here}
	defer server.Close()
	go func() { _ = server.Serve(l) }()
	clock.Advance(time.Second)
	for range 20 {
		get(t, client, e, "/api")
	}
	if here.calls.Load() == 0 {
		t.Error("it rests for longer than a second")
	}
}
