package feed

import (
	"context"
	"net"
	"sync"
	"time"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
)

const (
	// confirmsPerSecond bounds what one caller, or all without a certificate at
	// one address, can have the store write. Callers ask once for all that is under
	// way, and the store writes once for all callers.
	confirmsPerSecond = 1000
	maxCallers        = 10_000
)

// Confirm is part of the RPC service. It answers with the sequence of the last
// event: what the store has counted since then concerns no watcher, so that it
// does not have to be told in a hurry.
func (s service) Confirm(ctx context.Context, _ *trustv1.ConfirmRequest) (*trustv1.ConfirmResponse, error) {
	c, err := s.peer(ctx)
	if err != nil {
		return nil, err
	}
	if !s.confirms.allow(c.limited(), s.o.Now()) {
		return nil, errOften
	}
	sequence, err := s.state.Pulse(ctx)
	if err != nil {
		return nil, refusal(err)
	}
	return &trustv1.ConfirmResponse{Sequence: sequence}, nil
}

// limited returns by what a caller is known if it asks too often.
func (c caller) limited() string {
	if c.verified {
		return "service " + c.service
	}
	host, _, err := net.SplitHostPort(c.address)
	if err != nil {
		return c.address
	}
	return host
}

// limiter counts requests of callers by the second. The zero value is usable.
type limiter struct {
	mu    sync.Mutex
	begun time.Time
	count map[string]int
}

func (l *limiter) allow(who string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if passed := now.Sub(l.begun); l.count == nil || passed < 0 || passed >= time.Second {
		l.begun, l.count = now, make(map[string]int)
	}
	if _, known := l.count[who]; !known && len(l.count) >= maxCallers {
		return false
	}
	l.count[who]++
	return l.count[who] <= confirmsPerSecond
}
