package guard_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

// pipe is a stream whose other side the test plays.
type pipe struct {
	in   chan any
	out  chan any
	gone chan struct{} // the transport has ended the stream
}

func newPipe() *pipe { return &pipe{make(chan any), make(chan any), make(chan struct{})} }

func (p *pipe) receive(m any) error {
	select {
	case v, ok := <-p.in:
		if !ok {
			return io.EOF
		}
		if e, failed := v.(error); failed {
			panic(e)
		}
		*m.(*string) = v.(string)
		return nil
	case <-p.gone:
		return errors.New("gone")
	}
}

func (p *pipe) send(m any) error {
	select {
	case p.out <- m:
		return nil
	case <-p.gone:
		return errors.New("gone")
	}
}

// after is a review that ends a life when it is this old.
func after(d time.Duration) func() (time.Duration, principal.Reason) {
	end := time.Now().Add(d)
	return func() (time.Duration, principal.Reason) {
		wait := time.Until(end)
		if wait <= 0 {
			return 0, principal.ReasonTime
		}
		return wait, 0
	}
}

func newGate(t *testing.T, p *pipe) (context.Context, *guard.Gate) {
	t.Helper()
	ctx, life := guard.NewLife(t.Context(), after(time.Minute))
	return ctx, guard.NewGate(life, p.receive, p.send)
}

func TestGatePasses(t *testing.T) {
	t.Parallel()
	p := newPipe()
	ctx, g := newGate(t, p)
	go func() {
		p.in <- "one"
		<-p.out
		close(p.in)
	}()
	var m string
	if err := g.Receive(&m); err != nil || m != "one" {
		t.Fatalf("%q, %v", m, err)
	}
	if err := g.Send("two"); err != nil {
		t.Fatal(err)
	}
	if err := g.Receive(&m); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if reason := g.Close(); reason != 0 || ctx.Err() == nil {
		t.Errorf("reason %v, context %v", reason, ctx.Err())
	}
}

func TestGateEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		end    func(*guard.Gate)
		reason principal.Reason
	}{
		{"with its principal", func(*guard.Gate) { <-time.After(time.Minute) }, principal.ReasonTime},
		{"because of a revocation", func(g *guard.Gate) { g.Terminate(principal.ReasonRevoked); g.Terminate(principal.ReasonStale) }, principal.ReasonRevoked},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPipe()
				ctx, g := newGate(t, p)
				defer close(p.gone)
				start := time.Now()
				go c.end(g)
				var m string
				if err := g.Receive(&m); !errors.Is(err, guard.ErrEnded) {
					t.Errorf("a Receive that waited returned %v", err)
				}
				synctest.Wait()
				if err := g.Receive(&m); !errors.Is(err, guard.ErrEnded) {
					t.Errorf("a later Receive returned %v", err)
				}
				if err := g.Send("x"); !errors.Is(err, guard.ErrEnded) {
					t.Errorf("Send returned %v", err)
				}
				if !errors.Is(context.Cause(ctx), guard.ErrEnded) {
					t.Errorf("the context ended because of %v", context.Cause(ctx))
				}
				if reason := g.Close(); reason != c.reason {
					t.Errorf("reason %v, want %v", reason, c.reason)
				}
				g.Settle()
				if age := time.Since(start); age > time.Minute {
					t.Errorf("it took %v", age)
				}
			})
		})
	}
}

// A message that arrives as the stream ends is not handed out: the handler may
// not act on it any more.
func TestGateKeepsWhatComesTooLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, life := guard.NewLife(t.Context(), after(time.Minute))
		g := guard.NewGate(life, func(any) error {
			life.Terminate(principal.ReasonRevoked)
			return nil
		}, nil)
		if err := g.Receive(new(string)); !errors.Is(err, guard.ErrEnded) {
			t.Error(err)
		}
		_ = ctx
		g.Close()
	})
}

// The end of a stream is written when nobody else is writing.
func TestGateSettles(t *testing.T) {
	t.Parallel()
	_, life := guard.NewLife(t.Context(), after(time.Hour))
	sending, proceed := make(chan struct{}), make(chan struct{})
	var sent atomic.Bool
	g := guard.NewGate(life, nil, func(any) error {
		close(sending)
		<-proceed
		sent.Store(true)
		return nil
	})
	go func() { _ = g.Send("slow") }()
	<-sending
	g.Terminate(principal.ReasonRevoked)
	g.Close()
	settled := make(chan bool)
	go func() {
		g.Settle()
		settled <- sent.Load()
	}()
	close(proceed)
	if !<-settled {
		t.Error("Settle has not waited for a Send")
	}
}

// A panic below the gate reaches the handler's goroutine, where it can be
// stopped, and not the one that nobody looks after.
func TestGatePanic(t *testing.T) {
	t.Parallel()
	p := newPipe()
	_, g := newGate(t, p)
	defer g.Close()
	defer func() {
		if v := recover(); v == nil {
			t.Error("the panic was lost")
		}
	}()
	go func() { p.in <- errors.New("a codec fails") }()
	_ = g.Receive(new(string))
}

func TestLifeOnEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		act  func(l *guard.Life, onEnd func())
		want int
	}{
		{"before", func(l *guard.Life, onEnd func()) { l.OnEnd(onEnd); l.Terminate(principal.ReasonRevoked) }, 1},
		{"after", func(l *guard.Life, onEnd func()) { l.Terminate(principal.ReasonRevoked); l.OnEnd(onEnd) }, 1},
		{"closed", func(l *guard.Life, onEnd func()) {
			l.OnEnd(onEnd)
			l.Close()
			l.Terminate(principal.ReasonRevoked)
			l.OnEnd(onEnd)
		}, 0},
	} {
		_, life := guard.NewLife(t.Context(), after(time.Hour))
		called := 0
		if c.act(life, func() { called++ }); called != c.want {
			t.Errorf("%s: called %d times, want %d", c.name, called, c.want)
		}
		life.Close()
	}
}

// A call whose handler hands it on just when it ends is closed all the same.
func TestDetachAfterTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		iss := principaltest.NewIssuer(t)
		told := make(observer, 8)
		g := iss.Guard("orders", (&principal.Rules{}).WithMethod("/a.B/C", principal.AllowAnonymous()), principal.WithObserver(told))
		a, err := g.Admit(t.Context(), principal.Call{Procedure: "/a.B/C", Values: []string{iss.Header("orders", principaltest.Human())}})
		if err != nil {
			t.Fatal(err)
		}
		_, life, _ := guard.Begin(&a, true)
		life.Terminate(principal.ReasonRevoked)
		life.Detach()
		synctest.Wait()
		if len(told) != 2 || <-told != principal.Allowed || <-told != principal.Ended {
			t.Error("the end was not told")
		}
	})
}

type observer chan principal.Decision

func (o observer) Observe(_ context.Context, e *principal.Event) { o <- e.Decision }

func BenchmarkGate(b *testing.B) {
	nothing := func(any) error { return nil }
	_, life := guard.NewLife(b.Context(), after(time.Hour))
	g := guard.NewGate(life, nothing, nothing)
	defer g.Close()
	for _, c := range []struct {
		name string
		do   func(any) error
	}{{"Receive", g.Receive}, {"Send", g.Send}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.do(nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
