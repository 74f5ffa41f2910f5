package proxy

import (
	"fmt"
	"net/http"
	"time"
)

// taking measures for how long a client takes nothing of its answer. It is
// guarded by the exchange's mu.
type taking struct {
	since   time.Time // when the write that is under way began, or zero
	armed   bool
	stop    func() bool
	tooSlow bool
}

// Write implements [io.Writer].
func (g *gate) Write(b []byte) (int, error) {
	g.x.offer()
	defer g.x.taken()
	return g.ResponseWriter.Write(b)
}

// FlushError is what [http.ResponseController] calls. Much of what is written
// goes out, and waits for the client, only here.
func (g *gate) FlushError() error {
	g.x.offer()
	defer g.x.taken()
	if err := http.NewResponseController(g.ResponseWriter).Flush(); err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	return nil
}

func (x *exchange) offer() {
	if x.h.stall == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.taking.since = x.h.now()
	if !x.taking.armed {
		x.armTaking(x.h.stall)
	}
}

func (x *exchange) taken() {
	if x.h.stall == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.taking.since = time.Time{}
}

// armTaking sets the one timer, which looks again later rather than being set for
// each write. The caller holds mu.
func (x *exchange) armTaking(after time.Duration) {
	x.taking.armed = true
	x.taking.stop = x.h.afterFunc(after, x.checkTaking)
}

func (x *exchange) checkTaking() {
	x.mu.Lock()
	defer x.mu.Unlock()
	t := &x.taking
	t.armed = false
	if x.finished || t.since.IsZero() {
		return
	}
	if left := x.h.stall - x.h.now().Sub(t.since); left > 0 {
		x.armTaking(left)
		return
	}
	t.tooSlow = true
	x.cut(errClientGone)
	_ = x.rc.SetWriteDeadline(past) // the write that waits fails
}

// end stops the timer.
func (t *taking) end() {
	if t.armed {
		t.stop()
	}
}
