package guard_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
	"github.com/onbehalf-dev/onbehalf/principal"
)

type key struct{}

// The context of a life is like any other: for who waits for it, for those made
// of it before and after, and whatever of it ends first.
func TestContextOfLife(t *testing.T) {
	t.Parallel()
	mine := errors.New("mine")
	for _, c := range []struct {
		name  string
		end   func(l *guard.Life, parent context.CancelCauseFunc)
		err   error
		cause error
	}{
		{"goes on", func(*guard.Life, context.CancelCauseFunc) {}, nil, nil},
		{"ended", func(l *guard.Life, _ context.CancelCauseFunc) { l.Terminate(principal.ReasonRevoked) }, context.Canceled, guard.ErrEnded},
		{"closed", func(l *guard.Life, _ context.CancelCauseFunc) { l.Close() }, context.Canceled, context.Canceled},
		{"ended and closed", func(l *guard.Life, _ context.CancelCauseFunc) { l.Terminate(principal.ReasonRevoked); l.Close() }, context.Canceled, guard.ErrEnded},
		{"parent ended", func(_ *guard.Life, parent context.CancelCauseFunc) { parent(mine) }, context.Canceled, mine},
		{"parent and then life", func(l *guard.Life, parent context.CancelCauseFunc) {
			parent(mine)
			l.Terminate(principal.ReasonRevoked)
		}, context.Canceled, mine},
	} {
		for _, watched := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, watched before: %v", c.name, watched), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					parent, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
					defer cancel(nil)
					ctx, life := guard.NewLife(parent, nil)
					defer life.Close()
					all := []context.Context{ctx}
					if watched {
						child, stop := context.WithTimeout(ctx, time.Hour)
						defer stop()
						all = append(all, child, context.WithValue(child, key{}, "value"))
					}
					c.end(life, cancel)
					child, stop := context.WithCancel(ctx)
					defer stop()
					after := make(chan struct{})
					defer context.AfterFunc(ctx, func() { close(after) })()
					for n, ctx := range append(all, child) {
						select {
						case <-ctx.Done():
							if c.err == nil {
								t.Errorf("%d has ended", n)
							}
						default:
							if c.err != nil {
								t.Errorf("%d has not ended", n)
							}
						}
						if !errors.Is(ctx.Err(), c.err) || !errors.Is(context.Cause(ctx), c.cause) || ctx.Value(key{}) != "value" {
							t.Errorf("%d: %v because of %v, with %v", n, ctx.Err(), context.Cause(ctx), ctx.Value(key{}))
						}
					}
					if c.err != nil {
						<-after
					}
				})
			})
		}
	}
}

func TestContextOfLifeInherits(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(time.Hour)
	parent, cancel := context.WithDeadline(t.Context(), end)
	defer cancel()
	ctx, life := guard.NewLife(parent, nil)
	defer life.Close()
	if got, ok := ctx.Deadline(); !ok || !got.Equal(end) {
		t.Error(got)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if got := fmt.Sprintf(verb, ctx); got != "guard.lifeContext" {
			t.Errorf("%s: %s", verb, got)
		}
	}
}

// An answer that is on its way is not taken back, and one that comes too late is
// not sent.
func TestFinish(t *testing.T) {
	t.Parallel()
	_, first := guard.NewLife(t.Context(), nil)
	if !first.Finish() {
		t.Error("the life goes on, and may not be finished")
	}
	first.Terminate(principal.ReasonRevoked)
	if reason := first.Close(); reason != 0 {
		t.Error(reason)
	}
	if first.Finish() {
		t.Error("a closed life was finished")
	}
	_, second := guard.NewLife(t.Context(), nil)
	second.Terminate(principal.ReasonStale)
	if second.Finish() || second.Code() != principal.CodeUnavailable {
		t.Error("an ended life was finished")
	}
	second.Close()
}
