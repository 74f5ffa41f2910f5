package audit

import (
	"sync"
	"sync/atomic"
	"time"
)

// floodEvery is for how long a number of records is allowed, of each reason.
const floodEvery = time.Second

// flood keeps back records that say the same. What it kept back when nothing is
// recorded any more, for hours perhaps, is written when the log is closed.
type flood struct {
	refusals int // records a second; 0 is no limit
	held     atomic.Int64

	mu   sync.Mutex
	tide map[Reason]*tide
}

// tide is what there is of one reason.
type tide struct {
	begun   time.Time
	written int     // since then
	last    *Record // that was kept back, or nil
	held    int
}

// over reports whether there may be a record again. Requests are not recorded in
// the order in which they began; a time that is far too early is of a clock that
// was set back.
func (t *tide) over(now time.Time) bool {
	return now.Sub(t.begun).Abs() >= floodEvery
}

// most returns how many records a second there are of r's reason, 0 if all. Only
// what costs its sender next to nothing is limited: refusals of somebody who is
// not known.
func (f *flood) most(r *Record) int {
	switch r.Reason {
	case ReasonOverload, ReasonLimited:
		return 1
	case ReasonTarget, ReasonRoute, ReasonMissing, ReasonCredential:
		return f.refusals
	default:
		return 0
	}
}

// takes reports whether r has been kept back. If not it is to be written.
func (f *flood) takes(r *Record) bool {
	most := f.most(r)
	if most == 0 {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.tide[r.Reason]
	if t == nil {
		if f.tide == nil {
			f.tide = make(map[Reason]*tide)
		}
		t = new(tide)
		f.tide[r.Reason] = t
	}
	if t.over(r.Time) {
		t.begun, t.written = r.Time, 0
	}
	if t.written < most {
		t.written++
		return false
	}
	own := *r
	t.last = &own
	t.held++
	f.held.Add(1)
	return true
}

// due returns what has been kept back for long enough.
func (f *flood) due(now time.Time) []*Record {
	if f.held.Load() == 0 {
		return nil
	}
	return f.collect(func(t *tide) bool { return t.over(now) })
}

func (f *flood) rest() []*Record {
	return f.collect(func(*tide) bool { return true })
}

// collect returns the last record of each reason that is wanted, for all that
// were kept back.
func (f *flood) collect(want func(*tide) bool) []*Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []*Record
	for _, t := range f.tide {
		if t.held > 0 && want(t) {
			t.last.Omitted = t.held - 1
			list = append(list, t.last)
			f.held.Add(-int64(t.held))
			t.begun, t.written, t.last, t.held = t.last.Time, 1, nil, 0
		}
	}
	return list
}
