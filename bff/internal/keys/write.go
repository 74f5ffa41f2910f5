package keys

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// maxAttempts bounds what is remembered of writes without an answer.
const maxAttempts = 4096

func encode(r *bffv1.AuthorityRecord) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(r)
}

// replace writes the record in the place of the one that is known. If it
// returns nil, the store has it.
func (a *Authority) replace(ctx context.Context, r *bffv1.AuthorityRecord) error {
	if err := checkRecord(r); err != nil {
		return fmt.Errorf("keys: not written: %w", err)
	}
	value, err := encode(r)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(value)
	if len(a.attempts) >= maxAttempts {
		clear(a.attempts) // at worst one of them has been written, and this process stops
	}
	a.attempts[sum] = true
	sequence, err := a.store.Update(ctx, a.key, value, a.sequence)
	if err == nil {
		a.apply(r, sequence)
		return nil
	}
	// It may have been written all the same.
	if e := a.refresh(ctx); e != nil {
		return fmt.Errorf("%w (after %w)", e, err)
	}
	if proto.Equal(a.record, r) {
		return nil
	}
	return err
}

// refresh compares what is known with the store.
func (a *Authority) refresh(ctx context.Context) error {
	entry, err := a.store.Get(ctx, a.key)
	if errors.Is(err, store.ErrNotFound) {
		return a.restore(ctx)
	}
	if err != nil {
		return err
	}
	a.checked = a.Elapsed()
	if entry.Sequence <= a.sequence {
		return nil // below it: of a server that lags behind
	}
	r, err := parseRecord(entry.Value, a.Replica)
	ours := a.attempts[sha256.Sum256(entry.Value)] || proto.Equal(r, a.record)
	if err != nil || !ours {
		a.sign(&signing{err: ErrSuperseded})
		return ErrSuperseded
	}
	a.apply(r, entry.Sequence)
	return nil
}

// restore publishes the record again if the store has lost it.
func (a *Authority) restore(ctx context.Context) error {
	value, err := encode(a.record)
	if err != nil {
		return err
	}
	sequence, err := a.store.Create(ctx, a.key, value)
	if errors.Is(err, store.ErrConflict) {
		return nil // it has it; it was a server that lags behind
	}
	if err != nil {
		return err
	}
	a.log.WarnContext(ctx, "the store had lost the keys of this replica: they are published again", "active", a.record.GetActive())
	a.apply(a.record, sequence)
	return nil
}

// apply takes over a record that the store has acknowledged. Only here does
// another key begin to sign.
func (a *Authority) apply(r *bffv1.AuthorityRecord, sequence uint64) {
	before, elapsed := a.record, a.Elapsed()
	a.record, a.sequence, a.checked = r, sequence, elapsed
	clear(a.attempts)
	for _, k := range before.GetKeys() {
		if findKey(r, k.GetId()) == nil {
			a.forget(k.GetId())
		}
	}
	next := nextKey(r).GetId()
	if a.next.id != next {
		a.next = event{id: next, at: elapsed}
		if next != "" {
			a.next.sequence = sequence
		}
		a.awaited.Store(a.next.sequence)
	}
	if a.unused != nil && findKey(r, a.unused.Key().ID) != nil {
		a.unused = nil
	}
	for _, k := range r.GetKeys() {
		if k.GetNotAfter() == 0 {
			delete(a.retired, k.GetId())
		} else if _, known := a.retired[k.GetId()]; !known {
			// By the record's clock, but never longer than it takes: the clock may
			// have been set back.
			left := time.Unix(k.GetNotAfter(), 0).Add(skew).Sub(a.Now())
			a.retired[k.GetId()] = elapsed + min(max(left, 0), a.grace()+skew)
		}
	}
	a.shown.Store(r)
	if a.active.id == r.GetActive() {
		return
	}
	a.active, a.overdue = event{r.GetActive(), elapsed, sequence}, 0
	s := &signing{signer: a.signers[r.GetActive()]}
	if s.signer == nil || a.revoked[r.GetActive()] {
		s.err = ErrRevoked // cannot be: a key is opened before it is activated
	}
	a.sign(s)
}

// forget is called for a key that has left the record.
func (a *Authority) forget(id string) {
	delete(a.retired, id)
	delete(a.revoked, id)
	delete(a.signers, id)
	if a.Static == nil || a.Static.Key().ID != id {
		a.trash[id] = true
	}
}

// empty deletes from the vault what has left the record.
func (a *Authority) empty(ctx context.Context) error {
	for id := range a.trash {
		if err := a.vault.Delete(ctx, id); err != nil {
			return err
		}
		delete(a.trash, id)
		a.log.InfoContext(ctx, "private key deleted", "key", id)
	}
	return nil
}
