package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// breaks reads whole requests, counts them, and breaks the connection before it
// answers.
func breaks(t *testing.T, scheme string, conf *tls.Config, requests *atomic.Int64) (addr string) {
	t.Helper()
	if scheme == "http" {
		return serveRaw(t, func(conn net.Conn) {
			r, err := http.ReadRequest(bufio.NewReader(conn))
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				requests.Add(1)
			}
		})
	}
	return serveRaw(t, func(conn net.Conn) {
		if conf != nil {
			conn = tls.Server(conn, conf)
		}
		if readStream(conn, nil) != 0 {
			requests.Add(1)
		}
	})
}

// readStream reads a connection of HTTP/2 until a request is complete, or until
// each makes it end, and returns its stream.
func readStream(conn net.Conn, each func(*http2.Framer, *http2.MetaHeadersFrame) (end bool)) uint32 {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return 0
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = framer.WriteSettings()
	for {
		f, err := framer.ReadFrame()
		if err != nil {
			return 0
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			if each != nil && each(framer, f) {
				return f.StreamID
			}
			if f.StreamEnded() {
				return f.StreamID
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				return f.StreamID
			}
		}
	}
}

// One whose connection breaks before anything came is sent once more if that does
// no harm, and only then.
func TestRepeats(t *testing.T) {
	t.Parallel()
	pair := newPair(t, "orders.internal")
	small, large := strings.Repeat("x", 16<<10), strings.Repeat("x", 16<<10+1)
	for name, c := range map[string]struct {
		method, body string
		idempotent   bool
		header       []string
		served       bool
	}{
		"GET":                            {method: "GET", served: true},
		"HEAD":                           {method: "HEAD", served: true},
		"OPTIONS":                        {method: "OPTIONS", served: true},
		"DELETE":                         {method: "DELETE"},
		"POST":                           {method: "POST", body: small},
		"POST without a body":            {method: "POST"},
		"idempotent":                     {method: "POST", body: small, idempotent: true, served: true},
		"idempotent, but large":          {method: "POST", body: large, idempotent: true},
		"idempotent, within its time":    {method: "POST", body: small, idempotent: true, header: []string{"Grpc-Timeout", "10S"}, served: true},
		"idempotent, after its time":     {method: "POST", body: small, idempotent: true, header: []string{"Connect-Timeout-Ms", "0"}},
		"idempotent, with a broken time": {method: "POST", body: small, idempotent: true, header: []string{"Grpc-Timeout", "x"}},
	} {
		for _, scheme := range []string{"http", "h2c", "https"} {
			t.Run(name+" to "+scheme, func(t *testing.T) {
				t.Parallel()
				var sent atomic.Int64
				good := new(measured)
				clock := newClock()
				var conf *tls.Config
				if scheme == "https" {
					conf = pair.server()
					conf.NextProtos = []string{"h2"}
				}
				up := severalAt(scheme, breaks(t, scheme, conf, &sent), listen(t, good, conf))
				if conf != nil {
					up.RootCAs = pair.pool
				}
				e := startEdge(t, up, clock.options())
				e.call = func(_ http.ResponseWriter, r *http.Request) (*http.Request, proxy.Call) {
					return r, proxy.Call{Principal: minted, Idempotent: c.idempotent}
				}
				for sent.Load() == 0 {
					before := good.calls.Load()
					req, err := http.NewRequestWithContext(testContext(t), c.method, "http://"+e.addr+"/api", strings.NewReader(c.body))
					if err != nil {
						t.Fatal(err)
					}
					for i := 0; i < len(c.header); i += 2 {
						req.Header.Set(c.header[i], c.header[i+1])
					}
					res, err := clientFor(t, http1).Do(req)
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(res.Body)
					res.Body.Close()
					out := wait(t, e.outcomes, "outcome")
					if sent.Load() == 0 {
						continue // it went to the other
					}
					status := http.StatusServiceUnavailable
					if c.served {
						status = http.StatusOK
					}
					equal(t, "outcome", [2]any{out.Status, out.Repeated}, [2]any{status, c.served})
					equal(t, "sent", [2]int64{sent.Load(), good.calls.Load() - before}, [2]int64{1, map[bool]int64{true: 1}[c.served]})
					if c.served && c.method == "POST" && (err != nil || string(got) != c.body) {
						t.Errorf("it was sent with %d bytes, %v", len(got), err)
					}
				}
			})
		}
	}
}

// What the answer has begun of is not sent again.
func TestRepeatsNothingThatIsAnswered(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	begins := func() string {
		return serveRaw(t, func(conn net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				sent.Add(1)
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-")
			}
		})
	}
	e := startEdge(t, severalAt("http", begins(), begins()), proxy.Options{})
	equal(t, "status", get(t, clientFor(t, http1), e, "/api").StatusCode, http.StatusServiceUnavailable)
	equal(t, "sent", sent.Load(), 1)
}

// A stream that is refused, or above the last that a GOAWAY names, was seen by
// nobody: a call that is not idempotent goes elsewhere.
func TestUnprocessedGoesElsewhere(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(*http2.Framer, uint32){
		"REFUSED_STREAM": func(f *http2.Framer, id uint32) { _ = f.WriteRSTStream(id, http2.ErrCodeRefusedStream) },
		"GOAWAY":         func(f *http2.Framer, _ uint32) { _ = f.WriteGoAway(0, http2.ErrCodeNo, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var refused atomic.Int64
			addr := serveRaw(t, func(conn net.Conn) {
				readStream(conn, func(f *http2.Framer, h *http2.MetaHeadersFrame) bool {
					// It has the whole request, so that nothing is left that could go elsewhere
					// just so.
					for !h.StreamEnded() {
						next, err := f.ReadFrame()
						if err != nil {
							return true
						}
						if data, ok := next.(*http2.DataFrame); ok && data.StreamEnded() {
							break
						}
					}
					refused.Add(1)
					refuse(f, h.StreamID)
					_, _ = io.Copy(io.Discard, conn)
					return true
				})
			})
			_, good := startGRPC(t)
			e := startEdge(t, severalAt("h2c", addr, good), proxy.Options{})
			client := dialGRPC(t, e.addr)
			payload := &testpb.Payload{Body: bytes.Repeat([]byte("x"), 1000)}
			for refused.Load() == 0 {
				res, err := client.UnaryCall(testContext(t), &testpb.SimpleRequest{Payload: payload})
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "payload", len(res.GetPayload().GetBody()), 1000)
			}
		})
	}
}

// Of a stream that is reset otherwise nobody knows.
func TestOtherResetsAreNotRepeated(t *testing.T) {
	t.Parallel()
	for _, code := range []http2.ErrCode{http2.ErrCodeProtocol, http2.ErrCodeInternal, http2.ErrCodeCancel} {
		var sent atomic.Int64
		resets := func() string {
			return serveRaw(t, func(conn net.Conn) {
				readStream(conn, func(f *http2.Framer, h *http2.MetaHeadersFrame) bool {
					for {
						next, err := f.ReadFrame()
						if data, ok := next.(*http2.DataFrame); err != nil || ok && data.StreamEnded() {
							break
						}
					}
					sent.Add(1)
					_ = f.WriteRSTStream(h.StreamID, code)
					_, _ = io.Copy(io.Discard, conn)
					return true
				})
			})
		}
		e := startEdge(t, severalAt("h2c", resets(), resets()), proxy.Options{})
		equal(t, "status", post(t, clientFor(t, http1), e, "/api", "text/plain").StatusCode, http.StatusServiceUnavailable)
		equal(t, "sent", sent.Load(), 1)
	}
}

// An outage does not bring its upstream twice the load.
func TestRepeatsAreBounded(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	clock := newClock()
	e := startEdge(t, severalAt("http", breaks(t, "http", nil, &sent), breaks(t, "http", nil, &sent)), clock.options())
	for range 100 {
		get(t, clientFor(t, http1), e, "/api")
	}
	if got := sent.Load(); got < 103 || got > 120 {
		t.Errorf("%d were sent of 100", got)
	}
	sent.Store(0)
	clock.Advance(11 * time.Second)
	for range 3 {
		get(t, clientFor(t, http1), e, "/api")
	}
	equal(t, "sent, of few", sent.Load(), 6)
}

// The body goes to the second endpoint as it goes on coming.
func TestRepeatsWhileTheBodyComes(t *testing.T) {
	t.Parallel()
	broke := make(chan struct{}, 10)
	breaking := serveRaw(t, func(conn net.Conn) {
		readStream(conn, func(f *http2.Framer, _ *http2.MetaHeadersFrame) bool {
			for {
				next, err := f.ReadFrame()
				if _, ok := next.(*http2.DataFrame); ok || err != nil {
					broke <- struct{}{}
					return true
				}
			}
		})
	})
	e := startEdge(t, severalAt("h2c", breaking, listen(t, new(measured), nil)), proxy.Options{})
	e.call = func(_ http.ResponseWriter, r *http.Request) (*http.Request, proxy.Call) {
		return r, proxy.Call{Idempotent: true}
	}
	for repeated := false; !repeated; {
		pr, pw := io.Pipe()
		req, err := http.NewRequestWithContext(testContext(t), http.MethodPost, "http://"+e.addr+"/api", pr)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = pw.Write([]byte("first,"))
			select {
			case <-broke:
				repeated = true
			case <-time.After(200 * time.Millisecond): // it went to the other
			}
			_, _ = pw.Write([]byte("second"))
			_ = pw.Close()
		}()
		res, err := clientFor(t, h2c).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		equal(t, "status", res.StatusCode, http.StatusOK)
		equal(t, "body", string(got), "first,second")
		equal(t, "error", err, nil)
	}
}
