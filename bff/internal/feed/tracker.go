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
}

type place struct{ service, instance string }

func newTracker(most int, now func() time.Time) *tracker {
	return &tracker{most: most, now: now, watchers: make(map[place]*watcher)}
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
	case len(t.watchers) >= t.most && !t.makeRoom(w):
		return errFull
	}
	w.since, w.reportedAt = t.now(), t.now()
	t.watchers[w.place()] = w
	return nil
}

// makeRoom ends a Watch of the service that has the most, if that has clearly more
// than the one that w is of: one service must not keep all others out. Those
// without a certificate go first.
func (t *tracker) makeRoom(w *watcher) bool {
	count := make(map[string]int)
	for _, one := range t.watchers {
		count[one.service]++
	}
	var victim *watcher
	for _, one := range t.watchers {
		switch {
		case one.verified && !w.verified, count[one.service] <= count[w.service]+1 && (one.verified || !w.verified):
		case victim == nil, victim.verified && !one.verified, victim.verified == one.verified && count[one.service] > count[victim.service]:
			victim = one
		}
	}
	if victim == nil {
		return false
	}
	victim.cancel(errFull)
	delete(t.watchers, victim.place())
	return true
}

func (t *tracker) leave(w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.watchers[w.place()] == w {
		delete(t.watchers, w.place())
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
	w.reported, w.reportedAt = max(w.reported, min(sequence, w.sent)), t.now()
	return nil
}

// missing returns how many have not said that they are at a sequence.
func (t *tracker) missing(sequence uint64) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.watchers {
		if w.reported < sequence {
			n++
		}
	}
	return n
}

// count returns how many follow.
func (t *tracker) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.watchers)
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
