package bff

import "sync/atomic"

// reserve is which part of all places is for requests with a credential that is
// known: one in reserve. A flood of others does not take them.
const reserve = 5

// places are those of the requests that may be under way. A nil one has no limit.
type places struct {
	all, open int64 // open are for everybody
	taken     atomic.Int64
}

func newPlaces(all, reserved int) *places {
	return &places{all: int64(all), open: int64(all - reserved)}
}

// take reports whether there is a place, for which [places.leave] is called in
// the end. It asks whether the request is known only if that matters.
func (p *places) take(known func() bool) bool {
	return p == nil || p.below(p.open) || p.open < p.all && known() && p.below(p.all)
}

// below takes a place if fewer than most are taken. What does not get one is
// never counted: it would take the place of others while it is answered.
func (p *places) below(most int64) bool {
	for {
		n := p.taken.Load()
		if n >= most {
			return false
		}
		if p.taken.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (p *places) leave() {
	if p != nil {
		p.taken.Add(-1)
	}
}
