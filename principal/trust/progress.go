package trust

import (
	"context"
	"sync"
)

// progress is up to where the feed has been applied.
type progress struct {
	mu       sync.Mutex
	sequence uint64
	moved    chan struct{} // closed when it moves; nil while nobody waits
}

func (p *progress) at() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sequence
}

func (p *progress) set(sequence uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sequence = sequence
	if p.moved != nil {
		close(p.moved)
		p.moved = nil
	}
}

// wait waits until everything up to sequence has been applied.
func (p *progress) wait(ctx context.Context, sequence uint64) error {
	for {
		p.mu.Lock()
		if p.sequence >= sequence {
			p.mu.Unlock()
			return nil
		}
		if p.moved == nil {
			p.moved = make(chan struct{})
		}
		moved := p.moved
		p.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
