package state

import (
	"context"
	"math"
	"time"
)

const (
	pulseInterval = 2 * time.Second
	// applyTimeout bounds how long a write that is durable may take to be applied
	// here.
	applyTimeout = 5 * time.Second
)

// Age returns how long before now it was certain that nothing is missing here;
// the longest duration there is before that was ever so. All writes to an
// embedded store are this process's own and are not acknowledged before they are
// applied, so with one it is 0 while it is followed.
func (s *State) Age(now time.Time) time.Duration {
	if !s.store.External() && s.following.Load() && s.Sequence() > 0 {
		return 0
	}
	sure := s.sure.Load()
	if sure == nil {
		return math.MaxInt64
	}
	return max(0, now.Sub(*sure))
}

// pulseAlways finds out every two seconds that nothing is missing.
func (s *State) pulseAlways(ctx context.Context) {
	ticker := time.NewTicker(pulseInterval)
	defer ticker.Stop()
	failing := false
	for ctx.Err() == nil {
		_, err := s.Pulse(ctx)
		switch {
		case err != nil && ctx.Err() == nil && !failing:
			failing = true
			s.log.Warn("the store does not agree on where it is: revocations of now may be missing", "error", err)
		case err == nil && failing:
			failing = false
			s.log.Info("the store agrees again on where it is")
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// Pulse has the store agree on where it is, and waits until that is applied
// here. It returns the sequence of the last event: who has seen everything up to
// it has seen all that was acknowledged before the call. The error wraps
// [store.ErrUnavailable] if there is no quorum.
func (s *State) Pulse(ctx context.Context) (sequence uint64, err error) {
	asked := s.o.Now()
	if sequence, err = s.store.Pulse(ctx); err != nil {
		return 0, err
	}
	if err := s.applied(ctx, sequence); err != nil {
		return 0, err
	}
	s.makeSure(asked)
	return s.Settled(sequence), nil
}

func (s *State) makeSure(at time.Time) {
	for {
		sure := s.sure.Load()
		if sure != nil && !at.After(*sure) || s.sure.CompareAndSwap(sure, &at) {
			return
		}
	}
}
