package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string]store.Settings{
		"neither":           {},
		"both":              {Dir: t.TempDir(), URL: "nats://127.0.0.1:4222"},
		"too many replicas": {URL: "nats://127.0.0.1:4222", Replicas: 6},
		"plain text":        {URL: "nats://nats.example:4222"},
		"one in plain text": {URL: "nats://127.0.0.1:1,nats://nats.example:4222"},
		"password":          {URL: "tls://u:p@nats.example:4222"},
		"other scheme":      {URL: "ws://127.0.0.1:4222"},
		"no credentials":    {URL: "nats://127.0.0.1:4222", Credentials: "/nowhere"},
		"no CA":             {URL: "tls://127.0.0.1:4222", CA: "/nowhere"},
		"a key only":        {URL: "tls://127.0.0.1:4222", Key: "/nowhere"},
	} {
		settings.Logger = testLogger(t)
		_, err := store.Open(t.Context(), settings)
		if err == nil || errors.Is(err, store.ErrUnavailable) || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoServer(t *testing.T) {
	t.Parallel()
	_, err := store.Open(t.Context(), store.Settings{URL: "nats://127.0.0.1:1", Logger: testLogger(t)})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s := open(t, store.Settings{Dir: t.TempDir()})
	for _, key := range []string{"", ".", ".a", "a.", "a..b", "a b", "a*", ">", "a.>", "ä", "a\x00", "$KV", "pulse.x", strings.Repeat("k", 513)} {
		if _, err := s.Put(t.Context(), key, nil); err == nil {
			t.Errorf("%q was written", key)
		}
		if _, err := s.Get(t.Context(), key); err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%q was read: %v", key, err)
		}
	}
	for _, key := range []string{"a", "link.orders/eu.K_1-=", strings.Repeat("k", 512)} {
		if _, err := s.Put(t.Context(), key, nil); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	if _, err := s.Put(t.Context(), "a", make([]byte, 512<<10+1)); err == nil {
		t.Error("a value of any size was written")
	}
	if _, err := s.Put(t.Context(), "a", make([]byte, 512<<10)); err != nil {
		t.Error(err)
	}
}

func TestCompareAndSet(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, store.Settings{Dir: t.TempDir()})
	first, err := s.Create(ctx, "k", []byte("1"))
	if err != nil || first <= s.Base() {
		t.Fatal(first, err)
	}
	conflict := func(what string, _ uint64, err error) {
		t.Helper()
		if !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v", what, err)
		}
	}
	try := func(sequence uint64, err error) uint64 {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return sequence
	}
	two := func(sequence uint64, err error) (uint64, error) { return sequence, err }
	sequence, err := two(s.Create(ctx, "k", []byte("2")))
	conflict("create what is there", sequence, err)
	sequence, err = two(s.Update(ctx, "k", nil, first+1))
	conflict("update another", sequence, err)
	sequence, err = two(s.Update(ctx, "k", nil, 0))
	conflict("update what has no sequence", sequence, err)
	sequence, err = two(s.Update(ctx, "k", nil, 1))
	conflict("update from below the base", sequence, err)
	sequence, err = two(s.Delete(ctx, "k", first+1))
	conflict("delete another", sequence, err)
	sequence, err = two(s.Delete(ctx, "none", first))
	conflict("delete what is not there", sequence, err)

	second := try(s.Update(ctx, "k", []byte("2"), first))
	got, err := s.Get(ctx, "k")
	if err != nil || string(got.Value) != "2" || got.Sequence != second || got.Key != "k" || got.Time.IsZero() {
		t.Error(got, err)
	}
	third := try(s.Delete(ctx, "k", second))
	if _, err := s.Get(ctx, "k"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	sequence, err = two(s.Update(ctx, "k", nil, second))
	conflict("update what was deleted", sequence, err)
	fourth := try(s.Create(ctx, "k", []byte("4")))
	sequence, err = two(s.Create(ctx, "k", []byte("5")))
	conflict("create again", sequence, err)
	fifth := try(s.Put(ctx, "k", []byte("5")))
	if !slices.IsSorted([]uint64{first, second, third, fourth, fifth}) || first == fifth {
		t.Error("sequences do not grow:", first, second, third, fourth, fifth)
	}
}

// Of many that create or update at once, one may.
func TestRace(t *testing.T) {
	t.Parallel()
	s := open(t, store.Settings{Dir: t.TempDir()})
	var last uint64
	for round := range 20 {
		var group sync.WaitGroup
		won := make(chan uint64, 8)
		for range cap(won) {
			group.Go(func() {
				var sequence uint64
				var err error
				if last == 0 {
					sequence, err = s.Create(t.Context(), "k", nil)
				} else {
					sequence, err = s.Update(t.Context(), "k", nil, last)
				}
				if err == nil {
					won <- sequence
				} else if !errors.Is(err, store.ErrConflict) {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if len(won) != 1 {
			t.Fatalf("round %d: %d won", round, len(won))
		}
		last = <-won
	}
}

// A caller may have less patience than the store.
func TestCallerGivesUp(t *testing.T) {
	t.Parallel()
	s := open(t, store.Settings{Dir: t.TempDir()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, "k", nil); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := s.Get(ctx, "k"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := s.Pulse(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := s.Put(t.Context(), "k", nil); err != nil {
		t.Error(err)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	s := open(t, store.Settings{Dir: t.TempDir()})
	ended := make(chan error, 1)
	begun := make(chan struct{}, 1)
	go func() { ended <- s.Follow(t.Context(), func(store.Batch) { begun <- struct{}{} }) }()
	<-begun
	if err := s.Follow(t.Context(), func(store.Batch) {}); err == nil {
		t.Error("two follow")
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
	_, err := s.Put(t.Context(), "k", nil)
	_, err2 := s.Get(t.Context(), "k")
	_, err3 := s.Pulse(t.Context())
	_, err4 := s.Check(t.Context())
	for _, err := range []error{err, err2, err3, err4, s.Follow(t.Context(), func(store.Batch) {})} {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Error(err)
		}
	}
}

// Pulses that are asked for at one moment share few writes, and none began
// before it was asked for.
func TestPulse(t *testing.T) {
	t.Parallel()
	s := open(t, store.Settings{Dir: t.TempDir()})
	before, err := s.Pulse(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for n := range 200 {
		group.Go(func() {
			acked, err := s.Put(t.Context(), fmt.Sprint("k.", n%4), nil)
			if err != nil {
				t.Error(err)
			}
			if pulse, err := s.Pulse(t.Context()); err != nil || pulse <= acked {
				t.Errorf("a pulse of %d after %d was acknowledged: %v", pulse, acked, err)
			}
		})
	}
	group.Wait()
	after, err := s.Pulse(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	writes := after - before - 200
	t.Logf("200 pulses were %d writes", writes)
	if writes > 150 {
		t.Errorf("200 pulses were %d writes", writes)
	}
}
