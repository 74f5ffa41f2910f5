// Package recent remembers what was used lately, within a bound.
package recent

import (
	"maps"
	"sync"
)

// Map is a bounded map of two generations: when the young one is full it becomes
// the old one, and what was old is forgotten. Whoever sends many keys, for which
// they all have to be valid, makes others be looked up again, no more. It is safe
// for concurrent use.
type Map[K comparable, V any] struct {
	most int // in one generation

	mu         sync.Mutex
	young, old map[K]V
}

// New returns a map of at most so many entries, and of 2 at least.
func New[K comparable, V any](entries int) *Map[K, V] {
	return &Map[K, V]{most: max(1, entries/2)}
}

// Get returns what was put there, if that is remembered.
func (r *Map[K, V]) Get(key K) (V, bool) {
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

// Put remembers v.
func (r *Map[K, V]) Put(key K, v V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(key, v)
}

// Drop forgets what was put there.
func (r *Map[K, V]) Drop(key K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.young, key)
	delete(r.old, key)
}

// All returns a copy of what is remembered.
func (r *Map[K, V]) All() map[K]V {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[K]V, len(r.old)+len(r.young))
	maps.Copy(all, r.old)
	maps.Copy(all, r.young)
	return all
}

func (r *Map[K, V]) add(key K, v V) {
	if _, known := r.young[key]; !known && len(r.young) >= r.most {
		r.old, r.young = r.young, nil
	}
	if r.young == nil {
		r.young = make(map[K]V)
	}
	r.young[key] = v
}
