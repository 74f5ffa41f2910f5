package proxy_test

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

const (
	patience = 30 * time.Second
	stall    = 5 * time.Minute
)

// sender is a request whose body a test writes bit by bit.
type sender struct {
	t    *testing.T
	body *io.PipeWriter
	res  chan *http.Response
}

func send(t *testing.T, client *http.Client, e *edge, path, contentType string) *sender {
	t.Helper()
	body, in := io.Pipe()
	req, err := http.NewRequestWithContext(testContext(t), http.MethodPost, "http://"+e.addr+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	s := &sender{t, in, make(chan *http.Response, 1)}
	go func() {
		defer close(s.res)
		res, err := client.Do(req)
		if err != nil {
			return
		}
		s.res <- res
	}()
	t.Cleanup(func() { in.Close() })
	return s
}

func (s *sender) write(b string) {
	s.t.Helper()
	if _, err := io.WriteString(s.body, b); err != nil {
		s.t.Error(err)
	}
}

// answer turns the clock until there is one, and returns how long that took.
func (s *sender) answer(clock *manualClock) (*http.Response, time.Duration) {
	s.t.Helper()
	start := clock.Now()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		select {
		case res, ok := <-s.res:
			if !ok {
				s.t.Fatal("no answer")
			}
			s.t.Cleanup(func() { _ = res.Body.Close() })
			return res, clock.Now().Sub(start)
		case <-time.After(5 * time.Millisecond):
			clock.Advance(time.Second)
		}
	}
	s.t.Fatal("no answer in time")
	return nil, 0
}

// reader is an upstream that tells what it has read, byte by byte.
func reader(t *testing.T) (addr string, bytes chan byte) {
	t.Helper()
	bytes = make(chan byte, 1<<20)
	return listen(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		for in := bufio.NewReader(r.Body); ; {
			b, err := in.ReadByte()
			if err != nil {
				return
			}
			bytes <- b
		}
	}), nil), bytes
}

func patient(c *manualClock) proxy.Options {
	o := c.options()
	o.BodyTimeout, o.TakeTimeout = patience, stall
	return o
}

// P06, Slowloris: a client that sends its body a byte a minute is ended, and told.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	for _, in := range []func(*http.Protocols){http1, h2c} {
		for _, scheme := range []string{"http", "h2c"} {
			addr, bytes := reader(t)
			clock := newClock()
			e := startEdge(t, upstreamAt(scheme, addr), patient(clock))
			s := send(t, clientFor(t, in), e, "/api", "text/plain")
			s.write("a")
			wait(t, bytes, "byte")
			clock.Advance(patience / 2)
			s.write("b")
			wait(t, bytes, "byte")
			res, took := s.answer(clock)
			equal(t, "status", res.StatusCode, http.StatusRequestTimeout)
			if took < patience/2-time.Second || took > 10*patience { // the clock turns on while the answer comes
				t.Error("ended after", took)
			}
			if out := wait(t, e.outcomes, "outcome"); !out.TooSlow || out.Canceled || out.Ended || out.Status != http.StatusRequestTimeout {
				t.Errorf("outcome %+v", out)
			}
			equal(t, "log", e.log.String(), "")
		}
	}
}

// What comes at a fair pace may take as long as it is long.
func TestFairBody(t *testing.T) {
	t.Parallel()
	addr, bytes := reader(t)
	clock := newClock()
	e := startEdge(t, upstreamAt("http", addr), patient(clock))
	s := send(t, clientFor(t, http1), e, "/api", "text/plain")
	for range 20 { // 10 s each for 10 KiB
		s.write(strings.Repeat("x", 10<<10))
		for range 10 << 10 {
			wait(t, bytes, "byte")
		}
		clock.Advance(10 * time.Second)
	}
	s.body.Close()
	res := wait(t, s.res, "answer")
	res.Body.Close()
	equal(t, "status", res.StatusCode, http.StatusOK)
	equal(t, "too slow", wait(t, e.outcomes, "outcome").TooSlow, false)
}

// A client is not blamed for an upstream that does not take its body.
func TestSlowUpstream(t *testing.T) {
	t.Parallel()
	resume, came := make(chan struct{}), make(chan struct{})
	addr := listen(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(came)
		<-resume
		_, _ = io.Copy(io.Discard, r.Body)
	}), nil)
	clock := newClock()
	e := startEdge(t, upstreamAt("h2c", addr), patient(clock))
	s := send(t, clientFor(t, h2c), e, "/api", "text/plain")
	all, sent := make(chan struct{}), make(chan struct{}, 1024)
	go func() {
		defer close(all)
		for range 1024 { // 64 MiB are more than all windows
			s.write(strings.Repeat("x", 64<<10))
			sent <- struct{}{}
		}
	}()
	wait(t, came, "request")
	for stuck := false; !stuck; {
		select {
		case <-sent:
		case <-all:
			t.Fatal("64 MiB went into buffers")
		case <-time.After(time.Second):
			stuck = true
		}
	}
	for range 100 {
		clock.Advance(patience)
	}
	close(resume)
	wait(t, all, "end of the body")
	s.body.Close()
	res := wait(t, s.res, "answer")
	res.Body.Close()
	equal(t, "status", res.StatusCode, http.StatusOK)
}

// Between two messages a stream may wait for ever, also before the first.
func TestIdleStreamGoesOn(t *testing.T) {
	t.Parallel()
	s, addr := startGRPC(t)
	clock := newClock()
	o := patient(clock)
	o.TakeTimeout = 0 // a client may have an answer before the edge knows that it has
	e := startEdge(t, upstreamAt("h2c", addr), o)
	stream := openBidi(t, dialGRPC(t, e.addr))
	wait(t, s.calls, "call")
	clock.Advance(24 * time.Hour)
	roundTrip(t, stream, 1)
	clock.Advance(24 * time.Hour)
	roundTrip(t, stream, 100_000)
	clock.Advance(24 * time.Hour)
	roundTrip(t, stream, 2)
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	_, err := stream.Recv()
	equal(t, "end", err, io.EOF)
}

// A body whose length was said is no such stream, whatever it calls itself.
func TestSaidLength(t *testing.T) {
	t.Parallel()
	addr, _ := reader(t)
	clock := newClock()
	e := startEdge(t, upstreamAt("http", addr), patient(clock))
	body, in := io.Pipe()
	defer in.Close()
	req, err := http.NewRequestWithContext(testContext(t), http.MethodPost, "http://"+e.addr+"/api", body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = 100
	req.Header.Set("Content-Type", "application/connect+json")
	s := &sender{t, in, make(chan *http.Response, 1)}
	go func() {
		defer close(s.res)
		if res, err := clientFor(t, h2c).Do(req); err == nil {
			s.res <- res
		}
	}()
	if _, took := s.answer(clock); took < patience-time.Second {
		t.Error("ended after", took)
	}
	if out := wait(t, e.outcomes, "outcome"); !out.TooSlow {
		t.Errorf("outcome %+v", out)
	}
}

// Within a message it may not: nobody sends a length in order to wait.
func TestSlowMessage(t *testing.T) {
	t.Parallel()
	for name, begun := range map[string]string{
		"length": frame(0, "")[:3], "message": frame(0, "request")[:8], "second message": frame(0, "") + frame(0, "request")[:6],
	} {
		s, addr := startGRPC(t)
		clock := newClock()
		e := startEdge(t, upstreamAt("h2c", addr), patient(clock))
		slow := send(t, clientFor(t, h2c), e, "/grpc.testing.TestService/StreamingInputCall", "application/grpc")
		slow.write(begun)
		wait(t, s.calls, "call")
		res, took := slow.answer(clock)
		equal(t, name, res.Header.Get("Grpc-Status"), strconv.Itoa(int(codes.DeadlineExceeded)))
		if took < patience-time.Second || took > 10*patience {
			t.Errorf("%s: ended after %v", name, took)
		}
		if out := wait(t, e.outcomes, "outcome"); !out.TooSlow {
			t.Errorf("%s: outcome %+v", name, out)
		}
	}
}

// A refused request whose body does not come does not keep its connection.
func TestRestOfABody(t *testing.T) {
	t.Parallel()
	addr := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxy.BoundRest(w, r)
		proxy.WriteError(w, r, proxy.Overloaded)
	}), nil)
	conn := dial(t, addr)
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc"); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "the end", func() {
		answer, err := io.ReadAll(conn) // until it is closed
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503 ") || !strings.Contains(string(answer), "\r\nRetry-After: 1\r\n") {
			t.Errorf("%v %q", err, answer)
		}
	})
}

// One whose body comes is answered, and its connection is good for the next.
func TestRestOfABodyComes(t *testing.T) {
	t.Parallel()
	addr := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			proxy.BoundRest(w, r)
			proxy.WriteError(w, r, proxy.Overloaded)
			return
		}
		<-time.After(1500 * time.Millisecond) // the bound was for the first
		if r.Context().Err() != nil {
			_, _ = io.WriteString(w, "canceled")
		}
	}), nil)
	conn := dial(t, addr)
	in := bufio.NewReader(conn)
	for _, path := range []string{"/", "/next"} {
		if _, err := io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(path, err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || path == "/next" && len(body) > 0 {
			t.Errorf("%s: %q %v", path, body, err)
		}
		_ = res.Body.Close()
	}
}

// The answer to a client of gRPC that is turned away is the same over HTTP/1.1
// or not, and comes before its body.
func TestOverloadedBeforeTheBody(t *testing.T) {
	t.Parallel()
	addr := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxy.BoundRest(w, r)
		proxy.WriteError(w, r, proxy.Overloaded)
	}), nil)
	stream, err := dialGRPC(t, addr).FullDuplexCall(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	equal(t, "code", status.Code(err), codes.Unavailable)
}
