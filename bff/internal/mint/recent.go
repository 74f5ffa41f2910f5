package mint

import (
	"crypto/sha256"
	"sync"
)

// recent is a bounded map of two generations: when the young one is full it
// becomes the old one, and what was old is forgotten. Whoever sends many
// credentials, for which they all have to be valid, makes others be verified
// again, no more.
type recent[V any] struct {
	most int // in one generation

	mu         sync.Mutex
	young, old map[[sha256.Size]byte]V
}

func newRecent[V any](entries int) *recent[V] {
	return &recent[V]{most: max(1, entries/2)}
}

func (r *recent[V]) get(key [sha256.Size]byte) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.young[key]
	if ok {
		return v, true
	}
	if v, ok = r.old[key]; ok {
		r.add(key, v)
	}
	return v, ok
}

func (r *recent[V]) put(key [sha256.Size]byte, v V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(key, v)
}

func (r *recent[V]) drop(key [sha256.Size]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.young, key)
	delete(r.old, key)
}

func (r *recent[V]) add(key [sha256.Size]byte, v V) {
	if _, known := r.young[key]; !known && len(r.young) >= r.most {
		r.old, r.young = r.young, nil
	}
	if r.young == nil {
		r.young = make(map[[sha256.Size]byte]V)
	}
	r.young[key] = v
}
