package store

import (
	"context"
	"sync"
	"time"
)

const (
	pulsePrefix = "pulse."
	// pulseLife is after which time the last pulse of a process that is gone is
	// forgotten.
	pulseLife = time.Hour
)

// pulses has callers of a moment share a write.
type pulses struct {
	mu      sync.Mutex
	next    *pulse // has not begun; nil if nobody waits for one
	running bool
}

type pulse struct {
	done     chan struct{}
	sequence uint64
	err      error
}

// Pulse makes a durable write and returns its sequence: who has followed the
// store up to there has seen everything that was acknowledged, to anybody,
// before the call. Callers share a write, but only one that began after they
// asked.
func (s *Store) Pulse(ctx context.Context) (sequence uint64, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	p := s.join()
	select {
	case <-p.done:
		return p.sequence, p.err
	case <-ctx.Done():
		return 0, s.unavailable(context.Cause(ctx))
	}
}

func (s *Store) join() *pulse {
	s.pulses.mu.Lock()
	defer s.pulses.mu.Unlock()
	if s.pulses.next == nil {
		s.pulses.next = &pulse{done: make(chan struct{})}
	}
	if !s.pulses.running {
		s.pulses.running = true
		go s.pulsate()
	}
	return s.pulses.next
}

// pulsate writes one pulse after the other while somebody waits.
func (s *Store) pulsate() {
	for {
		s.pulses.mu.Lock()
		p := s.pulses.next
		s.pulses.next = nil
		s.pulses.running = p != nil
		s.pulses.mu.Unlock()
		if p == nil {
			return
		}
		// The write is for many, and ends for none of them alone.
		ctx, cancel := bounded(context.Background())
		p.sequence, p.err = s.write(ctx, write{key: s.pulseKey, pulse: true, keep: s.now().Add(s.settings.tuning.pulseLife)})
		cancel()
		close(p.done)
	}
}
