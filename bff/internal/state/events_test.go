package state_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/internal/state"
	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// R02: who follows misses nothing, however the reading falls between writes.
func TestSinceIsGapless(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	start := w.Sequence()
	const n = 300
	written := make(chan struct{})
	defer func() { <-written }()
	go func() {
		defer close(written)
		for i := range n {
			if i%3 == 0 {
				w.put(state.TokenName(strconv.Itoa(i)), &bffv1.EnrollmentToken{Service: "orders", Expires: 1 << 40}) // no event
			}
			w.revoke(session(i))
		}
	}()
	at, seen := start, 0
	for seen < n {
		list, head, next, ok := w.Since(at)
		if !ok {
			t.Fatal("the log does not reach back to", at)
		}
		for _, e := range list {
			if e.GetPrevious() > at || e.GetSequence() <= at || len(e.GetRevocations()) != 1 || e.GetRevocations()[0].GetSequence() != e.GetSequence() {
				t.Fatal("after", at, e)
			}
			if id := e.GetRevocations()[0].GetTarget().GetSession().GetId(); int(id[0])+int(id[1])<<8 != seen {
				t.Fatal("not in order", e)
			}
			at = e.GetSequence()
			seen++
		}
		if head < at {
			t.Fatal(head, at)
		}
		at = head
		if seen == n {
			break
		}
		select {
		case <-next:
		case <-t.Context().Done():
			t.Fatal("no event")
		}
	}
	if _, _, _, ok := w.Since(w.Sequence() + 1); ok {
		t.Error("knows the future")
	}
	if _, _, _, ok := w.Since(start - 1); ok {
		t.Error("knows what was before it was run")
	}
	if _, _, _, ok := w.Since(0); ok {
		t.Error("who knows nothing needs a snapshot")
	}
}

func TestSettled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.revoke(session(1))
	quiet := w.put(state.TokenName("t"), &bffv1.EnrollmentToken{Service: "orders", Expires: 1 << 40})
	if got := w.Settled(quiet); got != first {
		t.Errorf("%d, want %d", got, first)
	}
	if at, missed := w.MissedSince(first); missed {
		t.Error(at)
	}
	if at, missed := w.MissedSince(first - 1); !missed || time.Since(at) > time.Minute {
		t.Error(at, missed)
	}
	confirmed, err := w.Pulse(t.Context())
	if err != nil || confirmed != first || w.Sequence() < quiet {
		t.Error(confirmed, err)
	}
	second := w.revoke(session(2))
	for sequence, want := range map[uint64]uint64{first: first, quiet: first, second: second, second + 1: second + 1} {
		if got := w.Settled(sequence); got != want {
			t.Errorf("%d: %d, want %d", sequence, got, want)
		}
	}
}

func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	script := newScript()
	s := state.New(script, state.Options{Issuer: issuer})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	script.batches <- store.Batch{Reset: true, Sequence: 1}
	b := store.Batch{Previous: 1, Sequence: state.LoggedEvents + 11}
	for i := range state.LoggedEvents + 10 {
		b.Entries = append(b.Entries, entry(t, state.RevocationName(session(i)), uint64(i)+2, &bffv1.RevocationRecord{Target: session(i).Proto()}))
	}
	script.batches <- b
	if err := s.Wait(t.Context(), b.Sequence); err != nil {
		t.Fatal(err)
	}
	for sequence, want := range map[uint64]bool{1: false, 10: false, 11: true, 500: true, b.Sequence: true} {
		list, head, next, ok := s.Since(sequence)
		if ok != want {
			t.Errorf("%d: %v", sequence, ok)
		}
		if ok && len(list) > 0 {
			if list[0].GetSequence() != sequence+1 || head != list[len(list)-1].GetSequence() {
				t.Error(sequence, list[0], head)
			}
			<-next // there is more
		}
	}
	if _, missed := s.MissedSince(5); !missed {
		t.Error("nothing is missed")
	}
	cancel()
	<-ended
}

// told puts together what a snapshot tells.
func told(t *testing.T, s state.Snapshot) (revocations []*trustv1.Revocation, parts int) {
	t.Helper()
	last := true
	for part := range s.Parts() {
		parts++
		last = !part.GetMore()
		if size := proto.Size(part); size > 1<<20-256 {
			t.Errorf("a part of %d bytes", size)
		}
		if part.GetSequence() != s.Sequence || part.GetFloor() != s.Floor || part.GetIssuer() != issuer {
			t.Error(part.GetSequence(), part.GetFloor(), part.GetIssuer())
		}
		revocations = append(revocations, part.GetRevocations()...)
	}
	if !last {
		t.Error("there is no last part")
	}
	return revocations, parts
}

// What is older than six minutes is a floor, but for keys.
func TestSnapshotForgets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := revocation.Key(principal.KeyRef{Role: principal.RoleLink, Owner: "orders", ID: "k1"})
	lost := w.revoke(key)
	old := w.revoke(session(1))
	snapshot := w.Snapshot()
	if revocations, parts := told(t, snapshot); parts != 1 || len(revocations) != 2 || snapshot.Floor != w.store.Base() || snapshot.Sequence < old {
		t.Error(revocations, parts, snapshot.Floor)
	}
	w.advance(time.Minute)
	kept := w.revoke(session(2))
	w.advance(5*time.Minute + time.Second)
	snapshot = w.Snapshot()
	revocations, _ := told(t, snapshot)
	if len(revocations) != 2 || revocations[0].GetSequence() != lost || revocations[1].GetSequence() != kept || snapshot.Floor != old {
		t.Error(revocations, snapshot.Floor, old)
	}
	if !w.Revoked(session(1), time.Time{}) {
		t.Error("the edge has forgotten it")
	}
}

func TestLargeSnapshot(t *testing.T) {
	t.Parallel()
	script := newScript()
	now := clock{}
	s := state.New(script, state.Options{Issuer: issuer, Now: now.now})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	const n, keys = 50_000, 2500
	b := store.Batch{Reset: true, Sequence: n + 2*keys}
	for i := range n {
		b.Entries = append(b.Entries, entry(t, state.RevocationName(session(i)), uint64(i)+1, &bffv1.RevocationRecord{Target: session(i).Proto()}))
	}
	for i := range keys {
		target := revocation.Key(principal.KeyRef{Role: principal.RoleLink, Owner: "orders", ID: fmt.Sprint("lost", i)})
		b.Entries = append(b.Entries, entry(t, state.RevocationName(target), uint64(n+i)+1, &bffv1.RevocationRecord{Target: target.Proto()}))
		k := newKey(t)
		b.Entries = append(b.Entries, entry(t, state.LinkName("orders", k.id), uint64(n+keys+i)+1, k.link("orders", time.Now().Add(time.Hour))))
	}
	slices.Reverse(b.Entries) // a store may give them in any order
	script.batches <- b
	if err := s.Wait(t.Context(), b.Sequence); err != nil {
		t.Fatal(err)
	}
	revocations, parts := told(t, s.Snapshot())
	seen := make(map[uint64]bool)
	for _, r := range revocations {
		seen[r.GetSequence()] = true
	}
	if len(seen) != n+keys || parts < 3 {
		t.Error(len(seen), parts)
	}
	if got := refs(t, s); len(got) != keys {
		t.Error(len(got))
	}
	cancel()
	<-ended
}
