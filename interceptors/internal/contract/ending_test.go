package contract_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// shifty revocations say something else each time they are asked.
type shifty struct {
	generation atomic.Uint64
	check      func(times int) principal.Reason
	asked      atomic.Int64
	changed    func()
}

func (s *shifty) Generation() uint64 { return s.generation.Add(1) }

func (s *shifty) Check(*principal.Principal, bool) principal.Reason {
	return s.check(int(s.asked.Add(1)))
}

func (*shifty) Age(time.Time) (unheard, age time.Duration) { return 0, 0 }

func (s *shifty) OnChange(f func()) { s.changed = f }

// R05: a revocation that arrives between the check and the handler is seen
// before the handler runs.
func TestRevocationBetweenCheckAndUse(t *testing.T) {
	t.Parallel()
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for _, p := range s.protocols {
				for _, sh := range shapes {
					events := new(record)
					source := &shifty{check: func(times int) principal.Reason {
						if times == 1 {
							return 0
						}
						return principal.ReasonRevoked
					}}
					v := verifierOf(t, "s2", newKeySet(), principal.WithRevocations(source))
					srv := s.start(t, guardOf(t, v, rules(anyKind()), principal.WithObserver(events)), new(app), nil)
					_, o, err := newPeer(t, srv, p, nil).call(t.Context(), sh, http.Header{"X-Principal-Bin": {text(relayed())}})
					if want := (outcome{principal.CodeUnauthenticated, "unauthenticated", "revoked"}); err != nil || o != want {
						t.Errorf("%s %s: %+v, %v", p, sh, o, err)
					}
					if contexts, _, _ := srv.app.take(); len(contexts) != 0 {
						t.Errorf("%s %s: the handler ran", p, sh)
					}
					if got := events.take(); len(got) != 2 || got[1].Decision != principal.Ended {
						t.Errorf("%s %s: %+v", p, sh, got)
					}
				}
			}
		})
	}
}

// I09: a defect of the revocations, wherever it shows, ends the call that it
// concerns and nothing else.
func TestPanicInRevocations(t *testing.T) {
	t.Parallel()
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var broken atomic.Bool
				source := &shifty{check: func(int) principal.Reason {
					if broken.Load() {
						panic("check")
					}
					return 0
				}}
				v := verifierOf(t, "s2", newKeySet(), principal.WithRevocations(source))
				srv := s.start(t, guardOf(t, v, rules(anyKind())), new(stubborn).app(), nil)
				client := newPeer(t, srv, s.protocols[0], nil)
				e, err := client.open(t.Context(), bidi, http.Header{"X-Principal-Bin": {text(relayed())}})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(e.close)
				if err := e.send("one"); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				broken.Store(true)
				source.changed()
				want := outcome{principal.CodeInternal, "internal error", "internal"}
				if _, o, err := e.finish(); err != nil || o != want {
					t.Errorf("%+v, %v", o, err)
				}
				if _, o, err := client.call(t.Context(), unary, http.Header{"X-Principal-Bin": {text(relayed(bob))}}); err != nil || o != want {
					t.Errorf("%+v, %v", o, err)
				}
			})
		})
	}
}

// What an ended handler leaves in headers, trailers and details of its error
// reaches nobody, nor can it begin to answer.
func TestLegacyOfEndedHandler(t *testing.T) {
	t.Parallel()
	const secret = "what the handler knows"
	leave := func(ctx context.Context, _ shape, stream messages) error {
		set := func(when string) {
			_ = grpc.SetTrailer(ctx, metadata.Pairs("x-left-"+when, secret))
			if m, ok := stream.(grpcMessages); ok {
				m.SetTrailer(metadata.Pairs("x-left-too-"+when, secret))
			}
			if info, ok := connect.CallInfoForServerContext(ctx); ok {
				info.ResponseHeader().Set("X-Left-"+when, secret)
				info.ResponseTrailer().Set("X-Left-"+when, secret)
			}
		}
		if _, err := stream.receive(); err != nil {
			return err
		}
		set("before")
		<-ctx.Done()
		set("after")
		if err := grpc.SetHeader(ctx, metadata.Pairs("x-left", secret)); err == nil {
			return errors.New("SetHeader works")
		}
		if err := grpc.SendHeader(ctx, metadata.Pairs("x-left", secret)); err == nil {
			return errors.New("SendHeader works")
		}
		if m, ok := stream.(grpcMessages); ok {
			if err := errors.Join(m.SetHeader(metadata.Pairs("x-left", secret)), m.SendHeader(nil)); status.Code(err) != codes.Unauthenticated {
				return err
			}
		}
		return connect.NewError(connect.CodeAborted, secret)
	}
	eachScene(t, anyKind(), func() *app { return &app{handle: leave} }, func(t *testing.T, s *scene) {
		if s.stack.name != "grpc-go" && s.stack.name != "connect-v2" {
			return
		}
		e := s.open(t)
		s.feed.revoke(sessionOf("session-of-alice"))
		s.ends(t, e, principal.ReasonRevoked)
		for _, h := range []http.Header{e.got.Header, e.got.Trailer} {
			for name := range h {
				if len(name) > 6 && name[:6] == "X-Left" {
					t.Errorf("the caller got %s", name)
				}
			}
		}
	})
}

// A trailer of a call that ends by itself arrives.
func TestTrailerOfCall(t *testing.T) {
	t.Parallel()
	leave := func(ctx context.Context, s shape, stream messages) error {
		if m, ok := stream.(grpcMessages); ok {
			m.SetTrailer(metadata.Pairs("x-one", "1"))
		}
		return errors.Join(grpc.SetTrailer(ctx, metadata.Pairs("x-two", "2")), echo(s, stream))
	}
	eachScene(t, anyKind(), func() *app { return &app{handle: leave} }, func(t *testing.T, s *scene) {
		if s.stack.name != "grpc-go" {
			return
		}
		e := s.open(t)
		e.closeSend()
		if _, o, err := e.finish(); err != nil || o != (outcome{}) {
			t.Fatalf("%+v, %v", o, err)
		}
		if s.shape != unary && e.got.Trailer.Get("X-One") != "1" || e.got.Trailer.Get("X-Two") != "2" {
			t.Errorf("trailers %v", e.got.Trailer)
		}
	})
}

// Calls that come and go while things are revoked all end, each for its own
// reason, and nothing is left behind.
func TestRevocationsDuringCalls(t *testing.T) {
	t.Parallel()
	for _, s := range stacks[:3] {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			f := newFeed(t)
			v := verifierOf(t, "s2", newKeySet(), principal.WithRevocations(f))
			srv := s.start(t, guardOf(t, v, rules(anyKind())), new(app), nil)
			client := newPeer(t, srv, grpcProtocol, nil)
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
						f.revoke(sessionOf(fmt.Sprintf("session %08d", n)))
					}
				}
			}()
			for n := range 200 {
				sh := shapes[n%len(shapes)]
				if _, o, err := client.call(t.Context(), sh, http.Header{"X-Principal-Bin": {text(authority(alice("s2", sequenced)).header("A"))}}); err != nil || o != (outcome{}) {
					t.Fatalf("%s: %+v, %v", sh, o, err)
				}
			}
			close(stop)
			<-stopped
		})
	}
}
