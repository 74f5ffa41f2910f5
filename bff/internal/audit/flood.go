package audit

import (
	"sync"
	"sync/atomic"
	"time"
)

// floodEvery is for how long a number of records is allowed, of each reason.
const floodEvery = time.Second

// flood keeps back records that say the same: those of one key. What it kept back
// when nothing is recorded any more, for hours perhaps, is written when the log is
// closed. The zero value is one.
type flood[R any] struct {
	held atomic.Int64

	mu   sync.Mutex
	tide map[string]*tide[R]
}

// tide is what there is of one key.
type tide[R any] struct {
	begun   time.Time
	written int // since then
	held    int
	last    R // that was kept back, and when that was
	lastAt  time.Time
}

// over reports whether there may be a record again. A time that is far too early
// is of a clock that was set back.
func (t *tide[R]) over(now time.Time) bool {
	return now.Sub(t.begun).Abs() >= floodEvery
}

// summary is a record that stands for others too.
type summary[R any] struct {
	last    R
	omitted int // others
}

// takes reports whether r has been kept back. If not it is to be written. most is
// how many records a second there are of the key; 0 is all. A record's time is when
// it is written: between the times at which requests began lies whatever they took,
// and one refusal that has waited for a slow issuer would look like one of another
// second.
func (f *flood[R]) takes(key string, most int, now time.Time, r *R) bool {
	if most == 0 {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.tide[key]
	if t == nil {
		if f.tide == nil {
			f.tide = make(map[string]*tide[R])
		}
		t = new(tide[R])
		f.tide[key] = t
	}
	if t.over(now) {
		t.begun, t.written = now, 0
	}
	if t.written < most {
		t.written++
		return false
	}
	t.last, t.lastAt = *r, now
	t.held++
	f.held.Add(1)
	return true
}

// due returns what has been kept back for long enough.
func (f *flood[R]) due(now time.Time) []summary[R] {
	if f.held.Load() == 0 {
		return nil
	}
	return f.collect(func(t *tide[R]) bool { return t.over(now) })
}

func (f *flood[R]) rest() []summary[R] {
	return f.collect(func(*tide[R]) bool { return true })
}

// collect returns the last record of each key that is wanted, for all that were
// kept back.
func (f *flood[R]) collect(want func(*tide[R]) bool) []summary[R] {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []summary[R]
	for key, t := range f.tide {
		if t.held > 0 && want(t) {
			list = append(list, summary[R]{t.last, t.held - 1})
			f.held.Add(-int64(t.held))
			f.tide[key] = &tide[R]{begun: t.lastAt, written: 1}
		}
	}
	return list
}

// most returns how many records a second there are of r's reason, 0 if all. Only
// what costs its sender next to nothing is limited: answers of the edge to
// somebody who is not known.
func (l *Log) most(r *Record) int {
	if r.Decision == WouldRefuse { // it went on, as one that is allowed
		return 0
	}
	switch r.Reason {
	case ReasonOverload, ReasonLimited:
		return 1
	case ReasonTarget, ReasonRoute, ReasonMissing, ReasonCredential, ReasonPreflight, ReasonOrigin:
		return l.refusals
	default:
		return 0
	}
}

// mostEvents is the same for what happens to the edge itself: anybody who reaches
// the mesh listener can ask for a key.
func (l *Log) mostEvents(e *Event) int {
	if e.Action == ActionEnroll && e.Decision == Refused {
		return l.refusals
	}
	return 0
}
