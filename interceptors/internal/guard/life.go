package guard

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// ErrEnded is what a handler gets from a call that was ended, and the cause
// of its context.
var ErrEnded = errors.New("principal: the call has ended with its principal")

// Life is how long one call may go on: until its principal ends, or until
// something ends it earlier. It does not stop the handler, which only returning
// does; it takes away what the handler could still do with the call.
type Life struct {
	done   chan struct{}
	cancel context.CancelCauseFunc
	review func() (again time.Time, reason principal.Reason)
	hold   *principal.Hold

	mu     sync.Mutex
	timer  *time.Timer
	over   bool
	reason principal.Reason
	onEnd  []func()
}

// NewLife begins a life that goes on for as long as review has no reason to end
// it; it is asked at once, and again at the times that it says, by the clock of
// the time package. Without one the life ends only if it is ended. The context
// that it returns ends with it.
func NewLife(ctx context.Context, review func() (again time.Time, reason principal.Reason)) (context.Context, *Life) {
	ctx, cancel := context.WithCancelCause(ctx)
	l := &Life{done: make(chan struct{}), cancel: cancel, review: review}
	l.look()
	return ctx, l
}

// Begin begins the life of a call that was let in, and that ends at the latest
// when its principal is revoked; a stream also when its principal, or what its
// rule has in its place, ends. The life of an anonymous call is nil and never
// ends, and so is that of a unary call where nothing can be revoked.
func Begin(a *principal.Admission, stream bool) (context.Context, *Life) {
	if a.Principal == nil || !stream && !a.Revocable() {
		return a.Context, nil
	}
	ctx, l := NewLife(a.Context, nil)
	hold := a.Hold(l.Terminate)
	l.mu.Lock()
	l.hold = hold
	if stream {
		l.review = hold.Review
	}
	l.mu.Unlock()
	l.look()
	return ctx, l
}

// look asks whether the life goes on.
func (l *Life) look() {
	if l.review == nil {
		return
	}
	again, reason := l.review()
	if reason != 0 {
		l.Terminate(reason)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.over || again.IsZero():
	case l.timer == nil:
		l.timer = time.AfterFunc(time.Until(again), l.look) //nolint:forbidigo // timers have no other clock
	default:
		l.timer.Reset(time.Until(again)) //nolint:forbidigo // as above
	}
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
	if l == nil {
		return 0
	}
	l.hold.Release()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
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
