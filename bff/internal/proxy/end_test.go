package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// revocable gives the request of e a context that can be cancelled.
func revocable(e *edge) <-chan context.CancelCauseFunc {
	revoke := make(chan context.CancelCauseFunc, 1)
	e.call = func(_ http.ResponseWriter, r *http.Request) (*http.Request, proxy.Call) {
		ctx, cancel := context.WithCancelCause(r.Context())
		revoke <- cancel
		return r.WithContext(ctx), proxy.Call{Principal: minted}
	}
	return revoke
}

// until gives all requests of e the same end.
func until(e *edge, at time.Time) {
	e.call = func(_ http.ResponseWriter, r *http.Request) (*http.Request, proxy.Call) {
		return r, proxy.Call{Principal: minted, Until: at}
	}
}

// within fails if what is done takes longer than an operator would believe.
func within(t testing.TB, d time.Duration, what string, do func()) {
	t.Helper()
	start := time.Now()
	do()
	if took := time.Since(start); took > d {
		t.Errorf("%s took %v", what, took)
	}
}

// A request whose authority ended between its principal and here goes nowhere.
func TestEndedBefore(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	up := listen(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }), nil)
	e := startEdge(t, upstreamAt("http", up), proxy.Options{})
	e.call = func(_ http.ResponseWriter, r *http.Request) (*http.Request, proxy.Call) {
		ctx, cancel := context.WithCancelCause(r.Context())
		cancel(proxy.ErrEnded)
		return r.WithContext(ctx), proxy.Call{Principal: minted}
	}
	client := clientFor(t, http1)
	for range 100 {
		equal(t, "status", get(t, client, e, "/api").StatusCode, http.StatusUnauthorized)
		equal(t, "ended", wait(t, e.outcomes, "outcome").Ended, true)
	}
	equal(t, "requests upstream", int(reached.Load()), 0)
}

// An idle stream of gRPC ends when its authority does: the client reads
// UNAUTHENTICATED, not a reset, and the upstream's call ends too.
func TestEndOfIdleStream(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"before the first message", "after a message"} {
		t.Run("revoked "+what, func(t *testing.T) {
			t.Parallel()
			s, addr := startGRPC(t)
			e := startEdge(t, upstreamAt("h2c", addr), proxy.Options{})
			revoke := revocable(e)
			stream := openBidi(t, dialGRPC(t, e.addr))
			if what == "after a message" {
				roundTrip(t, stream, 1)
			}
			wait(t, s.calls, "call")
			cancel := wait(t, revoke, "request")
			within(t, 5*time.Second, "the end", func() {
				cancel(fmt.Errorf("session revoked: %w", proxy.ErrEnded))
				checkEnded(t, s, e, stream)
			})
		})
		t.Run("expired "+what, func(t *testing.T) {
			t.Parallel()
			s, addr := startGRPC(t)
			clock := newClock()
			e := startEdge(t, upstreamAt("h2c", addr), clock.options())
			until(e, clock.Now().Add(5*time.Minute))
			stream := openBidi(t, dialGRPC(t, e.addr))
			if what == "after a message" {
				roundTrip(t, stream, 1)
			}
			wait(t, s.calls, "call")
			clock.Advance(5*time.Minute - time.Nanosecond)
			if what == "after a message" {
				roundTrip(t, stream, 2)
			}
			within(t, 5*time.Second, "the end", func() {
				clock.Advance(time.Nanosecond)
				checkEnded(t, s, e, stream)
			})
		})
	}
}

func checkEnded(t *testing.T, s *testService, e *edge, stream testpb.TestService_FullDuplexCallClient) {
	t.Helper()
	_, err := stream.Recv()
	equal(t, "client", status.Convert(err).String(), status.New(codes.Unauthenticated, "a valid credential is required").String())
	equal(t, "upstream", wait(t, s.ended, "end of the upstream's call"), context.Canceled)
	if out := wait(t, e.outcomes, "outcome"); !out.Ended || out.Canceled {
		t.Errorf("outcome %+v", out)
	}
	equal(t, "log", e.log.String(), "")
}

func TestEndBeforeTheRequest(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s, addr := startGRPC(t)
	e := startEdge(t, upstreamAt("h2c", addr), clock.options())
	until(e, clock.Now())
	_, err := dialGRPC(t, e.addr).UnaryCall(testContext(t), &testpb.SimpleRequest{})
	equal(t, "code", status.Code(err), codes.Unauthenticated)
	if out := wait(t, e.outcomes, "outcome"); !out.Ended || len(s.calls) > 0 {
		t.Errorf("outcome %+v, %d calls", out, len(s.calls))
	}
}

// A revocation in the middle of a message lets the message finish, so that the
// client reads the status and not a broken frame.
func TestEndWithinAMessage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, contentType string
		want              string
	}{
		{"gRPC", "application/grpc", frame(0, "hello")},
		{"Connect", "application/connect+proto", frame(0, "hello") + frame(2, `{"error":`+unauthenticated+`}`)},
		{"gRPC-Web", "application/grpc-web+proto", frame(0, "hello") + frame(0x80, "grpc-status: 16\r\ngrpc-message: a valid credential is required\r\n")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			finish, clock := make(chan struct{}), newClock()
			e := startEdge(t, upstreamAt("h2c", listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", c.contentType)
				_, _ = io.WriteString(w, frame(0, "hello")[:7])
				_ = http.NewResponseController(w).Flush()
				<-finish
				_, _ = io.WriteString(w, frame(0, "hello")[7:]+frame(0, "not any more"))
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			}), nil)), clock.options())
			revoke := revocable(e)
			res := post(t, clientFor(t, h2c), e, "/api/stream", c.contentType)
			body := bufio.NewReader(res.Body)
			if _, err := body.Peek(7); err != nil {
				t.Fatal(err)
			}
			wait(t, revoke, "request")(proxy.ErrEnded)
			equal(t, "grace", wait(t, clock.armed, "timer"), time.Second)
			close(finish)
			got, err := io.ReadAll(body)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "body", string(got), c.want)
			if c.name == "gRPC" {
				equal(t, "status", res.Trailer["Grpc-Status"], []string{"16"})
			}
		})
	}
}

// What the client sends after the end goes nowhere, and does not take the
// current message with it.
func TestEndStopsTheClient(t *testing.T) {
	t.Parallel()
	const said, unsaid = "said", "unsaid"
	finish, clock := make(chan struct{}), newClock()
	heard := make(chan string, 1)
	e := startEdge(t, upstreamAt("h2c", listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadFull(r.Body, make([]byte, len(said)))
		w.Header().Set("Content-Type", "application/grpc")
		_, _ = io.WriteString(w, frame(0, "hello")[:7])
		_ = http.NewResponseController(w).Flush()
		go func() {
			rest, _ := io.ReadAll(r.Body)
			heard <- string(rest)
		}()
		select {
		case <-finish:
			_, _ = io.WriteString(w, frame(0, "hello")[7:])
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
		}
		<-r.Context().Done()
	}), nil)), clock.options())
	revoke := revocable(e)
	pr, pw := io.Pipe()
	defer pw.Close()
	req, err := http.NewRequestWithContext(testContext(t), http.MethodPost, "http://"+e.addr+"/api/stream", pr)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	go func() { _, _ = io.WriteString(pw, said) }()
	client := clientFor(t, h2c)
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	begun := make([]byte, 7) // that the client has them, the edge knows that a message has begun
	if _, err := io.ReadFull(res.Body, begun); err != nil {
		t.Fatal(err)
	}
	wait(t, revoke, "request")(proxy.ErrEnded)
	equal(t, "grace", wait(t, clock.armed, "timer"), time.Second)
	_, _ = io.WriteString(pw, unsaid)
	get(t, client, e, "/nowhere") // on the same connection: the edge has read what was written
	close(finish)
	body, err := io.ReadAll(res.Body)
	equal(t, "body", string(begun)+string(body), frame(0, "hello"))
	equal(t, "error", err, nil)
	equal(t, "status", res.Trailer["Grpc-Status"], []string{"16"})
	equal(t, "heard", wait(t, heard, "end of the request"), "")
}

// What the upstream never completes is broken off when the grace time is over.
func TestEndWithinAMessageThatDoesNotCome(t *testing.T) {
	t.Parallel()
	clock := newClock()
	e := startEdge(t, upstreamAt("h2c", listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/connect+proto")
		_, _ = io.WriteString(w, frame(0, "hello")[:7])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}), nil)), clock.options())
	revoke := revocable(e)
	res := post(t, clientFor(t, h2c), e, "/api/stream", "application/connect+proto")
	if _, err := io.ReadFull(res.Body, make([]byte, 7)); err != nil {
		t.Fatal(err)
	}
	wait(t, revoke, "request")(proxy.ErrEnded)
	equal(t, "grace", wait(t, clock.armed, "timer"), time.Second)
	clock.Advance(time.Second)
	if rest, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("a broken frame passes for a complete response: %q", rest)
	}
	wait(t, e.outcomes, "end of the request")
}

// endless is an upstream that sends as much as it can.
func endless(t testing.TB) string {
	t.Helper()
	return listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/connect+proto")
		for {
			if _, err := io.WriteString(w, frame(0, strings.Repeat("x", 1<<16))); err != nil {
				return
			}
		}
	}), nil)
}

// A client that does not read cannot hold a stream open.
func TestEndWithAClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	checkGone := func(t *testing.T, e *edge, clock *manualClock, revoke <-chan context.CancelCauseFunc) {
		t.Helper()
		wait(t, revoke, "request")(proxy.ErrEnded)
		equal(t, "grace", wait(t, clock.armed, "timer"), time.Second)
		clock.Advance(time.Second)
		if out := wait(t, e.outcomes, "end of the request"); !out.Ended {
			t.Errorf("outcome %+v", out)
		}
	}
	t.Run("HTTP/1.1", func(t *testing.T) {
		t.Parallel()
		clock := newClock()
		e := newEdge(t, upstreamAt("h2c", endless(t)), clock.options())
		revoke := revocable(e)
		client, server := net.Pipe() // has no buffer: when one byte is read, the edge waits with the next
		defer client.Close()
		go func() { _ = (&http.Server{Handler: e}).Serve(&oneConn{conn: server}) }()
		_, _ = io.WriteString(client, request("/api/stream", "Content-Type: application/connect+proto"))
		if _, err := client.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		checkGone(t, e, clock, revoke)
	})
	t.Run("h2c", func(t *testing.T) {
		t.Parallel()
		clock := newClock()
		e := startEdge(t, upstreamAt("h2c", endless(t)), clock.options())
		revoke := revocable(e)
		framer := dialHTTP2(t, e.addr, []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 10}},
			":method", "GET", ":scheme", "http", ":authority", "edge", ":path", "/api/stream", "content-type", "application/connect+proto")
		for received := 0; received < 10; {
			if f, ok := nextFrame(t, framer).(*http2.DataFrame); ok {
				received += len(f.Data())
			}
		}
		checkGone(t, e, clock, revoke)
		if f, ok := nextFrame(t, framer).(*http2.RSTStreamFrame); !ok {
			t.Errorf("the client got %v", f)
		}
	})
}

// oneConn is a listener with one connection.
type oneConn struct {
	net.Listener
	conn net.Conn
}

func (l *oneConn) Accept() (net.Conn, error) {
	if l.conn == nil {
		return nil, net.ErrClosed
	}
	conn := l.conn
	l.conn = nil
	return conn, nil
}

func (l *oneConn) Close() error { return nil }

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// A plain response cannot say that it was cut short, so it is aborted; server-
// sent events end, and their client asks again.
func TestEndOfPlainResponse(t *testing.T) {
	t.Parallel()
	for contentType, wantErr := range map[string]bool{"application/octet-stream": true, "text/event-stream": false} {
		for name, set := range map[string]func(*http.Protocols){"HTTP/1.1": http1, "h2c": h2c} {
			t.Run(name+" "+contentType, func(t *testing.T) {
				t.Parallel()
				e := startEdge(t, upstreamAt("http", listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", contentType)
					_, _ = io.WriteString(w, "data: 1\n\n")
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
				}), nil)), proxy.Options{})
				revoke := revocable(e)
				res := get(t, clientFor(t, set), e, "/api/events")
				if _, err := io.ReadFull(res.Body, make([]byte, 9)); err != nil {
					t.Fatal(err)
				}
				wait(t, revoke, "request")(proxy.ErrEnded)
				rest, err := io.ReadAll(res.Body)
				if (err != nil) != wantErr || len(rest) > 0 {
					t.Errorf("then %q, %v", rest, err)
				}
				wait(t, e.outcomes, "end of the request")
			})
		}
	}
}

// Before there is a response, the end is an ordinary 401, also for a client
// that is still sending.
func TestEndBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*http.Protocols){"HTTP/1.1": http1, "h2c": h2c} {
		for _, scheme := range []string{"http", "h2c"} {
			t.Run(name+" to "+scheme, func(t *testing.T) {
				t.Parallel()
				arrived := make(chan struct{})
				e := startEdge(t, upstreamAt(scheme, listen(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					close(arrived)
					<-r.Context().Done()
				}), nil)), proxy.Options{})
				revoke := revocable(e)
				pr, pw := io.Pipe()
				defer pw.Close()
				go func() {
					<-arrived
					(<-revoke)(proxy.ErrEnded)
				}()
				req, err := http.NewRequestWithContext(testContext(t), http.MethodPost, "http://"+e.addr+"/api/slow", pr)
				if err != nil {
					t.Fatal(err)
				}
				res, err := clientFor(t, set).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				equal(t, "status", res.StatusCode, http.StatusUnauthorized)
				equal(t, "challenge", res.Header.Get("WWW-Authenticate"), `Bearer error="invalid_token"`)
			})
		}
	}
}

// A context that ends for another reason is not a lost authority.
func TestOtherCancellationIsNotAnEnd(t *testing.T) {
	t.Parallel()
	s, addr := startGRPC(t)
	e := startEdge(t, upstreamAt("h2c", addr), proxy.Options{})
	revoke := revocable(e)
	stream := openBidi(t, dialGRPC(t, e.addr))
	roundTrip(t, stream, 1)
	wait(t, revoke, "request")(errors.New("shutting down"))
	if _, err := stream.Recv(); status.Code(err) == codes.Unauthenticated {
		t.Errorf("client got %v", err)
	}
	wait(t, s.ended, "end of the upstream's call")
	if out := wait(t, e.outcomes, "outcome"); out.Ended || !out.Canceled {
		t.Errorf("outcome %+v", out)
	}
}
