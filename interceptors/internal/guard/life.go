package guard

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// ErrEnded is what a handler gets from a stream that was ended, and the cause
// of its context.
var ErrEnded = errors.New("principal: the stream has ended with its principal")

// Life is how long one stream may go on: until its principal ends, or until
// something ends it earlier. It does not stop the handler, which only returning
// does; it takes away what the handler could still do with the stream.
type Life struct {
	done   chan struct{}
	cancel context.CancelCauseFunc
	timer  *time.Timer

	mu     sync.Mutex
	over   bool
	reason principal.Reason
	onEnd  []func()
}

// NewLife begins a life that ends at end, by the clock of the time package. The
// context that it returns ends with it.
func NewLife(ctx context.Context, end time.Time) (context.Context, *Life) {
	ctx, cancel := context.WithCancelCause(ctx)
	l := &Life{done: make(chan struct{}), cancel: cancel}
	left := time.Until(end) //nolint:forbidigo // timers have no other clock
	l.timer = time.AfterFunc(left, func() { l.Terminate(principal.ReasonTime) })
	return ctx, l
}

// OnEnd calls f when the life is ended, at once if it has been; not if
// [Life.Close] comes first. f must not block or use l.
func (l *Life) OnEnd(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.over:
		l.onEnd = append(l.onEnd, f)
	case l.reason != 0:
		f()
	}
}

// Terminate ends the life now: reason is what the caller is told. A life that
// is over stays as it is.
func (l *Life) Terminate(reason principal.Reason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.over, l.reason = true, reason
	close(l.done)
	l.cancel(ErrEnded)
	for _, f := range l.onEnd {
		f()
	}
}

// Close is called when the handler has returned, and may be called again. It
// returns why the life was ended before, or 0.
func (l *Life) Close() principal.Reason {
	l.timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.over = true
		close(l.done)
	}
	l.cancel(nil)
	return l.reason
}

// Ended reports whether the life is over.
func (l *Life) Ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}
