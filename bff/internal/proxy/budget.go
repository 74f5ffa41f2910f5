package proxy

import (
	"sync"
	"time"
)

const (
	budgetSeconds = 10
	// One in budgetShare of the requests of the last seconds may be repeated, and
	// budgetLeast in any case.
	budgetShare = 5
	budgetLeast = 3
)

// budget bounds how many requests are repeated, so that an outage does not bring
// its upstream twice the load. The zero value is usable.
type budget struct {
	mu      sync.Mutex
	seconds [budgetSeconds]struct{ at, requests, repeats int64 }
}

func (b *budget) request(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.second(now).requests++
}

// repeat reports whether one more may be repeated, and counts it if so.
func (b *budget) repeat(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	second := b.second(now)
	var requests, repeats int64
	for _, s := range b.seconds {
		if now.Unix()-s.at < budgetSeconds {
			requests, repeats = requests+s.requests, repeats+s.repeats
		}
	}
	if repeats >= max(budgetLeast, requests/budgetShare) {
		return false
	}
	second.repeats++
	return true
}

func (b *budget) second(now time.Time) *struct{ at, requests, repeats int64 } {
	s := &b.seconds[now.Unix()%budgetSeconds]
	if s.at != now.Unix() {
		*s = struct{ at, requests, repeats int64 }{at: now.Unix()}
	}
	return s
}
