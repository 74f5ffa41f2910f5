package contract_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalgrpc"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// longStream is a stream as its client has it.
type longStream struct {
	send      func(any) error
	closeSend func() error
	receive   func(any) error
}

func (l *longStream) ask(s shape, m string) error {
	if s != serverStream {
		if err := l.send(wrapperspb.String(m)); err != nil {
			return err
		}
	}
	if s == clientStream {
		return nil
	}
	var got value
	if err := l.receive(&got); err != nil {
		return err
	}
	if got.GetValue() != m {
		return fmt.Errorf("got %q", got.GetValue())
	}
	return nil
}

// leaser is a client that can have its streams renewed.
type leaser struct {
	name    string
	of      stack
	connect func(t testing.TB, srv *server, p *principal.Propagator, audience string) opener
}

type opener func(context.Context, shape) (*longStream, error)

var leasers = []leaser{
	{"grpc-go", stacks[0], longGRPC},
	{"connect-v2/connect", stacks[1], longConnect()},
	{"connect-v2/grpc", stacks[1], longConnect(connecthttp.WithGRPC())},
	{"connect-v2/grpc-web", stacks[1], longConnect(connecthttp.WithGRPCWeb())},
	{"grpc-go to connect-v2", stacks[1], longGRPC},
}

func longGRPC(t testing.TB, srv *server, p *principal.Propagator, audience string) opener {
	t.Helper()
	conn := connTo(t, srv, principalgrpc.DialOptions(p, audience)...)
	return func(ctx context.Context, s shape) (*longStream, error) {
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: s != serverStream, ServerStreams: s != clientStream}, s.procedure())
		if err != nil {
			return nil, err
		}
		if s == serverStream {
			if err := errors.Join(stream.SendMsg(wrapperspb.String("go")), stream.CloseSend()); err != nil {
				return nil, err
			}
		}
		return &longStream{stream.SendMsg, stream.CloseSend, stream.RecvMsg}, nil
	}
}

func longConnect(options ...connecthttp.Option) func(testing.TB, *server, *principal.Propagator, string) opener {
	return func(t testing.TB, srv *server, p *principal.Propagator, audience string) opener {
		t.Helper()
		transport := principalconnect.NewTransport(&http.Client{Transport: httpTransport(t, srv)}, nextURL, options...)
		client := connect.NewClient(transport, principalconnect.NewClientInterceptor(p, audience))
		return func(ctx context.Context, s shape) (*longStream, error) {
			if s == serverStream {
				stream, err := client.CallServerStream(ctx, spec(s), wrapperspb.String("go"))
				if err != nil {
					return nil, err
				}
				return &longStream{nil, func() error { return nil }, stream.Receive}, nil
			}
			stream, err := client.CallClientStream(ctx, spec(s))
			if err != nil {
				return nil, err
			}
			return &longStream{stream.Send, stream.CloseSend, stream.Receive}, nil
		}
	}
}

// edge plays the edge that the service s2 gets fresh principals from.
type edge struct {
	audience string
	fails    atomic.Int64 // how many of the next requests
	asked    atomic.Int64
	edit     func(*principalv1.Principal)
}

func (e *edge) header() string {
	edit := e.edit
	if edit == nil {
		edit = func(*principalv1.Principal) {}
	}
	opening := "A"
	if e.audience == mesh {
		opening = ""
	}
	n := e.asked.Add(1)
	header := authority(alice(e.audience, sequenced, edit, func(p *principalv1.Principal) { p.Id = fmt.Appendf(nil, "principal %06d", n) })).header(opening)
	text(header)
	return header
}

func (e *edge) renew(_ context.Context, header string) (string, error) {
	if e.fails.Add(-1) >= 0 {
		return "", errors.New("the edge does not answer")
	}
	if !strings.Contains(header, "session-of-alice") { // which stands in it as it is
		return "", errors.New("it was asked for another session")
	}
	return e.header(), nil
}

func (e *edge) propagator(t testing.TB) *principal.Propagator {
	t.Helper()
	p, err := principal.NewPropagator(principal.WithLinkKey(s2.Owner, s2.private, s2.ID), principal.WithRenewal(e.renew))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// witness is a service that sends something each minute, or answers, and notes
// whom its handlers see.
type witness struct {
	mu   sync.Mutex
	seen []*principal.Principal
}

func (w *witness) look(ctx context.Context) {
	p, _ := principal.FromContext(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.seen); n == 0 || w.seen[n-1] != p {
		w.seen = append(w.seen, p)
	}
}

func (w *witness) app() *app {
	return &app{handle: func(ctx context.Context, s shape, stream messages) error {
		if s == serverStream {
			if _, err := stream.receive(); err != nil {
				return err
			}
			for range time.Tick(time.Minute) {
				w.look(ctx)
				if err := stream.send("tick"); err != nil {
					return err
				}
			}
		}
		for {
			m, err := stream.receive()
			if err != nil {
				return err
			}
			w.look(ctx)
			if s == bidi {
				if err := stream.send(m); err != nil {
					return err
				}
			}
		}
	}}
}

// eachLeaser runs a test for every client that can lease and every kind of
// stream, each in a bubble.
func eachLeaser(t *testing.T, test func(t *testing.T, l leaser, s shape)) {
	t.Helper()
	for _, l := range leasers {
		for _, s := range streams {
			t.Run(l.name+"/"+s.String(), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { test(t, l, s) })
			})
		}
	}
}

// A stream with a lease lives for as long as its session is renewed, and its
// handler always sees a principal that is valid; one without ends with its
// principal.
func TestLeasedStream(t *testing.T) {
	t.Parallel()
	eachLeaser(t, func(t *testing.T, l leaser, s shape) {
		for _, mode := range []string{"s2", mesh} {
			f, events, seen := newFeed(t), new(record), new(witness)
			heard, stop := context.WithCancel(t.Context())
			go f.beat(heard)
			v := verifierOf(t, "next", newKeySet(), principal.WithRevocations(f))
			next := l.of.start(t, guardOf(t, v, rules(anyKind()), principal.WithObserver(events)), seen.app(), nil)
			e := &edge{audience: mode}
			for _, c := range []struct {
				leasing bool
				fails   int64
				want    time.Duration
			}{{true, 0, time.Hour}, {true, 5, time.Hour}, {false, 0, life}} {
				p := e.propagator(t)
				if c.leasing {
					p = p.Leasing()
				}
				ctx, cancel := context.WithCancel(contextOf(t, "s2", e.header()))
				defer cancel()
				e.fails.Store(c.fails)
				start := time.Now()
				stream, err := l.connect(t, next, p, "next")(ctx, s)
				if err != nil {
					t.Fatal(err)
				}
				for err == nil && time.Since(start) < time.Hour {
					if s != serverStream {
						pass(time.Minute)
					}
					err = stream.ask(s, "tick")
					synctest.Wait()
					if p := seen.last(); err == nil && p.ExpiresAt().Add(30*time.Second).Before(time.Now()) {
						t.Fatalf("the handler saw a principal that ended at %v", p.ExpiresAt())
					}
				}
				if age := time.Since(start); age < c.want || age > c.want+time.Minute {
					t.Fatalf("%s %+v: it ended after %v: %v", mode, c, age, err)
				}
				renewals := 0
				for _, event := range events.take() {
					if event.Renewal && event.Decision == principal.Allowed {
						renewals++
					}
				}
				if c.leasing && (renewals < 22 || renewals > 28 || seen.count() < renewals-1) || !c.leasing && renewals > 0 {
					t.Errorf("%s %+v: %d renewals; the handler saw %d principals", mode, c, renewals, seen.count())
				}
				cancel()
				synctest.Wait()
				if asked := e.asked.Load(); c.leasing {
					pass(10 * time.Minute)
					if e.asked.Load() != asked {
						t.Error("the renewing goes on when the stream has ended")
					}
				}
				seen.reset()
				next.app.take()
			}
			stop()
		}
	})
}

func (w *witness) last() *principal.Principal {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.seen) == 0 {
		return nil
	}
	return w.seen[len(w.seen)-1]
}

func (w *witness) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

func (w *witness) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = nil
}
