package keys

import (
	"context"
	"errors"
	"io/fs"
	"time"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
)

const (
	// ahead is how far in the future the beginning of the active key may lie. If it
	// lies farther, the clock was set back, and nobody knows how old the key is.
	ahead = time.Minute
	// spread is how long a published key takes at least to those who follow other
	// replicas of the edge, of whom Missing does not know.
	spread = time.Second
)

// Rotate publishes the next key now, and returns its id. It becomes the active
// one by [Authority.Run], when all have it or the lead has passed. If there is a
// next one already, it is that.
func (a *Authority) Rotate(ctx context.Context) (next string, err error) {
	if a.Static != nil {
		return "", ErrStatic
	}
	if err := a.lock(ctx); err != nil {
		return "", err
	}
	defer a.unlock()
	if err := a.refresh(ctx); err != nil {
		return "", err
	}
	if a.next.id == "" {
		if err := a.publish(ctx); err != nil {
			return "", err
		}
	}
	a.rouse()
	return a.next.id, nil
}

// Revoked is told of every key in the name of the issuer that was revoked. If it
// is the active one, another one is published and active when Revoked returns,
// and the revoked key does not sign any more, in no case. If it is one that has
// signed or would have, it leaves the record. After an error, Run goes on with it.
func (a *Authority) Revoked(ctx context.Context, id string) error {
	if err := a.lock(ctx); err != nil {
		return err
	}
	defer a.unlock()
	if a.Static != nil && a.Static.Key().ID == id {
		a.log.ErrorContext(ctx, "the key of signing_key was revoked: this edge signs no more; name another file, and start it again", "key", id)
		a.sign(&signing{err: ErrRevoked})
		return nil
	}
	if a.unused != nil && a.unused.Key().ID == id {
		a.unused, a.trash[id] = nil, true
	}
	if findKey(a.record, id) == nil {
		return nil // another replica's
	}
	a.revoked[id] = true
	if a.record.GetActive() == id && a.signing.Load().err == nil {
		a.log.WarnContext(ctx, "the active key was revoked", "key", id)
		a.sign(&signing{err: ErrRevoked, until: make(chan struct{})})
	}
	a.rouse()
	return a.dropRevoked(ctx)
}

// dropRevoked takes revoked keys out of the record, and puts others in their
// place.
func (a *Authority) dropRevoked(ctx context.Context) error {
	if len(a.revoked) == 0 {
		return nil
	}
	// Another process may have done so, with a key of its own.
	if err := a.refresh(ctx); err != nil {
		return err
	}
	active := func() bool { return a.revoked[a.record.GetActive()] }
	if a.revoked[a.next.id] || active() && a.next.id == "" {
		if err := a.publish(ctx); err != nil {
			return err
		}
	}
	for range 2 { // the first one may find that the next key is gone, and publish another
		if active() {
			if err := a.activate(ctx); err != nil {
				return err
			}
		}
	}
	if active() {
		return ErrRevoked
	}
	r := without(a.record, func(k *bffv1.AuthorityKey) bool { return a.revoked[k.GetId()] })
	if len(r.GetKeys()) < len(a.record.GetKeys()) {
		if err := a.replace(ctx, r); err != nil {
			return err
		}
	}
	return a.empty(ctx)
}

// publish makes a key, if there is none left from a failed attempt, and
// publishes it as the next one.
func (a *Authority) publish(ctx context.Context) error {
	if a.unused == nil {
		signer, err := a.create(ctx)
		if err != nil {
			return err
		}
		a.unused = signer
	}
	signer := a.unused
	key, err := newKey(signer.Key().ID, signer.Key().Public.Crypto())
	if err != nil {
		return err
	}
	if err := a.replace(ctx, withNext(a.record, key, a.Now())); err != nil {
		return err
	}
	a.log.InfoContext(ctx, "the next key is published", "key", key.GetId(), "epoch", findKey(a.record, key.GetId()).GetEpoch())
	return nil
}

// activate makes the next key the active one. It opens it again: what is not
// durable must not sign.
func (a *Authority) activate(ctx context.Context) error {
	next, old := nextKey(a.record), a.record.GetActive()
	signer, err := a.openPublished(ctx, next)
	if errors.Is(err, fs.ErrNotExist) {
		a.log.ErrorContext(ctx, "the private half of the next key is gone: another one is published", "key", next.GetId())
		return a.publish(ctx)
	}
	if err != nil {
		return err
	}
	a.signers[next.GetId()] = signer
	r := withActive(a.record, next.GetId(), a.Now(), a.grace())
	if a.revoked[old] {
		r = without(r, func(k *bffv1.AuthorityKey) bool { return k.GetId() == old })
	}
	if err := a.replace(ctx, r); err != nil {
		return err
	}
	a.log.InfoContext(ctx, "another key signs", "key", next.GetId(), "epoch", next.GetEpoch(), "before", old)
	return nil
}

// age is that of the active key. A clock that was set back does not make it
// younger.
func (a *Authority) age() time.Duration {
	began := findKey(a.record, a.record.GetActive()).GetActivated()
	age := time.Unix(seconds(a.Now()), 0).Sub(time.Unix(began, 0))
	if age < -ahead {
		age = a.Life / 2
	}
	return max(age, a.Elapsed()-a.active.at)
}

// ready reports whether the next key may sign.
func (a *Authority) ready() bool {
	elapsed := a.Elapsed()
	published := elapsed - a.next.at
	if published >= a.Lead {
		return true
	}
	return a.Missing != nil && elapsed-a.started >= a.Settle && published >= spread && a.Missing(a.next.sequence) == 0
}

// due reports whether a retired key has to leave the record.
func (a *Authority) due(k *bffv1.AuthorityKey) bool {
	at, ok := a.retired[k.GetId()]
	return ok && a.Elapsed() >= at
}
