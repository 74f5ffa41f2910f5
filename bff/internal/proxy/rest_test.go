package proxy_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// serveRaw hands each connection to serve, and closes it then.
func serveRaw(t testing.TB, serve func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		work.Wait()
	})
	return l.Addr().String()
}

// An endpoint that takes connections and closes them, or answers that it cannot,
// has the fewest requests under way at all times. It is left alone after a few.
func TestEndpointThatFailsAtOnce(t *testing.T) {
	t.Parallel()
	var seen atomic.Int64
	closes := func(net.Conn) { seen.Add(1) }
	answers := func(status int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			seen.Add(1)
			w.WriteHeader(status)
		})
	}
	pair := newPair(t, "orders.internal")
	for name, c := range map[string]struct {
		scheme string
		fails  func() string
	}{
		"HTTP/1.1 closes": {"http", func() string { return serveRaw(t, closes) }},
		"h2c closes":      {"h2c", func() string { return serveRaw(t, closes) }},
		"TLS closes":      {"https", func() string { return serveRaw(t, closes) }},
		"HTTP/1.1 502":    {"http", func() string { return listen(t, answers(502), nil) }},
		"h2c 503":         {"h2c", func() string { return listen(t, answers(503), nil) }},
		"TLS 504":         {"https", func() string { return listen(t, answers(504), pair.server()) }},
	} {
		t.Run(name, func(t *testing.T) {
			seen.Store(0)
			good := new(measured)
			conf := pair.server()
			if c.scheme != "https" {
				conf = nil
			}
			up := severalAt(c.scheme, c.fails(), listen(t, good, conf))
			if conf != nil {
				up.RootCAs, up.ServerName = pair.pool, "orders.internal"
			}
			clock := newClock()
			e := startEdge(t, up, clock.options())
			failed := 0
			for range 60 {
				if post(t, clientFor(t, http1), e, "/api", "text/plain").StatusCode != http.StatusOK {
					failed++
				}
			}
			if failed > 5 || seen.Load() > 20 || good.calls.Load() < 55 {
				t.Errorf("%d failed, of %d that it got; the other got %d", failed, seen.Load(), good.calls.Load())
			}
			if name == "TLS closes" {
				equal(t, "failed, though nothing was sent", failed, 0)
				return
			}
			equal(t, "lines", strings.Count(e.log.String(), "endpoint fails requests and rests"), 1)
			clock.Advance(time.Second) // and one finds out that nothing has changed
			before := failed
			for range 20 {
				if post(t, clientFor(t, http1), e, "/api", "text/plain").StatusCode != http.StatusOK {
					failed++
				}
			}
			if failed > before+1 {
				t.Errorf("%d failed after it had rested", failed-before)
			}
		})
	}
}

// It is taken back when it serves again, and told of.
func TestEndpointIsBack(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	served := make(chan struct{}, 1000)
	flaky := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		served <- struct{}{}
	}), nil)
	clock := newClock()
	e := startEdge(t, severalAt("http", flaky, listen(t, new(measured), nil)), clock.options())
	client := clientFor(t, http1)
	for range 30 {
		get(t, client, e, "/api")
	}
	broken.Store(false)
	clock.Advance(time.Second)
	for range 30 {
		equal(t, "status", get(t, client, e, "/api").StatusCode, http.StatusOK)
	}
	if len(served) < 2 {
		t.Error("it gets nothing")
	}
	equal(t, "lines", strings.Count(e.log.String(), "endpoint serves requests again"), 1)
}

// gRPC says it in a header that is a trailer too; an error of the call itself is
// none of the endpoint.
func TestEndpointThatIsUnavailable(t *testing.T) {
	t.Parallel()
	for _, code := range []codes.Code{codes.Unavailable, codes.Internal} {
		e := startEdge(t, severalAt("h2c", answering(t, code), answering(t, codes.OK)), newClock().options())
		client, failed := dialGRPC(t, e.addr), 0
		for range 40 {
			if _, err := client.UnaryCall(testContext(t), &testpb.SimpleRequest{}); status.Code(err) == code {
				failed++
			}
		}
		if (failed <= 5) != (code == codes.Unavailable) {
			t.Errorf("%v: %d failed", code, failed)
		}
	}
}

// answering answers all calls with one code, without a message if that is not OK.
func answering(t *testing.T, code codes.Code) (addr string) {
	t.Helper()
	return listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/grpc")
		if code != codes.OK {
			w.Header().Set("Grpc-Status", map[codes.Code]string{codes.Unavailable: "14", codes.Internal: "13"}[code])
			return
		}
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write(make([]byte, 5))
		w.Header().Set("Grpc-Status", "0")
	}), nil)
}

// If they all fail they do not all rest: a client may know what makes them fail.
func TestHalfStaysInUse(t *testing.T) {
	t.Parallel()
	var calls [4]atomic.Int64
	var broken atomic.Bool
	broken.Store(true)
	addrs := make([]string, len(calls))
	for i := range calls {
		addrs[i] = listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			calls[i].Add(1)
			if broken.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}), nil)
	}
	e := startEdge(t, severalAt("http", addrs...), newClock().options())
	client := clientFor(t, http1)
	for range 100 {
		get(t, client, e, "/api")
	}
	equal(t, "lines", strings.Count(e.log.String(), "endpoint fails requests and rests"), 2)
	broken.Store(false)
	for i := range calls {
		calls[i].Store(0)
	}
	for range 60 {
		get(t, client, e, "/api")
	}
	used := 0
	for i := range calls {
		if calls[i].Load() > 0 {
			used++
		}
	}
	equal(t, "in use", used, 2)
}

// A client whose body breaks has no endpoint rest.
func TestClientRestsNoEndpoint(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "h2c"} {
		up := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
		e := startEdge(t, severalAt(scheme, listen(t, up, nil), listen(t, up, nil)), proxy.Options{})
		for range 20 {
			rawHTTP1(t, e.addr, "POST /api HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\nnot a chunk\r\n")
			wait(t, e.outcomes, "outcome")
		}
		equal(t, "log", e.log.String(), "")
	}
}
