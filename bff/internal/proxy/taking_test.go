package proxy_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// endlessly is an upstream whose answer has no end.
func endlessly(t *testing.T, contentType string) (addr string, ended chan struct{}) {
	t.Helper()
	ended = make(chan struct{}, 10)
	return listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for part := bytes.Repeat([]byte("x"), 1<<10); ; {
			if _, err := w.Write(part); err != nil {
				ended <- struct{}{}
				return
			}
		}
	}), nil), ended
}

// unhurried may answer at any time: what is measured here comes after that.
func unhurried(addr string) proxy.Upstream {
	up := upstreamAt("h2c", addr)
	up.AnswerWithin = 1000 * time.Hour
	return up
}

// turn turns the clock until there is an outcome.
func turn(t *testing.T, e *edge, clock *manualClock) (proxy.Outcome, time.Duration) {
	t.Helper()
	start := clock.Now()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		select {
		case out := <-e.outcomes:
			return out, clock.Now().Sub(start)
		case <-time.After(20 * time.Millisecond):
			clock.Advance(20 * time.Second)
		}
	}
	t.Fatal("the request goes on")
	return proxy.Outcome{}, 0
}

// P06: a client that asks and does not read is dropped, and so is what the
// upstream does for it.
func TestClientDoesNotRead(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(addr string){
		"HTTP/1.1": func(addr string) {
			_, _ = io.WriteString(dial(t, addr), "GET /api HTTP/1.1\r\nHost: x\r\n\r\n")
		},
		"HTTP/2": func(addr string) {
			dialHTTP2(t, addr, []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}},
				":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/api")
		},
		"gRPC": func(addr string) {
			dialHTTP2(t, addr, []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}},
				":method", "POST", ":scheme", "http", ":authority", "x", ":path", "/grpc.testing.TestService/StreamingOutputCall",
				"content-type", "application/grpc")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			contentType := "text/plain"
			if name == "gRPC" {
				contentType = "application/grpc"
			}
			addr, ended := endlessly(t, contentType)
			clock := newClock()
			e := startEdge(t, unhurried(addr), patient(clock))
			ask(e.addr)
			out, took := turn(t, e, clock)
			if !out.TooSlow || out.Canceled || out.Ended || took < stall {
				t.Errorf("outcome %+v after %v", out, took)
			}
			wait(t, ended, "end at the upstream")
		})
	}
}

// A client that reads slowly, and in the end all, is not.
func TestClientReadsSlowly(t *testing.T) {
	t.Parallel()
	const size = 256 << 10
	addr := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, size)) }), nil)
	clock := newClock()
	e := startEdge(t, unhurried(addr), patient(clock))
	framer := dialHTTP2(t, e.addr, []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 0}},
		":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/api")
	for got := 0; got < size; {
		clock.Advance(time.Minute)
		_ = framer.WriteWindowUpdate(0, 16<<10)
		_ = framer.WriteWindowUpdate(1, 16<<10)
		for part := 0; part < 16<<10; {
			f, err := framer.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if data, ok := f.(*http2.DataFrame); ok {
				part += len(data.Data())
			}
		}
		got += 16 << 10
	}
	if out := wait(t, e.outcomes, "outcome"); out.TooSlow || out.Canceled || out.Status != http.StatusOK {
		t.Errorf("outcome %+v", out)
	}
}

// P06: a client of HTTP/1.1 that sends request after request and reads no answer is
// dropped too, though no answer is so long that its request would wait for it.
func TestClientPipelinesAndDoesNotRead(t *testing.T) {
	t.Parallel()
	const within = 300 * time.Millisecond
	up := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 1<<10)) // without a body, it goes out after the handler
	}), nil)
	e := startEdge(t, upstreamAt("http", up), proxy.Options{TakeTimeout: within})
	go func() {
		for range e.outcomes {
		}
	}()
	t.Cleanup(func() { close(e.outcomes) })
	conn := dial(t, e.addr)
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4 << 10)
	}
	asked := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			_, err = io.WriteString(conn, "GET /api HTTP/1.1\r\nHost: x\r\n\r\n")
		}
		asked <- err
	}()
	err := wait(t, asked, "end of the connection")
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		t.Error("the connection is kept")
	}
}

// What bounds the end of one answer does not bound the connection.
func TestAnswersOnOneConnection(t *testing.T) {
	t.Parallel()
	const within = 50 * time.Millisecond
	up := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<10)) }), nil)
	e := startEdge(t, upstreamAt("http", up), proxy.Options{TakeTimeout: within})
	conn := dial(t, e.addr)
	r := bufio.NewReader(conn)
	for range 3 {
		_, _ = io.WriteString(conn, "GET /api HTTP/1.1\r\nHost: x\r\n\r\n")
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * within)
	}
}
