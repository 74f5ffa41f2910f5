package state

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// Put keeps m under a name, whatever is there. Like all that write, it returns
// when m is durable and applied here; errors of the store are passed on. If it
// was not applied in time, the error wraps [store.ErrUnavailable] and m is
// durable all the same.
func (s *State) Put(ctx context.Context, name string, m proto.Message) (sequence uint64, err error) {
	return s.write(ctx, m, func(value []byte) (uint64, error) { return s.store.Put(ctx, name, value) })
}

// spare is how much longer the store keeps what has an end: it goes by another
// clock, and whoever follows removes it at its end.
const spare = 24 * time.Hour

// Create keeps m, which is of no use after an end, under a name that is free, or
// returns [store.ErrConflict].
func (s *State) Create(ctx context.Context, name string, m proto.Message, end time.Time) (sequence uint64, err error) {
	return s.write(ctx, m, func(value []byte) (uint64, error) { return s.store.CreateUntil(ctx, name, value, end.Add(spare)) })
}

// PutRevocation keeps that a target is revoked: a key for ever, all else for as
// long as revocations are remembered.
func (s *State) PutRevocation(ctx context.Context, t revocation.Target, m *bffv1.RevocationRecord) (sequence uint64, err error) {
	name := RevocationName(t)
	if m.GetTarget().GetKey() != nil {
		return s.Put(ctx, name, m)
	}
	end := s.o.Now().Add(s.o.Memory + spare)
	return s.write(ctx, m, func(value []byte) (uint64, error) {
		for {
			sequence, err := s.store.CreateUntil(ctx, name, value, end)
			if !errors.Is(err, store.ErrConflict) {
				return sequence, err
			}
			before, err := s.store.Get(ctx, name)
			if err == nil {
				sequence, err = s.store.UpdateUntil(ctx, name, value, end, before.Sequence)
			}
			if !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
				return sequence, err
			}
		}
	})
}

// Delete removes what was last written at a sequence, or returns
// [store.ErrConflict].
func (s *State) Delete(ctx context.Context, name string, last uint64) (sequence uint64, err error) {
	return s.write(ctx, nil, func([]byte) (uint64, error) { return s.store.Delete(ctx, name, last) })
}

func (s *State) write(ctx context.Context, m proto.Message, write func(value []byte) (uint64, error)) (uint64, error) {
	value, err := marshal(m)
	if err != nil {
		return 0, fmt.Errorf("state: %w", err)
	}
	sequence, err := write(value)
	if err != nil {
		return 0, err
	}
	return sequence, s.applied(ctx, sequence)
}

// applied waits for what is durable already.
func (s *State) applied(ctx context.Context, sequence uint64) error {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	if err := s.Wait(ctx, sequence); err != nil {
		return fmt.Errorf("%w: written, but not seen yet: %w", store.ErrUnavailable, err)
	}
	return nil
}
