package keys_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/keys"
	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// G06: the active key is revoked. Another one signs at once, and of the revoked
// one nothing is left, neither in the record nor in the directory.
func TestRevokedActive(t *testing.T) {
	t.Parallel()
	for name, rotate := range map[string]bool{"with a next one": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t).mustStart()
			e.missing = func(uint64) int { return 1 }
			_, first := e.sign()
			next := ""
			if rotate {
				var err error
				if next, err = e.Rotate(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := e.Revoked(t.Context(), first); err != nil {
				t.Fatal(err)
			}
			e.want("0+1+0")
			header, id := e.sign()
			if id == first || next != "" && id != next {
				t.Error(id, "signs")
			}
			if err := e.verify(header, e.Record()); err != nil {
				t.Error(err)
			}
			if files := e.files(); len(files) != 1 || files[0] != e.file(id) {
				t.Error(files)
			}
			// What is told twice, or to another replica too, changes nothing.
			before := e.stored()
			for _, again := range []string{first, "unknown", ""} {
				if err := e.Revoked(t.Context(), again); err != nil || e.stored().GetActive() != before.GetActive() {
					t.Error(again, err)
				}
			}
			if e.mustStart(); e.stored().GetActive() != id {
				t.Error("another key after a start")
			}
		})
	}
}

// G06: a key that was revoked while the store does not answer does not sign; the
// calls wait for the next one.
func TestRevokedWithoutStore(t *testing.T) {
	t.Parallel()
	e := newEdge(t).mustStart()
	_, first := e.sign()
	e.faults.fail(nil, store.ErrUnavailable, false)
	if err := e.Revoked(t.Context(), first); !errors.Is(err, store.ErrUnavailable) {
		t.Fatal(err)
	}
	if e.stored().GetActive() != first {
		t.Fatal("how?")
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, id := e.sign(); id == first {
				t.Error("the revoked key signed")
			}
		})
	}
	for range 3 {
		if err := e.Step(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Error(err)
		}
	}
	if files := e.files(); len(files) != 2 {
		t.Error("a key for each attempt:", files)
	}
	e.faults.fail(nil, nil, false)
	e.step()
	wg.Wait()
	e.want("0+1+0")
	if files := e.files(); len(files) != 1 {
		t.Error(files)
	}
}

// A revoked key signs not at all rather than for lack of another one.
func TestRevokedAndNoOther(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	files, err := keys.NewFiles(e.dir)
	if err != nil {
		t.Fatal(err)
	}
	now := make(chan time.Time)
	close(now)
	e.vault = files
	if e.Authority, err = keys.Open(t.Context(), e.faults, files, keys.Options{
		Issuer: issuer, Replica: files.Replica(), Now: e.clock.now, After: func(time.Duration) <-chan time.Time { return now },
	}); err != nil {
		t.Fatal(err)
	}
	e.faults.fail(store.ErrUnavailable, store.ErrUnavailable, false)
	if err := e.Revoked(t.Context(), e.Record().GetActive()); err == nil {
		t.Error("revoked")
	}
	if _, err := e.Sign(facts(e.clock.now())); !errors.Is(err, keys.ErrRevoked) {
		t.Error(err)
	}
}

// A revoked next key is replaced, and its epoch is not given again.
func TestRevokedNext(t *testing.T) {
	t.Parallel()
	e := newEdge(t).mustStart()
	_, first := e.sign()
	next, err := e.Rotate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Revoked(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	e.want("1+1+0")
	other := e.stored().GetKeys()[1]
	if other.GetId() == next || other.GetEpoch() != 3 {
		t.Error(e.stored())
	}
	if _, id := e.sign(); id != first {
		t.Error(id)
	}
	// The lead of the other one begins when it is published.
	e.pass(lead)
	if _, id := e.sign(); id != other.GetId() {
		t.Error(id)
	}
}

// A retired key that is revoked does not verify until the end of its grace.
func TestRevokedRetired(t *testing.T) {
	t.Parallel()
	e := newEdge(t).mustStart()
	header, first := e.sign()
	if _, err := e.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.pass(lead)
	e.want("0+1+1")
	_, active := e.sign()
	if err := e.Revoked(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	e.want("0+1+0")
	if _, id := e.sign(); id != active {
		t.Error("another key signs")
	}
	if err := e.verifyAt(issued(t, header), header, e.Record()); err == nil {
		t.Error("it is published still")
	}
}

// All at once: the active one, the next one and a retired one.
func TestRevokedAll(t *testing.T) {
	t.Parallel()
	e := newEdge(t).mustStart()
	if _, err := e.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.pass(lead)
	if _, err := e.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.want("1+1+1")
	e.faults.fail(nil, store.ErrUnavailable, false)
	before := e.stored()
	for _, k := range before.GetKeys() {
		if err := e.Revoked(t.Context(), k.GetId()); err == nil {
			t.Error("revoked")
		}
	}
	e.faults.fail(nil, nil, false)
	e.step()
	e.want("0+1+0")
	last := e.stored().GetKeys()[0]
	for _, k := range before.GetKeys() {
		if k.GetId() == last.GetId() || k.GetEpoch() >= last.GetEpoch() {
			t.Error(before, last)
		}
	}
}
