package proxy_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// accepted counts the connections that were made to a server.
type accepted struct {
	net.Listener
	mu sync.Mutex
	n  int
}

func (a *accepted) Accept() (net.Conn, error) {
	conn, err := a.Listener.Accept()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n++
	return conn, err
}

// Connections to an HTTP/1.1 upstream are kept for as many requests as run at
// a time.
func TestUpstreamConnectionsAreReused(t *testing.T) {
	t.Parallel()
	const parallel = 20
	var together sync.WaitGroup
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	counted := &accepted{Listener: l}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		together.Done()
		together.Wait()
	})}
	go func() { _ = server.Serve(counted) }()
	t.Cleanup(func() { _ = server.Close() })
	e := startEdge(t, upstreamAt("http", l.Addr().String()), proxy.Options{})
	client := clientFor(t, h2c)
	for range 3 {
		together.Add(parallel)
		var wg sync.WaitGroup
		for range parallel {
			wg.Go(func() {
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+e.addr+"/api", nil)
				res, err := client.Do(req)
				if err != nil {
					t.Error(err)
					together.Done()
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			})
		}
		wg.Wait()
	}
	counted.mu.Lock()
	defer counted.mu.Unlock()
	equal(t, "connections", counted.n, parallel)
}

// A client of HTTP/1.1 keeps its connection over requests of all kinds.
func TestClientConnectionIsReused(t *testing.T) {
	t.Parallel()
	up := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	}), nil)
	for name, target := range map[string]proxy.Upstream{
		"http": upstreamAt("http", up), "h2c": upstreamAt("h2c", up), "down": upstreamAt("http", unused(t)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startEdge(t, target, proxy.Options{})
			client := clientFor(t, http1)
			reused := make(map[bool]int)
			ctx := httptrace.WithClientTrace(testContext(t), &httptrace.ClientTrace{
				GotConn: func(info httptrace.GotConnInfo) { reused[info.Reused]++ },
			})
			for i := range 20 {
				body := io.Reader(strings.NewReader(strings.Repeat("x", i*5000)))
				if i%2 == 0 {
					body = io.MultiReader(body) // of unknown length
				}
				path := []string{"/api", "/public", "/nowhere"}[i%3]
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+e.addr+path, body)
				if err != nil {
					t.Fatal(err)
				}
				res, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode == http.StatusOK && n != int64(i*5000) {
					t.Errorf("%d: %d bytes, %v", i, n, err)
				}
				_ = res.Body.Close()
			}
			equal(t, "connections", reused, map[bool]int{false: 1, true: 19})
		})
	}
}

// onceRead is a body that fails when it is read after its end, as a server's
// does once the answer has begun.
type onceRead struct {
	io.Reader
	t     *testing.T
	ended bool
}

func (o *onceRead) Read(p []byte) (int, error) {
	if o.ended {
		o.t.Error("read after the end")
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := o.Reader.Read(p)
	o.ended = err != nil
	return n, err
}

func (o *onceRead) Close() error { return nil }

// The transport asks for more after a body's end; the error that a server's
// body then has would make it drop the connection, and the response.
func TestBodyIsNotReadAfterItsEnd(t *testing.T) {
	t.Parallel()
	up := listen(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }), nil)
	for _, scheme := range []string{"http", "h2c"} {
		e := newEdge(t, upstreamAt(scheme, up), proxy.Options{})
		r := httptest.NewRequestWithContext(testContext(t), http.MethodPost, "/api", nil)
		r.Body = &onceRead{Reader: iotest.DataErrReader(strings.NewReader("body")), t: t}
		r.ContentLength = 4
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		equal(t, "status", w.Code, http.StatusOK)
	}
}

// BenchmarkForward is a small request to an HTTP/1.1 upstream and back.
func BenchmarkForward(b *testing.B) {
	for _, scheme := range []string{"http", "h2c"} {
		b.Run(scheme, func(b *testing.B) {
			up := listen(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }), nil)
			e := newEdge(b, upstreamAt(scheme, up), proxy.Options{})
			e.outcomes = make(chan proxy.Outcome, 1)
			addr := listen(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				e.ServeHTTP(w, r)
				<-e.outcomes
			}), nil)
			client := clientFor(b, http1)
			b.ReportAllocs()
			for b.Loop() {
				res, err := client.Get("http://" + addr + "/api")
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
}
