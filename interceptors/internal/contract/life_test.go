package contract_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// life is how long a principal of the fixture is accepted: its own five
// minutes, and the skew.
const life = 330 * time.Second

// inBubble runs a test for every stack, protocol and shape of stream, each in a
// bubble of its own: hours pass in milliseconds, and the test fails if it
// leaves a goroutine behind.
func inBubble(t *testing.T, a func() *app, test func(t *testing.T, client *peer, s shape, srv *server)) {
	t.Helper()
	for _, s := range stacks {
		for _, p := range s.protocols {
			for _, sh := range streams {
				t.Run(s.name+"/"+string(p)+"/"+sh.String(), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						guard := guardOf(t, verifierOf(t, "s2", newKeySet()), rules(anyKind()))
						srv := s.start(t, guard, a(), nil)
						test(t, newPeer(t, srv, p, nil), sh, srv)
					})
				})
			}
		}
	}
}

// pass lets time pass, in a bubble.
func pass(d time.Duration) { <-time.After(d) }

// wantEnd checks that a call ends because of its principal.
func wantEnd(t *testing.T, e *exchange) {
	t.Helper()
	_, o, err := e.finish()
	if e.peer.protocol == plainProtocol && e.got != nil && e.got.StatusCode == http.StatusOK {
		if err == nil {
			t.Error("the response looks complete")
		}
		return
	}
	want := outcome{principal.CodeUnauthenticated, "unauthenticated", "time"}
	if err != nil || o != want {
		t.Errorf("the call ended with %+v, %v; want %+v", o, err, want)
	}
}

// wantAge checks how old a stream has become; late is for a handler that looks
// at its stream only now and then.
func wantAge(t *testing.T, start time.Time, late time.Duration) {
	t.Helper()
	if age := time.Since(start); age < life || age > life+late {
		t.Errorf("the stream ended after %v, want %v", age, life)
	}
}

func open(t *testing.T, client *peer, s shape) *exchange {
	t.Helper()
	e, err := client.open(t.Context(), s, http.Header{"X-Principal-Bin": {text(authority(alice("s2")).header("A"))}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	return e
}

// I03: a stream on which nothing happens ends with its principal, and so does
// its handler.
func TestIdleStreamEnds(t *testing.T) {
	t.Parallel()
	idle := func() *app {
		return &app{handle: func(ctx context.Context, s shape, stream messages) error {
			if s == serverStream {
				if _, err := stream.receive(); err != nil {
					return err
				}
				<-ctx.Done()
				return ctx.Err()
			}
			return echo(s, stream)
		}}
	}
	inBubble(t, idle, func(t *testing.T, client *peer, s shape, srv *server) {
		start := time.Now()
		e := open(t, client, s)
		if err := e.send("one"); err != nil {
			t.Fatal(err)
		}
		if s == serverStream {
			e.closeSend()
		}
		if s == bidi {
			if m, err := e.receive(); m != "one" || err != nil {
				t.Fatalf("%q, %v", m, err)
			}
		}
		wantEnd(t, e)
		wantAge(t, start, 0)
		contexts, _, _ := srv.app.take()
		if len(contexts) != 1 || contexts[0].Err() == nil {
			t.Errorf("%d calls; the context of the handler goes on", len(contexts))
		}
	})
}

// I03: neither does a busy stream outlive its principal, whichever side is busy,
// nor one whose handler does not look at its context.
func TestBusyStreamEnds(t *testing.T) {
	t.Parallel()
	busy := func() *app {
		return &app{handle: func(_ context.Context, s shape, stream messages) error {
			if s != serverStream {
				return echo(s, stream)
			}
			for tick := range time.Tick(time.Second) {
				if err := stream.send(tick.String()); err != nil {
					return errors.Join(errors.New("a text of the handler"), err)
				}
			}
			return nil
		}}
	}
	inBubble(t, busy, func(t *testing.T, client *peer, s shape, _ *server) {
		start := time.Now()
		e := open(t, client, s)
		ended := make(chan struct{})
		go func() {
			defer e.closeSend()
			for s == clientStream || s == bidi {
				select {
				case <-time.After(time.Second):
					_ = e.send("again") // fails when the server has stopped reading
				case <-ended:
					return
				}
			}
			_ = e.send("the only one")
		}()
		wantEnd(t, e)
		wantAge(t, start, time.Second)
		close(ended)
	})
}

// A stream that ends before its principal ends as it would without a guard.
func TestStreamThatEndsInTime(t *testing.T) {
	t.Parallel()
	inBubble(t, func() *app { return new(app) }, func(t *testing.T, client *peer, s shape, srv *server) {
		e := open(t, client, s)
		if err := e.send("one"); err != nil {
			t.Fatal(err)
		}
		pass(life - time.Second)
		e.closeSend()
		messages, o, err := e.finish()
		if err != nil || o != (outcome{}) || len(messages) != 1 {
			t.Errorf("%q, %+v, %v", messages, o, err)
		}
		pass(life)
		contexts, _, _ := srv.app.take()
		if cause := context.Cause(contexts[0]); !errors.Is(cause, context.Canceled) {
			t.Errorf("the context ended because of %v", cause)
		}
	})
}

// A handler that asks net/http to cut the connection leaves nothing behind that
// would still look for it when the principal ends.
func TestStreamThatIsCut(t *testing.T) {
	t.Parallel()
	cut := func() *app {
		return &app{handle: func(_ context.Context, _ shape, stream messages) error {
			_, _ = stream.receive()
			panic(http.ErrAbortHandler)
		}}
	}
	inBubble(t, cut, func(t *testing.T, client *peer, s shape, _ *server) {
		e := open(t, client, s)
		if err := e.send("one"); err != nil {
			t.Fatal(err)
		}
		e.closeSend()
		if _, o, err := e.finish(); err == nil && o.code != principal.CodeInternal {
			t.Errorf("the response looks complete: %+v", o)
		}
		pass(2 * life)
	})
}

// An anonymous stream has no principal to end with.
func TestAnonymousStreamGoesOn(t *testing.T) {
	t.Parallel()
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				guard := guardOf(t, verifierOf(t, "s2", newKeySet()), rules(principal.AllowAnonymous()))
				srv := s.start(t, guard, new(app), nil)
				e, err := newPeer(t, srv, s.protocols[0], nil).open(t.Context(), bidi, nil)
				if err != nil {
					t.Fatal(err)
				}
				for range 3 {
					pass(time.Hour)
					if err := e.send("still here"); err != nil {
						t.Fatal(err)
					}
					if m, err := e.receive(); m != "still here" || err != nil {
						t.Fatalf("%q, %v", m, err)
					}
				}
				e.closeSend()
				if _, o, err := e.finish(); o != (outcome{}) || err != nil {
					t.Errorf("%+v, %v", o, err)
				}
			})
		})
	}
}

// I03 over HTTP/1.1, where a read that waits holds up the answer. An interceptor
// of Connect v2 cannot wake it; its package says so.
func TestIdleUploadEndsOverHTTP1(t *testing.T) {
	t.Parallel()
	for _, s := range stacks[2:] {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				guard := guardOf(t, verifierOf(t, "s2", newKeySet()), rules(anyKind()))
				srv := s.start(t, guard, new(app), nil)
				client := newPeer(t, srv, s.protocols[0], nil)
				protocols := new(http.Protocols)
				protocols.SetHTTP1(true)
				client.client.Transport.(*http.Transport).Protocols = protocols
				start := time.Now()
				e := open(t, client, clientStream)
				if err := e.send("one"); err != nil {
					t.Fatal(err)
				}
				wantEnd(t, e)
				wantAge(t, start, 50*time.Millisecond) // for which net/http's client waits for the rest of its upload
			})
		})
	}
}
