package guard

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
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
	parent context.Context //nolint:containedctx // a life is a context too: see lifeContext
	inner  atomic.Pointer[cancellable]
	hold   principal.Hold
	review func() (wait time.Duration, reason principal.Reason)
	ended  atomic.Bool // by Terminate or Close
	reason atomic.Uint32

	mu       sync.Mutex
	timer    *time.Timer
	over     bool // nothing ends it any more
	closed   bool
	detached bool // nobody will close it
	onEnd    []func()
}

// NewLife begins a life that goes on for as long as review has no reason to end
// it; it is asked at once, and again after the times that it says, if those are
// above 0. Without one the life ends only if it is ended. The context that it
// returns ends with it.
func NewLife(ctx context.Context, review func() (wait time.Duration, reason principal.Reason)) (context.Context, *Life) {
	l := &Life{parent: ctx, review: review}
	l.look()
	return (*lifeContext)(l), l
}

// Begin begins the life of a call that was let in, and that ends at the latest
// when its principal is revoked; a stream also when its principal, or what its
// rule has in its place, ends. The life of a call that nothing ends is nil, and
// so is that of a unary call where nothing can be revoked. A reason means that
// it is over before it has begun: the handler must not run.
func Begin(a *principal.Admission, stream bool) (context.Context, *Life, principal.Reason) {
	if !stream && !a.Revocable() {
		return a.Context, nil, 0
	}
	l := &Life{parent: a.Context}
	if !a.Hold(&l.hold, l) {
		return a.Context, nil, 0
	}
	if stream {
		l.review = l.hold.Review
		l.look()
	}
	if l.Ended() {
		return a.Context, nil, l.Close()
	}
	return (*lifeContext)(l), l, 0
}

// Lease returns the id of the stream's lease, which its caller is to be told, or
// "" if it has not asked for one. It is called once.
func (l *Life) Lease() string { return l.hold.Lease() }

// look asks whether the life goes on.
func (l *Life) look() {
	if l.review == nil {
		return
	}
	wait, reason := l.review()
	if reason != 0 {
		l.Terminate(reason)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.over || wait <= 0:
	case l.timer == nil:
		l.timer = time.AfterFunc(wait, l.look)
	default:
		l.timer.Reset(wait)
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
	case l.Reason() != 0:
		f()
	}
}

// Terminate implements [principal.Ender]. It ends the life now: reason is what
// the caller is told. A life that is over stays as it is.
func (l *Life) Terminate(reason principal.Reason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.over = true
	l.reason.Store(uint32(reason))
	l.ended.Store(true)
	l.cancellable().cancel(ErrEnded)
	for _, f := range l.onEnd {
		f()
	}
	if l.detached {
		go l.Close() // apart from who reviews others too
	}
}

// Finish says that the call's answer is on its way: from now on nothing ends
// it. It reports false if the life is over already.
func (l *Life) Finish() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Ended() {
		return false
	}
	l.over = true
	return true
}

// Detach says that the call goes on without its handler, so that the end of the
// life closes it, at once if it has been ended.
func (l *Life) Detach() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.detached = true
	if l.Reason() != 0 {
		go l.Close()
	}
}

// Close is called when the handler has returned, and may be called again. It
// returns why the life was ended before, or 0. A nil life was not.
func (l *Life) Close() principal.Reason {
	if l == nil {
		return 0
	}
	reason, first := l.close()
	if first {
		l.hold.Release(l.parent, reason)
	}
	return reason
}

func (l *Life) close() (reason principal.Reason, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.ended.Store(true)
	if l.timer != nil {
		l.timer.Stop()
	}
	first = !l.closed
	l.closed = true
	if c := l.inner.Load(); c != nil {
		c.cancel(nil)
	}
	return l.Reason(), first
}

// Ended reports whether the life is over: ended or closed.
func (l *Life) Ended() bool { return l.ended.Load() }

// Reason returns why the life was ended, or 0.
func (l *Life) Reason() principal.Reason { return principal.Reason(l.reason.Load()) }

// Code returns what the caller of a life that was ended is told.
func (l *Life) Code() principal.Code {
	if reason := l.Reason(); reason != 0 {
		return reason.Code()
	}
	return principal.CodeUnauthenticated // closed: only what the handler has left behind asks
}
