package state

import (
	"slices"
	"sort"
	"time"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
)

const (
	// loggedEvents bounds the log. Who is further behind needs a snapshot.
	loggedEvents = 65_536
	// eventsAtOnce is how many one Since returns.
	eventsAtOnce = 1024
)

// events is the log of what those who follow have to be told, in the order of
// the store. It is guarded by the state's lock. Events are never changed.
type events struct {
	start   uint64 // what happened up to here is not in the log
	settled uint64 // the last event up to start
	list    []logged
	next    chan struct{} // closed when there is an event
}

type logged struct {
	*trustv1.Event
	at time.Time
}

func (l *events) restart(last, start uint64) {
	l.start, l.settled, l.list = start, last, nil
	l.wake()
}

func (l *events) wake() {
	close(l.next)
	l.next = make(chan struct{})
}

func (l *events) add(e *trustv1.Event, at time.Time) {
	e.Previous = l.start
	if n := len(l.list); n > 0 {
		e.Previous = l.list[n-1].GetSequence()
	}
	l.list = append(l.list, logged{Event: e, at: at})
	l.trim(len(l.list) - loggedEvents)
	l.wake()
}

func (l *events) trim(n int) {
	if n > 0 {
		l.start = l.list[n-1].GetSequence()
		l.settled = l.start
		l.list = l.list[n:]
	}
}

// forget drops events that are as old as those that snapshots do not tell of.
func (l *events) forget(now time.Time) {
	n := 0
	for n < len(l.list) && now.Sub(l.list[n].at) >= told {
		n++
	}
	if l.trim(n); n > 0 {
		l.list = slices.Clone(l.list)
	}
}

// after returns where in the list the first event after a sequence is.
func (l *events) after(sequence uint64) int {
	return sort.Search(len(l.list), func(i int) bool { return l.list[i].GetSequence() > sequence })
}

// Since returns what happened after a sequence, which may be nothing: the events
// in their order, up to where they tell everything, and a channel that is closed
// when there is more. They are shared and must not be changed. It is not ok if
// the log does not reach back to the sequence, or has not come to it: whoever
// asks then needs a [Snapshot].
func (s *State) Since(sequence uint64) (list []*trustv1.Event, head uint64, next <-chan struct{}, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	l := &s.events
	if sequence < l.start || sequence > s.sequence || sequence == 0 {
		return nil, 0, l.next, false
	}
	pending := l.list[l.after(sequence):]
	head, next = s.sequence, l.next
	if len(pending) > eventsAtOnce {
		pending = pending[:eventsAtOnce]
		head, next = pending[eventsAtOnce-1].GetSequence(), closed
	}
	for _, e := range pending {
		list = append(list, e.Event)
	}
	return list, head, next, true
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Settled returns the sequence of the last event up to a sequence: who knows
// everything up to that one misses nothing. It returns the sequence itself where
// that is not known.
func (s *State) Settled(sequence uint64) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	l := &s.events
	switch i := l.after(sequence); {
	case sequence > s.sequence || sequence < l.settled:
		return sequence
	case i > 0:
		return l.list[i-1].GetSequence()
	default:
		return l.settled
	}
}

// MissedSince returns when the first event happened that somebody who knows
// everything up to a sequence does not know; ok is false if there is none, and
// the time is zero if that is too long ago to be known.
func (s *State) MissedSince(sequence uint64) (at time.Time, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	l := &s.events
	switch i := l.after(sequence); {
	case sequence < l.settled:
		return time.Time{}, true
	case i < len(l.list):
		return l.list[i].at, true
	default:
		return time.Time{}, false
	}
}
