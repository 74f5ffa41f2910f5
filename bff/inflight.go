package bff

import "sync"

// inflight counts requests. Unlike a [sync.WaitGroup] it can be waited for while
// requests still begin, and then lets no more begin. The zero value is usable.
type inflight struct {
	mu      sync.Mutex
	count   int
	stopped bool
	idle    chan struct{}
}

func (f *inflight) begin() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return false
	}
	f.count++
	return true
}

func (f *inflight) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count--; f.count == 0 && f.stopped {
		close(f.idle)
	}
}

// stop returns what is closed when all requests have ended. It is called once.
func (f *inflight) stop() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped, f.idle = true, make(chan struct{})
	if f.count == 0 {
		close(f.idle)
	}
	return f.idle
}

func (f *inflight) running() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}
