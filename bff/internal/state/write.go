package state

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// Put keeps m under a name, whatever is there. Like all that write, it returns
// when m is durable and applied here; errors of the store are passed on. If it
// was not applied in time, the error wraps [store.ErrUnavailable] and m is
// durable all the same.
func (s *State) Put(ctx context.Context, name string, m proto.Message) (sequence uint64, err error) {
	return s.write(ctx, m, func(value []byte) (uint64, error) { return s.store.Put(ctx, name, value) })
}

// Create keeps m under a name that is free, or returns [store.ErrConflict].
func (s *State) Create(ctx context.Context, name string, m proto.Message) (sequence uint64, err error) {
	return s.write(ctx, m, func(value []byte) (uint64, error) { return s.store.Create(ctx, name, value) })
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
