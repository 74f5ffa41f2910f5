package state_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/internal/state"
	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// settle lets the janitor believe the clock.
func settle(ctx context.Context, states ...*state.State) {
	for range state.SteadyPasses {
		for _, s := range states {
			s.Sweep(ctx)
		}
	}
}

// first follows a store, and lets a replica hear it.
type first struct {
	*store.Store

	replica *replica
}

func (s *first) Follow(ctx context.Context, f func(store.Batch)) error {
	return s.Store.Follow(ctx, func(b store.Batch) {
		s.replica.batches <- b
		f(b)
	})
}

type replica struct {
	*store.Store

	batches chan store.Batch
}

func (s *replica) Follow(ctx context.Context, f func(store.Batch)) error {
	for {
		select {
		case b := <-s.batches:
			f(b)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	w := &world{t: t, store: openStore(t, t.TempDir())}
	// Another replica does the same at the same time. A store is followed once in
	// a process, so it hears of it here.
	second := &replica{Store: w.store, batches: make(chan store.Batch, 1000)}
	other := state.New(second, state.Options{Issuer: issuer, Now: w.now})
	w.State = state.New(&first{w.store, second}, state.Options{Issuer: issuer, Now: w.now})
	run(t, w.State)
	run(t, other)
	key := revocation.Key(principal.KeyRef{Role: principal.RoleLink, Owner: "orders", ID: "k1"})
	w.revoke(key)
	w.revoke(session(1))
	w.put(state.TokenName("old"), &bffv1.EnrollmentToken{Service: "orders", Expires: w.now().Add(time.Hour).Unix()})
	short, long := newKey(t), newKey(t)
	w.enroll("orders", short)
	w.put(state.LinkName("orders", long.id), long.link("orders", w.now().Add(60*24*time.Hour)))
	settle(t.Context(), w.State)
	w.Sweep(t.Context())
	if !w.Revoked(session(1), time.Time{}) || len(w.LinkKeys("orders")) != 2 || w.Token("old").Message == nil {
		t.Fatal("removed too early")
	}
	w.advance(29 * 24 * time.Hour)
	w.revoke(session(2))
	w.put(state.TokenName("new"), &bffv1.EnrollmentToken{Service: "orders", Expires: w.now().Add(30 * 24 * time.Hour).Unix()})
	w.advance(2 * 24 * time.Hour)
	w.Sweep(t.Context())
	// R10: a clock that has just jumped is not believed.
	if !w.Revoked(session(1), time.Time{}) || w.Token("old").Message == nil {
		t.Fatal("a jump of the clock removes what is needed")
	}
	events := w.Settled(w.Sequence())
	settle(t.Context(), w.State, other)
	for range 2 {
		both := make(chan struct{})
		go func() { other.Sweep(t.Context()); close(both) }()
		w.Sweep(t.Context())
		<-both
	}
	if _, err := w.Pulse(t.Context()); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[revocation.Target]bool{session(1): false, session(2): true, key: true} {
		if got := w.Revoked(target, time.Time{}); got != want {
			t.Errorf("%v: %v", target, got)
		}
	}
	if w.Token("old").Message != nil || w.Token("new").Message == nil {
		t.Error("tokens")
	}
	w.wantKeys("expired", "link orders "+long.id)
	if list, total := w.Revocations(10); total != 2 || len(list) != 2 {
		t.Error(list, total)
	}
	if w.Settled(w.Sequence()) == events {
		t.Error("that a key has gone is an event")
	}
	for _, name := range []string{state.RevocationName(session(1)), state.TokenName("old"), state.LinkName("orders", short.id)} {
		if _, err := w.store.Get(t.Context(), name); !errors.Is(err, store.ErrNotFound) {
			t.Error(name, err)
		}
	}
}

// R09: after a restart everything is there again.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir, k := t.TempDir(), newKey(t)
	var sequence uint64
	for i := range 3 {
		st, err := store.Open(t.Context(), store.Settings{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		s := state.New(st, state.Options{Issuer: issuer})
		stop := run(t, s)
		if s.Sequence() < sequence {
			t.Error("went back")
		}
		if i > 0 && (!s.Revoked(session(i-1), time.Time{}) || len(s.Keys()) != 1) {
			t.Error("lost")
		}
		if _, err := s.Put(t.Context(), state.RevocationName(session(i)), &bffv1.RevocationRecord{Target: session(i).Proto(), Time: time.Now().Unix()}); err != nil {
			t.Fatal(err)
		}
		if sequence, err = s.Put(t.Context(), state.LinkName("orders", k.id), k.link("orders", time.Now().Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
		if revocations, _ := told(t, s.Snapshot()); len(revocations) != i+1 {
			t.Error(revocations)
		}
		if age := s.Age(time.Now()); age != 0 {
			t.Error("an embedded store that is followed", age)
		}
		stop()
		if s.Age(time.Now()) == 0 {
			t.Error("nothing is followed")
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
}

// R04: with an external store, age is counted from the last time that the servers agreed.
func TestAge(t *testing.T) {
	t.Parallel()
	script, now := newScript(), clock{}
	script.external = true
	var agree atomic.Bool
	var at atomic.Uint64
	at.Store(1)
	script.pulse = func() (uint64, error) {
		if !agree.Load() {
			return 0, store.ErrUnavailable
		}
		now.advance(10 * time.Second) // for how long the servers think
		sequence := at.Add(1)
		script.batches <- store.Batch{Previous: sequence - 1, Sequence: sequence}
		return sequence, nil
	}
	logs := &logs{}
	s := state.New(script, state.Options{Issuer: issuer, Now: now.now, Logger: slog.New(slog.NewTextHandler(logs, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	script.batches <- store.Batch{Reset: true, Sequence: 1}
	if err := s.Ready(t.Context()); err != nil || s.Age(now.now()) < time.Hour {
		t.Error(err, "nobody has agreed yet")
	}
	agree.Store(true)
	if sequence, err := s.Pulse(t.Context()); err != nil || sequence != 0 {
		t.Error(sequence, err)
	}
	if age := s.Age(now.now()); age < 10*time.Second || age > time.Minute {
		t.Error(age)
	}
	agree.Store(false)
	now.advance(time.Hour)
	if _, err := s.Pulse(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
	if age := s.Age(now.now()); age < time.Hour {
		t.Error(age)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
