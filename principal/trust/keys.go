package trust

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// keys are the keys that the feed says are trusted, and those that a pull has
// found besides.
type keys struct {
	version atomic.Uint64

	mu       sync.RWMutex
	issuer   string // "" until the first snapshot
	feed     map[principal.KeyRef]*principal.Key
	points   map[string]principal.KeyRef // of feed, by public key
	pulled   map[principal.KeyRef]*principal.Key
	pulledAt time.Time
	revoked  map[principal.KeyRef]struct{} // for good
	removals uint64                        // counts messages that took keys away
}

func newKeys() *keys {
	return &keys{
		feed:    make(map[principal.KeyRef]*principal.Key),
		points:  make(map[string]principal.KeyRef),
		pulled:  make(map[principal.KeyRef]*principal.Key),
		revoked: make(map[principal.KeyRef]struct{}),
	}
}

var errNoFeed = errors.New("trust: the feed has not been heard yet")

// find returns the key, or whether it could be one that was not heard of yet.
func (k *keys) find(ref principal.KeyRef) (key *principal.Key, plausible bool, err error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.issuer == "" {
		return nil, false, errNoFeed
	}
	if key := k.feed[ref]; key != nil {
		return key, false, nil
	}
	if key := k.pulled[ref]; key != nil {
		return key, false, nil
	}
	_, revoked := k.revoked[ref]
	return nil, !revoked && k.mayPublish(ref), nil
}

// mayPublish reports whether the feed can have a key of that name: its edge
// cannot give itself the name of another issuer.
func (k *keys) mayPublish(ref principal.KeyRef) bool {
	return ref.Role == principal.RoleLink || ref.Owner == k.issuer
}

// published returns what the feed itself says, and whether the key was revoked.
func (k *keys) published(ref principal.KeyRef) (key *principal.Key, revoked bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	_, revoked = k.revoked[ref]
	return k.feed[ref], revoked
}

// change is what a message says of keys.
type change struct {
	added   []principal.Key
	removed []principal.KeyRef
	revoked []principal.KeyRef
}

// replace makes those the only keys, and reports whether that changes anything.
func (k *keys) replace(issuer string, c change) (changed bool, skipped []error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := maps.Clone(k.pulled)
	maps.Copy(before, k.feed)
	k.issuer = issuer
	k.removals++
	k.feed = make(map[principal.KeyRef]*principal.Key, len(c.added))
	k.points = make(map[string]principal.KeyRef, len(c.added))
	k.pulled = make(map[principal.KeyRef]*principal.Key)
	for _, ref := range c.revoked {
		k.revoked[ref] = struct{}{}
	}
	for _, key := range c.added {
		if err := k.add(key); err != nil {
			skipped = append(skipped, err)
		}
	}
	lost := k.version.Load() == 0
	for ref, key := range before {
		now := k.feed[ref]
		lost = lost || now == nil || !sameKey(key, now)
	}
	k.turn(lost)
	return lost || len(before) != len(k.feed), skipped
}

// apply changes the keys, and reports whether that changes anything.
func (k *keys) apply(c change) (changed bool, skipped []error) {
	if len(c.added)+len(c.removed)+len(c.revoked) == 0 {
		return false, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, ref := range c.revoked {
		k.revoked[ref] = struct{}{}
	}
	lost := false
	for _, refs := range [][]principal.KeyRef{c.removed, c.revoked} {
		for _, ref := range refs {
			k.removals++
			lost = k.drop(ref) || lost
		}
	}
	for _, key := range c.added {
		before := k.feed[key.KeyRef]
		if before == nil {
			before = k.pulled[key.KeyRef]
		}
		if err := k.add(key); err != nil {
			skipped = append(skipped, err)
			lost = k.drop(key.KeyRef) || lost // what it was is not what the edge says of it now
			continue
		}
		changed = changed || before == nil
		lost = lost || before != nil && !sameKey(before, &key)
	}
	k.turn(lost)
	return changed || lost, skipped
}

func (k *keys) add(key principal.Key) error {
	_, revoked := k.revoked[key.KeyRef]
	point := pointOf(&key)
	other, taken := k.points[point]
	switch {
	case revoked:
		return fmt.Errorf("key %s of %q: it was revoked", key.ID, key.Owner)
	case !k.mayPublish(key.KeyRef):
		return fmt.Errorf("key %s: an authority key of another issuer", key.ID)
	case taken && other != key.KeyRef:
		return fmt.Errorf("key %s of %q: another record, %s of %q, has the same public key", key.ID, key.Owner, other.ID, other.Owner)
	}
	k.drop(key.KeyRef)
	k.feed[key.KeyRef], k.points[point] = &key, key.KeyRef
	return nil
}

func (k *keys) drop(ref principal.KeyRef) bool {
	_, pulled := k.pulled[ref]
	delete(k.pulled, ref)
	key := k.feed[ref]
	if key == nil {
		return pulled
	}
	delete(k.feed, ref)
	delete(k.points, pointOf(key))
	return true
}

// turn changes the version, after the content, if a key is lost: what was
// verified until then is verified again. A key that is new has verified nothing
// yet, and services enrol new ones all the time.
func (k *keys) turn(lost bool) {
	if lost {
		k.version.Add(1)
	}
}

// addPulled takes what a pull found that the feed has not told of. It goes by
// removals, as read when the pull began: what it found may be older than a
// message that took a key away.
func (k *keys) addPulled(found []principal.Key, removals uint64, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if removals != k.removals {
		return
	}
	next := make(map[principal.KeyRef]*principal.Key)
	for _, key := range found {
		_, revoked := k.revoked[key.KeyRef]
		_, taken := k.points[pointOf(&key)]
		if !revoked && !taken && k.feed[key.KeyRef] == nil && k.mayPublish(key.KeyRef) {
			next[key.KeyRef] = &key
		}
	}
	lost := false
	for ref, key := range k.pulled {
		lost = lost || next[ref] == nil || !sameKey(key, next[ref])
	}
	k.pulled, k.pulledAt = next, now
	k.turn(lost)
}

// settle forgets what was pulled, once the feed has said, at a later time, that
// it has told everything.
func (k *keys) settle(sent time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.pulled) > 0 && sent.After(k.pulledAt) {
		clear(k.pulled)
		k.turn(true)
	}
}

func (k *keys) removed() uint64 {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.removals
}

func sameKey(a, b *principal.Key) bool {
	return a.KeyRef == b.KeyRef && a.Public.Equal(b.Public) && a.NotBefore.Equal(b.NotBefore) && a.NotAfter.Equal(b.NotAfter)
}

// pointOf returns the same for two records of one public key.
func pointOf(key *principal.Key) string {
	der, err := x509.MarshalPKIXPublicKey(key.Public.Crypto())
	if err != nil {
		panic("trust: " + err.Error()) // a PublicKey has been checked
	}
	return string(der)
}

// Find implements [principal.KeySet]. A key that the feed has told of is
// returned at once. For another one the edge's key set is fetched, at most once
// in ten seconds, and waited for until ctx is done or for two seconds. The record
// is shared and must not be changed. A verifier of your own over these keys would
// know of no revocations: use [Node.Verifier].
func (n *Node) Find(ctx context.Context, ref principal.KeyRef) (*principal.Key, error) {
	key, plausible, err := n.keys.find(ref)
	if key != nil || err != nil || !plausible || !n.pull(ctx) {
		return key, err
	}
	key, _, err = n.keys.find(ref)
	return key, err
}

// Version implements [principal.KeySet].
func (n *Node) Version() uint64 { return n.keys.version.Load() }
