package feed

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// watcher is an instance of a service that follows the feed.
type watcher struct {
	caller

	instance string
	version  string
	settings []string
	since    time.Time
	joined   uint64
	cancel   context.CancelCauseFunc

	// What it was sent, and what it has applied, as it says.
	sent, reported uint64
	reportedAt     time.Time
}

// tracker knows who follows, and how far everybody is. It is safe for
// concurrent use.
type tracker struct {
	most int
	now  func() time.Time

	mu       sync.Mutex
	watchers map[place]*watcher
	arrivals uint64 // counts those who joined and those who wait
	waiters  map[*waiter]struct{}
}

type place struct{ service, instance string }

// waiter waits for those who had joined before it.
type waiter struct {
	sequence uint64
	begun    uint64
	missing  int
	done     chan struct{}
}

func newTracker(most int, now func() time.Time) *tracker {
	return &tracker{most: most, now: now, watchers: make(map[place]*watcher), waiters: make(map[*waiter]struct{})}
}

func (w *watcher) place() place { return place{w.service, w.instance} }

// join adds w, in the place of an earlier Watch of the same instance. One without
// a certificate does not push aside one with.
func (t *tracker) join(w *watcher) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.watchers[w.place()]
	switch {
	case old != nil && old.verified && !w.verified:
		return errUnverified
	case old != nil:
		old.cancel(errReplaced)
		t.remove(old)
	case len(t.watchers) >= t.most:
		return errFull
	}
	t.arrivals++
	w.joined, w.since, w.reportedAt = t.arrivals, t.now(), t.now()
	t.watchers[w.place()] = w
	return nil
}

func (t *tracker) leave(w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.watchers[w.place()] == w {
		t.remove(w)
	}
}

func (t *tracker) remove(w *watcher) {
	delete(t.watchers, w.place())
	t.advance(w, ^uint64(0))
}

// advance tells those who wait that w is at a sequence, or will not get there.
func (t *tracker) advance(w *watcher, sequence uint64) {
	for wait := range t.waiters {
		if w.joined < wait.begun && w.reported < wait.sequence && sequence >= wait.sequence {
			if wait.missing--; wait.missing == 0 {
				close(wait.done)
				delete(t.waiters, wait)
			}
		}
	}
}

// sending notes what w may say that it has applied.
func (t *tracker) sending(w *watcher, sequence uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w.sent = max(w.sent, sequence)
}

// report notes how far an instance is, as it says: no further than what it was
// sent.
func (t *tracker) report(c caller, instance string, sequence uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.watchers[place{c.service, instance}]
	switch {
	case w == nil:
		return errNotWatching
	case w.verified && !c.verified:
		return errUnverified
	}
	sequence = min(sequence, w.sent)
	if sequence > w.reported {
		t.advance(w, sequence)
		w.reported = sequence
	}
	w.reportedAt = t.now()
	return nil
}

func (t *tracker) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.watchers)
}

func (t *tracker) missing(sequence uint64) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.missingLocked(sequence)
}

func (t *tracker) missingLocked(sequence uint64) (n int) {
	for _, w := range t.watchers {
		if w.reported < sequence {
			n++
		}
	}
	return n
}

// wait waits until all who are there now are at a sequence, or are gone.
func (t *tracker) wait(ctx context.Context, sequence uint64) error {
	t.mu.Lock()
	t.arrivals++
	w := &waiter{sequence: sequence, begun: t.arrivals, missing: t.missingLocked(sequence), done: make(chan struct{})}
	if w.missing == 0 {
		t.mu.Unlock()
		return nil
	}
	t.waiters[w] = struct{}{}
	t.mu.Unlock()
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.waiters, w)
		return context.Cause(ctx)
	}
}

// all returns copies, by service and instance.
func (t *tracker) all() []watcher {
	t.mu.Lock()
	list := make([]watcher, 0, len(t.watchers))
	for _, w := range t.watchers {
		list = append(list, *w)
	}
	t.mu.Unlock()
	slices.SortFunc(list, func(a, b watcher) int {
		return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.instance, b.instance))
	})
	return list
}
