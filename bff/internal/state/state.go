package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/principal"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

const defaultMemory = 30 * 24 * time.Hour

// Store is what a [State] needs of a [store.Store].
type Store interface { //nolint:interfacebloat // one thing, as far as it is used here
	Get(ctx context.Context, key string) (store.Entry, error)
	CreateUntil(ctx context.Context, key string, value []byte, end time.Time) (sequence uint64, err error)
	UpdateUntil(ctx context.Context, key string, value []byte, end time.Time, last uint64) (sequence uint64, err error)
	Put(ctx context.Context, key string, value []byte) (sequence uint64, err error)
	Delete(ctx context.Context, key string, last uint64) (sequence uint64, err error)
	Follow(ctx context.Context, f func(store.Batch)) error
	Pulse(ctx context.Context) (sequence uint64, err error)
	External() bool
	Base() uint64
}

// Options are those of a [State].
type Options struct {
	// Issuer is in whose name the edge signs. Records of others are left out.
	Issuer string
	// Static are keys that are published besides, and before all others.
	Static []principal.Key
	// Memory is how long a revocation is remembered; 0 is 30 days.
	Memory time.Duration
	// Logger may be nil.
	Logger *slog.Logger
	// Now may be nil. Its times should have a monotonic reading.
	Now func() time.Time
}

// Record is a message in the store, with the sequence for a compare-and-set. The
// message is shared and must not be changed.
type Record[M any] struct {
	Message  M
	Sequence uint64
}

// State is what the store says. It is safe for concurrent use. Make one with
// [New].
type State struct {
	store Store
	o     Options
	log   *slog.Logger

	generation atomic.Uint64
	following  atomic.Bool
	sure       atomic.Pointer[time.Time] // when it was certain that nothing is missing

	mu          sync.RWMutex
	sequence    uint64        // 0 until the first content is applied
	moved       chan struct{} // closed when sequence changes
	authorities map[string]Record[*bffv1.AuthorityRecord]
	links       map[string]map[string]Record[*bffv1.LinkKeyRecord] // by service and id
	services    map[string]Record[*bffv1.ServiceRecord]
	tokens      map[string]Record[*bffv1.EnrollmentToken] // by name
	keys        *keyring
	revoked     memory
	recent      recent
	latest      latest
	events      events
	clock       clock
	onChange    []func()
}

// New returns a state that knows nothing until it is run.
func New(s Store, o Options) *State {
	if o.Memory == 0 {
		o.Memory = defaultMemory
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	st := &State{store: s, o: o, log: o.Logger, moved: make(chan struct{})}
	st.generation.Store(1)
	st.events.next = make(chan struct{})
	st.revoked = newMemory()
	st.keys = newKeyring(st.log)
	st.clear()
	return st
}

// clear forgets all that the store says anew when it starts over. What is
// revoked stays: a store that has lost a revocation does not take it back.
func (s *State) clear() {
	s.authorities = make(map[string]Record[*bffv1.AuthorityRecord])
	s.links = make(map[string]map[string]Record[*bffv1.LinkKeyRecord])
	s.services = make(map[string]Record[*bffv1.ServiceRecord])
	s.tokens = make(map[string]Record[*bffv1.EnrollmentToken])
	s.keys.clear(s.o.Static)
}

// Issuer returns in whose name the edge signs.
func (s *State) Issuer() string { return s.o.Issuer }

// Run follows the store until ctx ends, and tidies it up. The error is nil then.
// It is called once.
func (s *State) Run(ctx context.Context) error {
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error {
		s.following.Store(true)
		defer s.following.Store(false)
		err := s.store.Follow(running, s.apply)
		if running.Err() == nil && err == nil {
			err = errors.New("it ended by itself")
		}
		return err
	})
	group.Go(func() error { s.sweepAlways(running); return nil })
	if s.store.External() {
		group.Go(func() error { s.pulseAlways(running); return nil })
	}
	err := group.Wait()
	if ctx.Err() != nil {
		return nil //nolint:nilerr // ended as it was asked to
	}
	return fmt.Errorf("state: following the store: %w", err)
}

// Ready waits until the first content is applied.
func (s *State) Ready(ctx context.Context) error { return s.Wait(ctx, 1) }

// Sequence returns up to where everything is applied; 0 before the first content.
func (s *State) Sequence() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.sequence
}

// Wait waits until everything up to sequence is applied.
func (s *State) Wait(ctx context.Context, sequence uint64) error {
	for {
		s.mu.RLock()
		at, moved := s.sequence, s.moved
		s.mu.RUnlock()
		if at >= sequence {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("state: at %d, waiting for %d: %w", at, sequence, ctx.Err())
		}
	}
}

// Generation changes with each revocation, after [State.Revoked] says so. It is
// never 0.
func (s *State) Generation() uint64 { return s.generation.Load() }

// OnChange has f called after each change of the generation, by whoever applies
// it: f must be quick. It is held for ever.
func (s *State) OnChange(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onChange = append(slices.Clip(s.onChange), f)
}

// Service returns what is kept of a service that was revoked; the zero record if
// there is nothing.
func (s *State) Service(name string) Record[*bffv1.ServiceRecord] {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.services[name]
}

// Token returns what is kept of an enrollment token; the zero record if there is
// nothing.
func (s *State) Token(token string) Record[*bffv1.EnrollmentToken] {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tokens[TokenName(token)]
}
