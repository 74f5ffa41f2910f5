package main

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// tally counts by name.
type tally struct {
	mu    sync.Mutex
	all   map[string]int
	sum   int
	notes []string // of the first few
}

func (t *tally) note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.notes) < 10 {
		t.notes = append(t.notes, fmt.Sprintf(format, args...))
	}
}

func (t *tally) add(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = make(map[string]int)
	}
	t.all[name]++
	t.sum++
}

func (t *tally) total() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sum
}

// histogram counts durations, to an eighth exactly.
type histogram struct{ counts [64 * 8]atomic.Int64 }

func (h *histogram) add(d time.Duration) {
	n := uint64(max(d, 8))
	power := bits.Len64(n) - 1
	h.counts[power*8+int(n>>(power-3))&7].Add(1)
}

// at returns what the share q of all durations is below.
func (h *histogram) at(q float64) time.Duration {
	var sum, below int64
	for i := range h.counts {
		sum += h.counts[i].Load()
	}
	for i := range h.counts {
		if below += h.counts[i].Load(); sum > 0 && float64(below) >= q*float64(sum) {
			return time.Duration(uint64(8+i%8+1) << (i/8 - 3))
		}
	}
	return 0
}

func (h *histogram) count() (n int64) {
	for i := range h.counts {
		n += h.counts[i].Load()
	}
	return n
}
