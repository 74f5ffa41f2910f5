package store_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

func TestFollow(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, store.Settings{Dir: t.TempDir()})
	var sequences []uint64
	for _, key := range []string{"a", "b", "c"} {
		sequence, err := s.Create(ctx, key, []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		sequences = append(sequences, sequence)
	}
	if _, err := s.Delete(ctx, "b", sequences[1]); err != nil {
		t.Fatal(err)
	}
	batches := follow(t, s)
	var v view
	first := next(t, batches)
	v.take(t, first)
	if !first.Reset || len(v.entries) != 2 || string(v.entries["c"].Value) != "c" {
		t.Error(first)
	}
	if _, err := s.Delete(ctx, "a", sequences[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(ctx, "b", []byte("again")); err != nil {
		t.Fatal(err)
	}
	pulse, err := s.Pulse(ctx)
	if err != nil {
		t.Fatal(err)
	}
	v.upTo(t, batches, pulse)
	if _, there := v.entries["a"]; there || string(v.entries["b"].Value) != "again" || v.resets != 1 {
		t.Error(v)
	}
}

// Who follows while many write has, at any pulse, what was acknowledged before.
func TestFollowWhileWriting(t *testing.T) {
	t.Parallel()
	s := open(t, store.Settings{Dir: t.TempDir()})
	batches := follow(t, s)
	var group sync.WaitGroup
	for writer := range 8 {
		group.Go(func() {
			for n := range 200 {
				if _, err := s.Put(t.Context(), fmt.Sprintf("k.%d.%d", writer, n%20), fmt.Append(nil, n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	pulse, err := s.Pulse(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var v view
	v.upTo(t, batches, pulse)
	for writer := range 8 {
		for n := range 20 {
			key := fmt.Sprintf("k.%d.%d", writer, n)
			if got, want := string(v.entries[key].Value), strconv.Itoa(180+n); got != want {
				t.Errorf("%s is %q, not %s", key, got, want)
			}
		}
	}
	if v.resets != 1 {
		t.Errorf("%d resets", v.resets)
	}
}

// Who is slow holds up nobody, and gets everything.
func TestSlowFollower(t *testing.T) {
	t.Parallel()
	s := open(t, store.Settings{Dir: t.TempDir()})
	batches := make(chan store.Batch)
	go s.Follow(t.Context(), func(b store.Batch) {
		select {
		case batches <- b:
		case <-t.Context().Done():
		}
	})
	var v view
	v.take(t, next(t, batches))
	for n := range 3000 {
		if _, err := s.Create(t.Context(), fmt.Sprint("k.", n), make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	pulse, err := s.Pulse(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v.upTo(t, batches, pulse)
	if len(v.entries) != 3000 || v.resets != 1 {
		t.Error(len(v.entries), v.resets)
	}
}
