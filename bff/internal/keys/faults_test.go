package keys_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal/keyset"

	"github.com/onbehalf-dev/onbehalf/bff/internal/keys"
	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// While the store is unavailable, nothing is activated and the active key signs,
// beyond its life too. That is logged once, and then every hour.
func TestStoreUnavailable(t *testing.T) {
	t.Parallel()
	e := newEdge(t).mustStart()
	_, first := e.sign()
	e.faults.fail(store.ErrUnavailable, store.ErrUnavailable, false)
	hours := 0
	for range 26 * 60 {
		e.clock.advance(time.Minute)
		if err := e.Step(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		if e.clock.since()%time.Hour == 0 {
			hours++
		}
	}
	if _, id := e.sign(); id != first {
		t.Error(id)
	}
	if n := e.logs.count("older than its life"); n != 3 { // at 24, 25 and 26 hours
		t.Error(n, "complaints")
	}
	e.faults.fail(nil, nil, false)
	e.step()
	e.want("1+1+0")
	e.pass(lead)
	e.want("0+1+1")
	if files := e.files(); len(files) != 2 {
		t.Error(files)
	}
}

func TestRunLogsAnOutageOnce(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	ticks, asked := make(chan time.Time), make(chan time.Duration, 1)
	o := e.options()
	o.After = func(d time.Duration) <-chan time.Time {
		asked <- d
		return ticks
	}
	e.open(o)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	<-asked
	e.faults.fail(store.ErrUnavailable, store.ErrUnavailable, false)
	for _, want := range []int{1, 2, 4, 8, 10, 10, 10} {
		e.clock.advance(time.Minute)
		ticks <- time.Time{}
		if d := <-asked; d != time.Duration(want)*time.Second {
			t.Error(d, "want", want, "seconds")
		}
	}
	e.faults.fail(nil, nil, false)
	ticks <- time.Time{}
	<-asked
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if e.logs.count("cannot be rotated now") != 1 || e.logs.count("can be rotated again") != 1 {
		t.Error(e.logs.text.String())
	}
}

// A write whose answer is lost has happened all the same, or happens later.
func TestAnswerIsLost(t *testing.T) {
	t.Parallel()
	t.Run("found out at once", func(t *testing.T) {
		t.Parallel()
		e := newEdge(t).mustStart()
		e.faults.fail(nil, store.ErrUnavailable, true)
		next, err := e.Rotate(t.Context())
		if err != nil || next != nextOf(e.stored()) {
			t.Fatal(next, err)
		}
		e.clock.advance(lead)
		e.step()
		if _, id := e.sign(); id != next {
			t.Error(id)
		}
	})
	t.Run("found out later", func(t *testing.T) {
		t.Parallel()
		e := newEdge(t).mustStart()
		_, first := e.sign()
		next, err := e.Rotate(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		e.clock.advance(lead - time.Second)
		e.step()
		e.clock.advance(time.Second)
		e.faults.hook = func() { e.faults.fail(store.ErrUnavailable, store.ErrUnavailable, true) }
		if err := e.Step(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		if _, id := e.sign(); id != first {
			t.Error("signed before the store has said so:", id)
		}
		e.faults.hook = nil
		e.faults.fail(nil, nil, false)
		e.step()
		if _, id := e.sign(); id != next {
			t.Error(id)
		}
		e.want("0+1+1")
	})
	t.Run("an earlier attempt arrives after a later one", func(t *testing.T) {
		t.Parallel()
		e := newEdge(t).mustStart()
		var value []byte
		var last uint64
		e.faults.Store = updateStore{e.faults.Store, func(ctx context.Context, key string, v []byte, l uint64) (uint64, error) {
			if value == nil {
				value, last = v, l
				return 0, store.ErrUnavailable
			}
			if _, err := e.store.Update(ctx, key, value, last); err != nil {
				return 0, err
			}
			return e.store.Update(ctx, key, v, l)
		}}
		if _, err := e.Rotate(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		e.clock.advance(time.Hour) // the second attempt differs from the first
		if next, err := e.Rotate(t.Context()); !errors.Is(err, store.ErrConflict) || next != "" {
			t.Fatal(next, err)
		}
		e.step()
		e.want("1+1+0")
		if _, err := e.Sign(facts(e.clock.now())); err != nil {
			t.Error("its own write is taken for another's:", err)
		}
	})
}

type updateStore struct {
	keys.Store

	update func(ctx context.Context, key string, value []byte, last uint64) (uint64, error)
}

func (s updateStore) Update(ctx context.Context, key string, value []byte, last uint64) (uint64, error) {
	return s.update(ctx, key, value, last)
}

// Two processes on one data directory: no epoch is taken twice, and the one that
// comes too late stops.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	a := newEdge(t).mustStart()
	b := newReplica(t, a.store, a.dir).mustStart()
	if a.Record().GetActive() != b.Record().GetActive() {
		t.Fatal("two active keys")
	}
	if _, err := a.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Rotate(t.Context()); !errors.Is(err, keys.ErrSuperseded) {
		t.Error(err)
	}
	if _, err := b.Sign(facts(b.clock.now())); !errors.Is(err, keys.ErrSuperseded) {
		t.Error(err)
	}
	if err := b.Run(t.Context()); !errors.Is(err, keys.ErrSuperseded) {
		t.Error(err)
	}
	if err := b.Revoked(t.Context(), b.Record().GetActive()); !errors.Is(err, keys.ErrSuperseded) {
		t.Error(err)
	}
	if _, err := b.Sign(facts(b.clock.now())); !errors.Is(err, keys.ErrSuperseded) {
		t.Error("it signs again:", err)
	}
	a.pass(lead)
	a.want("0+1+1")
	a.sign()
}

// Both write at the same moment.
func TestTwoProcessesRace(t *testing.T) {
	t.Parallel()
	a := newEdge(t).mustStart()
	b := newReplica(t, a.store, a.dir).mustStart()
	b.faults.hook = func() {
		if _, err := a.Rotate(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.Rotate(t.Context()); !errors.Is(err, keys.ErrSuperseded) {
		t.Error(err)
	}
	a.want("1+1+0")
	a.pass(lead)
	_, id := a.sign()
	if k := a.stored().GetKeys()[1]; k.GetId() != id || k.GetEpoch() != 2 {
		t.Error(a.stored())
	}
	// What the other one has made and not published is gone after a start.
	a.mustStart()
	a.pass(grace + skew + time.Minute)
	if files := a.files(); len(files) != 1 {
		t.Error(files)
	}
}

// A process that does nothing finds out within seconds.
func TestNoticesAnother(t *testing.T) {
	t.Parallel()
	a := newEdge(t).mustStart()
	b := newReplica(t, a.store, a.dir).mustStart()
	if _, err := a.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.clock.advance(10 * time.Second)
	if err := b.Step(t.Context()); !errors.Is(err, keys.ErrSuperseded) {
		t.Error(err)
	}
}

// The store loses the record while the edge runs: it is published again.
func TestRecordIsLost(t *testing.T) {
	t.Parallel()
	e := newEdge(t).mustStart()
	_, first := e.sign()
	entry, err := e.store.Get(t.Context(), "authority."+e.Record().GetReplica())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.store.Delete(t.Context(), entry.Key, entry.Sequence); err != nil {
		t.Fatal(err)
	}
	e.clock.advance(10 * time.Second)
	e.step()
	e.want("0+1+0")
	if _, id := e.sign(); id != first || e.logs.count("published again") != 1 {
		t.Error(id)
	}
	e.pass(life/2 + lead)
	e.want("0+1+1")
}

// A server that lags behind answers with what was.
func TestStaleAnswer(t *testing.T) {
	t.Parallel()
	e := newEdge(t).mustStart()
	old, err := e.store.Get(t.Context(), "authority."+e.Record().GetReplica())
	if err != nil {
		t.Fatal(err)
	}
	next, err := e.Rotate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, stale := range []keys.Store{staleStore{e.faults.Store, old, nil}, staleStore{e.faults.Store, store.Entry{}, store.ErrNotFound}} {
		e.faults.Store = stale
		e.clock.advance(10 * time.Second)
		e.step()
		e.want("1+1+0")
	}
	e.clock.advance(lead)
	e.step()
	if _, id := e.sign(); id != next {
		t.Error(id)
	}
}

type staleStore struct {
	keys.Store

	entry store.Entry
	err   error
}

func (s staleStore) Get(context.Context, string) (store.Entry, error) { return s.entry, s.err }

// G08: the next key's file is damaged, open to others, or gone while it waits. A
// damaged one is never replaced by another, nor does it sign.
func TestNextKeyIsDamaged(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(path string) error{
		"truncated":          func(path string) error { return os.Truncate(path, 40) },
		"readable by others": func(path string) error { return os.Chmod(path, 0o644) },
		"of another key": func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			_, err := keyset.CreatePrivateKey(path)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t).mustStart()
			_, first := e.sign()
			next, err := e.Rotate(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			path := e.file(next)
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(path); err != nil {
				t.Fatal(err)
			}
			e.clock.advance(2 * lead)
			for range 2 { // and after a start
				if err := e.Step(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
					t.Fatal(err)
				}
				e.want("1+1+0")
				if _, id := e.sign(); id != first || len(e.files()) != 2 {
					t.Error(id, e.files())
				}
				e.mustStart()
				e.clock.advance(2 * lead)
			}
			write(t, path, good, 0o600)
			if err := os.Chmod(path, 0o600); err != nil {
				t.Fatal(err)
			}
			e.step()
			if _, id := e.sign(); id != next {
				t.Error("it was put right:", id)
			}
		})
	}
	t.Run("gone", func(t *testing.T) {
		t.Parallel()
		e := newEdge(t).mustStart()
		next, err := e.Rotate(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(e.file(next)); err != nil {
			t.Fatal(err)
		}
		e.clock.advance(lead)
		e.step()
		e.want("1+1+0")
		other := nextOf(e.stored())
		if other == next || e.logs.count("is gone") != 1 {
			t.Error(e.stored())
		}
		e.pass(lead)
		if _, id := e.sign(); id != other || e.stored().GetKeys()[1].GetEpoch() != 3 {
			t.Error(e.stored())
		}
	})
}

// Clocks that jump by a year, at any moment of a key's life.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	const year = 365 * 24 * time.Hour
	for name, jump := range map[string]time.Duration{"forward": year, "backward": -year, "a little backward": -30 * time.Second, "far forward": 200 * year, "far backward": -200 * year} {
		for when, at := range map[string]time.Duration{"active": time.Hour, "next": life/2 + time.Minute, "retired": life/2 + lead + time.Minute} {
			for restart, again := range map[string]bool{"": false, ", and a start": true} {
				t.Run(name+" while "+when+restart, func(t *testing.T) {
					t.Parallel()
					e := newEdge(t).mustStart()
					e.pass(time.Minute)
					e.clock.advance(at - time.Minute - 2*time.Minute)
					for range 2 {
						e.pass(time.Minute)
					}
					e.clock.jump(jump)
					if again {
						e.mustStart()
					}
					published := make(map[string]time.Duration)
					before := e.Record()
					if next := nextOf(before); next != "" {
						published[next] = e.clock.since()
					}
					changes, writes := 0, e.sequence()
					for range 90 {
						e.pass(2 * time.Minute)
						r := e.Record()
						if next := nextOf(r); next != "" && published[next] == 0 {
							published[next] = e.clock.since()
						}
						if _, id := e.sign2(); id != r.GetActive() {
							t.Error(id, r)
						}
						if r.GetActive() != before.GetActive() {
							changes++
							since, ok := published[r.GetActive()]
							if !ok || when != "next" && e.clock.since()-since < lead-2*time.Minute {
								t.Error("active", e.clock.since()-since, "after it was published", ok)
							}
						}
						before = r
					}
					if changes > 2 || e.sequence()-writes > 10 {
						t.Error(changes, "changes of key,", e.sequence()-writes, "writes")
					}
					if n := len(e.stored().GetKeys()); n > 2 {
						t.Error(n, "keys after three hours:", e.stored())
					}
					// Rotation goes on at its pace.
					e.clock.jump(-jump)
					for range 4 {
						e.clock.advance(life / 2)
						e.step()
						e.clock.advance(lead)
						e.step()
					}
					e.clock.advance(time.Hour)
					e.step()
					if r := e.stored(); r.GetActive() == before.GetActive() || len(r.GetKeys()) > 2 {
						t.Error(before, r)
					}
				})
			}
		}
	}
}
