package state

import (
	"context"
	"errors"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

const (
	sweepInterval = time.Minute
	// sweptAtOnce bounds how much one pass removes: it must not hold up others.
	sweptAtOnce = 4096
	// steadyPasses is for how many passes the clock must have gone as it should
	// before anything is removed: one that jumps ahead must not make the edge
	// forget what is revoked.
	steadyPasses = 10
	jump         = 5 * time.Minute
)

// clock says whether the clock can be believed.
type clock struct {
	last   time.Time // of the pass before, without its monotonic reading
	steady int
}

func (c *clock) pass(now time.Time) bool {
	now = now.Round(0)
	if passed := now.Sub(c.last); passed < 0 || passed > jump {
		c.steady = 0
	}
	c.last = now
	c.steady++
	return c.steady > steadyPasses
}

func (s *State) sweepAlways(ctx context.Context) {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.sweep(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// doomed is what is to be removed from the store.
type doomed struct {
	name     string
	sequence uint64
	digest   *digest // of a revocation
}

// sweep removes what has had its time. Replicas do so at the same time; each
// entry is removed only as it was seen here.
func (s *State) sweep(ctx context.Context) {
	for _, d := range s.doomed(s.o.Now()) {
		_, err := s.store.Delete(ctx, d.name, d.sequence)
		if errors.Is(err, store.ErrConflict) && d.digest != nil {
			_, err = s.store.Get(ctx, d.name)
			if errors.Is(err, store.ErrNotFound) { // removed while the store was not followed
				s.forget(d)
			}
		}
		switch {
		case err == nil, errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrNotFound):
		case ctx.Err() != nil:
			return
		default:
			s.log.Warn("what has expired stays in the store until the next try", "record", d.name, "error", err)
			return
		}
	}
}

func (s *State) doomed(now time.Time) (list []doomed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recent.forget(now)
	s.events.forget(now)
	if !s.clock.pass(now) {
		return nil
	}
	for _, r := range s.revoked.before(now.Add(-s.o.Memory).Unix(), sweptAtOnce) {
		list = append(list, doomed{name: revocationName(r.digest), sequence: r.sequence, digest: &r.digest})
	}
	for name, t := range s.tokens {
		if t.Message.GetExpires() < now.Unix() {
			list = append(list, doomed{name: name, sequence: t.Sequence})
		}
	}
	expired := now.Add(-skew).Unix()
	for service, keys := range s.links {
		for id, k := range keys {
			if k.Message.GetNotAfter() < expired {
				list = append(list, doomed{name: LinkName(service, id), sequence: k.Sequence})
			}
		}
	}
	return list
}

// forget is for what the store does not have any more.
func (s *State) forget(d doomed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.revoked.get(*d.digest); r != nil && r.sequence == d.sequence {
		s.revoked.remove(*d.digest)
		s.latest.remove(*d.digest)
	}
}
