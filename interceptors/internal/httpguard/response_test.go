package httpguard_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
	"github.com/onbehalf-dev/onbehalf/interceptors/internal/httpguard"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// begin begins an exchange that ends in a minute.
func begin(t *testing.T, enveloped bool) (*httptest.ResponseRecorder, *httpguard.Exchange, *http.Request) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("body"))
	end := time.Now().Add(time.Minute)
	ctx, life := guard.NewLife(t.Context(), func() (time.Duration, principal.Reason) {
		wait := time.Until(end)
		if wait <= 0 {
			return 0, principal.ReasonTime
		}
		return wait, 0
	})
	e, inner := httpguard.Begin(ctx, life, w, r, enveloped)
	return w, e, inner
}

func pass(d time.Duration) { <-time.After(d) }

func TestExchangeThatNeverEnds(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	e, inner := httpguard.Begin(t.Context(), nil, w, r, false)
	if reason, progress := e.End(); reason != 0 || progress != httpguard.Nothing {
		t.Errorf("%v, %v", reason, progress)
	}
	if inner.Body != r.Body {
		t.Error("the body is wrapped")
	}
}

func TestExchangeEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, e, r := begin(t, false)
		e.WriteHeader(http.StatusTeapot)
		if _, err := io.WriteString(e, "before"); err != nil {
			t.Fatal(err)
		}
		if err := http.NewResponseController(e).Flush(); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		synctest.Wait()
		if n, err := io.WriteString(e, "after"); n != 0 || !errors.Is(err, guard.ErrEnded) {
			t.Errorf("Write: %d, %v", n, err)
		}
		if err := http.NewResponseController(e).Flush(); !errors.Is(err, guard.ErrEnded) {
			t.Errorf("Flush: %v", err)
		}
		if n, err := r.Body.Read(make([]byte, 9)); n != 0 || !errors.Is(err, guard.ErrEnded) {
			t.Errorf("Read: %d, %v", n, err)
		}
		if _, _, err := http.NewResponseController(e).Hijack(); !errors.Is(err, guard.ErrEnded) {
			t.Errorf("Hijack: %v", err)
		}
		e.Flush()
		if r.Context().Err() == nil {
			t.Error("the context goes on")
		}
		if reason, progress := e.End(); reason != principal.ReasonTime || progress != httpguard.Whole {
			t.Errorf("%v, %v", reason, progress)
		}
		if w.Body.String() != "before" || w.Code != http.StatusTeapot {
			t.Errorf("%d %q", w.Code, w.Body)
		}
	})
}

// A status that is set when it is too late leaves the answer open.
func TestExchangeEndsBeforeAStatus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, e, _ := begin(t, false)
		pass(time.Minute)
		synctest.Wait()
		e.WriteHeader(http.StatusOK)
		if reason, progress := e.End(); reason != principal.ReasonTime || progress != httpguard.Nothing {
			t.Errorf("%v, %v", reason, progress)
		}
	})
}

// However a handler cuts its messages into writes, and whenever the stream ends
// between them, the client gets whole messages.
func TestExchangeEndsBetweenMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(500) {
			random := rand.New(rand.NewPCG(seed, 1))
			var stream []byte
			whole := map[int]bool{0: true}
			for range random.IntN(4) {
				n := random.IntN(20)
				stream = append(binary.BigEndian.AppendUint32(append(stream, byte(random.IntN(2))), uint32(n)), make([]byte, n)...)
				whole[len(stream)] = true
			}
			w, e, _ := begin(t, true)
			end := random.IntN(len(stream) + 1)
			for rest := stream; len(rest) > 0; {
				n := 1 + random.IntN(len(rest))
				if len(stream)-len(rest) >= end {
					pass(time.Minute)
					synctest.Wait()
				}
				written, err := e.Write(rest[:n])
				if (err == nil) != (written == n) {
					t.Fatalf("seed %d: Write: %d of %d, %v", seed, written, n, err)
				}
				if err != nil {
					break
				}
				rest = rest[n:]
			}
			_, progress := e.End()
			if !whole[w.Body.Len()] || progress != httpguard.Whole && w.Body.Len() > 0 || string(stream[:w.Body.Len()]) != w.Body.String() {
				t.Errorf("seed %d: %d bytes of %v were sent; %v", seed, w.Body.Len(), whole, progress)
			}
		}
	})
}

func TestProgress(t *testing.T) {
	t.Parallel()
	_, hinted, _ := begin(t, false)
	hinted.WriteHeader(http.StatusEarlyHints)
	if _, got := hinted.End(); got != httpguard.Nothing {
		t.Errorf("a hint: %v", got)
	}
	for _, c := range []struct {
		name  string
		write string
		want  httpguard.Progress
	}{
		{"nothing", "", httpguard.Nothing},
		{"half a prefix", "\x00\x00", httpguard.Partial},
		{"half a message", "\x00\x00\x00\x00\x02x", httpguard.Partial},
		{"a message", "\x00\x00\x00\x00\x02xy", httpguard.Whole},
		{"an empty message", "\x00\x00\x00\x00\x00", httpguard.Whole},
		{"a compressed message", "\x01\x00\x00\x00\x01x", httpguard.Whole},
		{"a message and half a prefix", "\x00\x00\x00\x00\x01x\x00", httpguard.Partial},
		{"the end of a Connect stream", "\x00\x00\x00\x00\x01x\x02\x00\x00\x00\x02{}", httpguard.Finished},
		{"half of that", "\x02\x00\x00\x00\x02{", httpguard.Partial},
		{"trailers of gRPC-Web", "\x80\x00\x00\x00\x01x", httpguard.Finished},
		{"compressed trailers", "\x81\x00\x00\x00\x01x", httpguard.Finished},
	} {
		_, e, _ := begin(t, true)
		if c.write != "" {
			_, _ = io.WriteString(e, c.write)
		}
		if _, got := e.End(); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestWithoutRedirects(t *testing.T) {
	t.Parallel()
	given := &http.Client{Timeout: time.Second}
	for _, client := range []*http.Client{nil, given} {
		c := httpguard.WithoutRedirects(client)
		if err := c.CheckRedirect(nil, nil); !errors.Is(err, http.ErrUseLastResponse) {
			t.Error(err)
		}
		if client != nil && c.Timeout != client.Timeout {
			t.Error("the settings were lost")
		}
	}
	if given.CheckRedirect != nil {
		t.Error("the client of the caller was changed")
	}
}

// A connection that a handler has taken over is closed when the life ends, and
// the life when it is closed.
func TestHijackedConnection(t *testing.T) {
	t.Parallel()
	for _, byHandler := range []bool{true, false} {
		lives := make(chan *guard.Life, 1)
		closed := make(chan struct{})
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, life := guard.NewLife(context.WithoutCancel(r.Context()), nil)
			e, _ := httpguard.Begin(ctx, life, w, r, false)
			conn, _, err := http.NewResponseController(e).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			if reason, progress := e.End(); reason != 0 || progress != httpguard.Finished || life.Ended() {
				t.Errorf("%v, %v", reason, progress)
			}
			if byHandler {
				_ = conn.Close()
				if !life.Ended() {
					t.Error("the life goes on without the connection")
				}
			}
			lives <- life
			<-closed
		}))
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		life := <-lives
		life.Terminate(principal.ReasonRevoked)
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the connection is open: %v", err)
		}
		close(closed)
		srv.Close()
	}
}
