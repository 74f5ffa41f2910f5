package bff_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/onbehalf-dev/onbehalf/bff"
	"github.com/onbehalf-dev/onbehalf/bff/authn"
)

// slowKeys are credentials that take until they are let go to be verified, however
// soon the client gives up.
type slowKeys struct {
	begun *atomic.Int64
	done  <-chan struct{}
}

// CredentialHeaders implements [authn.Authenticator].
func (slowKeys) CredentialHeaders() []string { return []string{"X-Api-Key"} }

// Authenticate implements [authn.Authenticator].
func (k slowKeys) Authenticate(_ context.Context, h http.Header) (*authn.Result, error) {
	if h.Get("X-Api-Key") == "" {
		return nil, authn.ErrNoCredential
	}
	k.begun.Add(1)
	<-k.done
	return nil, &authn.Error{Reason: authn.ReasonSignature}
}

// A client that takes nothing has its connection closed for these.
var closing = map[string]bool{"resets": true, "continuations": true, "pings": true}

// floods are what a client of HTTP/2 sends without end. Each is a piece of it,
// which is sent again and again until the edge closes the connection. It does not
// for settings, whose acknowledgements do not pile up, nor for header lists that
// are too long, each of which it answers 431: they cost it no memory.
var floods = map[string]func(c *stream, round int) error{
	"resets": func(c *stream, round int) error {
		for i := range 100 {
			id := uint32(2*(100*round+i) + 1)
			block, err := c.encode([]field{
				{":method", "GET"}, {":scheme", "https"}, {":authority", "edge.test"}, {":path", "/relay"},
				{"x-api-key", strconv.Itoa(int(id))},
			}, false)
			if err != nil {
				return err
			}
			if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: true}); err != nil {
				return err
			}
			if err := c.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
				return err
			}
		}
		return nil
	},
	"continuations": func(c *stream, round int) error {
		block, err := c.encode([]field{{"x-kept", strings.Repeat("a", 1000)}}, false)
		if err != nil {
			return err
		}
		if round == 0 {
			return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block})
		}
		return c.WriteContinuation(1, false, block)
	},
	// One field of the table is named again and again: a byte becomes 4 KB.
	"a bomb of fields": func(c *stream, round int) error {
		block := []byte{0x40, 1, 'x', 0x7f} // a new field of the table, and a length of 7 bits that goes on
		block = binary.AppendUvarint(block, 4000-127)
		block = append(block, bytes.Repeat([]byte{'a'}, 4000)...)
		block = append(block, bytes.Repeat([]byte{0x80 | 62}, 10_000)...)
		return c.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*round + 1), BlockFragment: block, EndHeaders: true, EndStream: true})
	},
	"pings": many(func(f *http2.Framer) error { return f.WritePing(false, [8]byte{}) }),
	"settings": many(func(f *http2.Framer) error {
		return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65_535})
	}),
}

// many sends a thousand frames at once.
func many(write func(*http2.Framer) error) func(c *stream, round int) error {
	var b bytes.Buffer
	framer := http2.NewFramer(&b, nil)
	for range 1000 {
		_ = write(framer) // to memory
	}
	return func(c *stream, _ int) error {
		_, err := c.conn.Write(b.Bytes())
		return err
	}
}

// flood sends until the edge closes the connection, or 100 times, and returns how
// often it wrote. It reads nothing.
func (s *site) flood(name string) int {
	s.t.Helper()
	conn := s.dial()
	defer conn.Close()
	// Slow machines take long to send what kernels keep, which is some megabytes.
	if err := conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		s.t.Error(err)
	}
	c, err := begin(conn)
	if err != nil {
		s.t.Error(err)
		return 0
	}
	for round := 0; closing[name] || round < 100; round++ {
		if err := floods[name](c, round); err != nil {
			if isTimeout(err) {
				s.t.Errorf("%s: the connection stays open", name)
			}
			return round
		}
	}
	return 100
}

// latency makes requests of another client and returns their 99th percentile.
func (s *site) latency(token string, enough func(made int) bool) time.Duration {
	s.t.Helper()
	var took []time.Duration
	for !enough(len(took)) {
		began := time.Now()
		s.get("/public", token)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// Z04: a flood of one client ends that client's connection. Others are served
// meanwhile, nothing of it reaches an upstream, no more credentials are looked at
// than requests may be under way, and nothing of it is left afterwards.
func TestFloods(t *testing.T) { //nolint:paralleltest // it counts goroutines
	for _, d := range doors[2:] {
		t.Run(d.name, func(t *testing.T) {
			done := make(chan struct{})
			keys := slowKeys{begun: new(atomic.Int64), done: done}
			s := open(t, d, setup{options: []bff.Option{bff.WithAuthenticator(keys)}})
			calm := s.latency("", func(made int) bool { return made == 200 })
			before := runtime.NumGoroutine()
			for name := range floods {
				reached := s.upstream.count()
				var over atomic.Bool
				rounds := 0
				go func() {
					defer over.Store(true)
					rounds = s.flood(name)
				}()
				made, most := 0, 0
				p99 := s.latency("", func(n int) bool {
					made, most = n, max(most, runtime.NumGoroutine())
					return n >= 50 && over.Load()
				})
				t.Logf("Z04 %s, %s: over after %d writes; p99 of %d requests of others %v, without a flood %v; at most %d goroutines more",
					d.name, name, rounds, made, p99, calm, most-before)
				if got := s.upstream.count() - reached; got != made {
					t.Errorf("%s: %d requests reached the upstream, want %d", name, got, made)
				}
				if most-before > 2*250 {
					t.Errorf("%s: %d goroutines", name, most-before)
				}
			}
			if got := keys.begun.Load(); got == 0 || got > 250 {
				t.Errorf("%d credentials were looked at, want at most as many as there may be streams", got)
			}
			close(done)
			eventually(t, "its goroutines end", func() bool { return runtime.NumGoroutine() <= before+5 })
		})
	}
}
