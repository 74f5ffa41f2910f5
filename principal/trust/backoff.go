package trust

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff gives the times between attempts: twice as long after each, up to the
// last, and each somewhere in the upper half, so that services that lost one edge
// do not come back as one.
type backoff struct {
	first, last time.Duration
	failures    int
}

func (b *backoff) reset() { b.failures = 0 }

func (b *backoff) next() time.Duration {
	d := min(b.first<<min(b.failures, 20), b.last)
	b.failures++
	return d/2 + rand.N(d/2+1) //nolint:gosec // nothing secret hangs on it
}

// pause waits, and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
