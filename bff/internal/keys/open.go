package keys

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/principal"

	"github.com/onbehalf-dev/onbehalf/bff/internal/state"
	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// Open reads what the store has of a replica's keys, or begins it. When it
// returns, the authority can sign: a record that calls its key active is in the
// store.
//
// If a record names an active key whose private half is missing or cannot be
// used, that is an error. In a vault of this replica alone, such as [Files], keys
// that the record does not name were made by a process that died before it
// published them; they are deleted. If there is no record although there are
// keys, as after the loss of the store, the youngest that can be used becomes the
// active one.
func Open(ctx context.Context, st Store, vault Vault, o Options) (*Authority, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	a := &Authority{
		Options: o, store: st, vault: vault, key: state.AuthorityName(o.Replica), log: o.Logger,
		wake: make(chan struct{}, 1), busy: make(chan struct{}, 1), started: o.Elapsed(),
		attempts: make(map[[sha256.Size]byte]bool), retired: make(map[string]time.Duration),
		revoked: make(map[string]bool), trash: make(map[string]bool), signers: make(map[string]*principal.Signer),
	}
	if err := a.open(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Authority) open(ctx context.Context) error {
	own, _ := a.vault.(keeper)
	if own != nil {
		if err := own.Sweep(ctx); err != nil {
			return err
		}
	}
	for range 4 { // who else begins at the same time does it once
		// Before the record is read: what is made and published meanwhile is in it.
		// In a vault of several replicas, the keys may be those of others.
		var known []string
		if own != nil {
			var err error
			if known, err = a.vault.List(ctx); err != nil {
				return err
			}
		}
		entry, err := a.store.Get(ctx, a.key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			if err = a.begin(ctx, known); !errors.Is(err, store.ErrConflict) {
				return err
			}
		case err != nil:
			return err
		default:
			return a.resume(ctx, entry, known)
		}
	}
	return ErrSuperseded
}

// begin makes the record. Its key is published and active at once: there is no
// other that could sign until it is known.
func (a *Authority) begin(ctx context.Context, known []string) error {
	signer, err := a.first(ctx, known)
	if err != nil {
		return err
	}
	key, err := newKey(signer.Key().ID, signer.Key().Public.Crypto())
	if err != nil {
		return err
	}
	now := a.Now()
	r := withActive(withNext(&bffv1.AuthorityRecord{Replica: a.Replica, Issuer: a.Issuer}, key, now), key.GetId(), now, a.grace())
	value, err := encode(r)
	if err != nil {
		return err
	}
	// If somebody else was faster, the key that was made here stays: it may be the
	// one that was found there.
	sequence, err := a.store.Create(ctx, a.key, value)
	if err != nil {
		return err
	}
	a.signers[key.GetId()] = signer
	a.apply(r, sequence)
	a.Settle = 0 // nobody has followed this replica before who could be on the way back to it
	a.log.InfoContext(ctx, "this replica begins to sign", "replica", a.Replica, "key", key.GetId())
	return nil
}

// first returns the key to begin with.
func (a *Authority) first(ctx context.Context, known []string) (*principal.Signer, error) {
	if a.Static != nil {
		return a.Static, nil
	}
	if k, ok := a.vault.(keeper); ok && len(known) == 0 {
		if err := k.Adopt(ctx); err != nil {
			return nil, err
		}
		var err error
		if known, err = a.vault.List(ctx); err != nil {
			return nil, err
		}
	}
	var problems []error
	for _, id := range slices.Backward(known) {
		signer, err := a.openKey(ctx, id)
		if err == nil {
			a.log.WarnContext(ctx, "the store has no keys of this replica: it signs with the youngest one that there is", "key", id)
			return signer, nil
		}
		a.log.ErrorContext(ctx, "a private key cannot be used", "key", id, "error", err)
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("keys: the store has no keys of this replica, and the private keys that there are cannot be used: restore one, or remove them to sign with a new one: %w", problems[len(problems)-1])
	}
	return a.create(ctx)
}

// resume goes on with the record that is there.
func (a *Authority) resume(ctx context.Context, entry store.Entry, known []string) error {
	r, err := parseRecord(entry.Value, a.Replica)
	if err != nil {
		return fmt.Errorf("keys: the record %s in the store: %w; restore the store from a backup, or remove the file replica in the data directory to start as a new replica", a.key, err)
	}
	if a.Static == nil {
		err = a.openActive(ctx, r)
	} else {
		a.signers[a.Static.Key().ID] = a.Static
	}
	if err != nil {
		return err
	}
	a.apply(r, entry.Sequence)
	a.sweep(ctx, known)
	if err := a.configure(ctx); err != nil {
		return err
	}
	a.log.InfoContext(ctx, "this replica signs again", "replica", a.Replica, "key", a.record.GetActive())
	return nil
}

func (a *Authority) openActive(ctx context.Context, r *bffv1.AuthorityRecord) error {
	id := r.GetActive()
	signer, err := a.openPublished(ctx, findKey(r, id))
	if err != nil {
		return fmt.Errorf("keys: the store says that this replica signs with the key %s, which cannot be used (%w): restore it, or remove the file replica in the data directory to start as a new replica, and revoke that key", id, err)
	}
	a.signers[id] = signer
	return nil
}

// configure brings a record of before in line with the options of now.
func (a *Authority) configure(ctx context.Context) error {
	r := a.record
	if r.GetIssuer() != a.Issuer {
		a.log.WarnContext(ctx, "the issuer has another name than before: the keys are published in the new one")
		r = proto.CloneOf(r)
		r.Issuer = a.Issuer
	}
	if a.Static != nil {
		own := a.Static.Key()
		key, err := newKey(own.ID, own.Public.Crypto())
		if err != nil {
			return err
		}
		if old := findKey(r, own.ID); r.GetActive() != own.ID || string(old.GetPublicKey()) != string(key.GetPublicKey()) {
			// The key of before may have been in a file that is gone. So this one
			// signs at once, like the first one.
			now := a.Now()
			r = withActive(withNext(r, key, now), own.ID, now, a.grace())
		}
	}
	if r == a.record {
		return nil
	}
	return a.replace(ctx, r)
}

// sweep looks for keys that were made and never published. One that cannot be
// opened is left for somebody to look at.
func (a *Authority) sweep(ctx context.Context, known []string) {
	for _, id := range known {
		if findKey(a.record, id) != nil {
			continue
		}
		if _, err := a.openKey(ctx, id); err != nil {
			a.log.WarnContext(ctx, "a private key that nothing names cannot be used: remove it", "key", id, "error", err)
			continue
		}
		a.log.InfoContext(ctx, "a private key was never published, or has left the store: it will be deleted", "key", id)
		a.trash[id] = true
	}
}

func (a *Authority) create(ctx context.Context) (*principal.Signer, error) {
	id, key, err := a.vault.Create(ctx)
	if err != nil {
		return nil, err
	}
	return principal.NewSigner(a.Issuer, key, id)
}

func (a *Authority) openKey(ctx context.Context, id string) (*principal.Signer, error) {
	key, err := a.vault.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	return principal.NewSigner(a.Issuer, key, id)
}

// openPublished returns the private half of what the record shows.
func (a *Authority) openPublished(ctx context.Context, k *bffv1.AuthorityKey) (*principal.Signer, error) {
	signer, err := a.openKey(ctx, k.GetId())
	if err != nil {
		return nil, err
	}
	public, err := publicKey(k)
	if err != nil {
		return nil, err
	}
	if !public.Equal(signer.Key().Public) {
		return nil, fmt.Errorf("keys: the private key %s is not the one that was published", k.GetId())
	}
	return signer, nil
}
