package principal

import "sync"

const cacheShards = 16

// cache is a bounded map for concurrent use. Each shard holds two generations:
// when the young one is full it becomes the old one, and what was old is
// forgotten. That keeps what is in use at the cost of a map look-up, and an
// entry that nobody asks for again does not outlive two turns.
type cache[K comparable, V any] struct {
	shards [cacheShards]shard[K, V]
	most   int // in one generation of one shard
}

type shard[K comparable, V any] struct {
	mu         sync.RWMutex
	young, old map[K]V
}

func newCache[K comparable, V any](entries int) *cache[K, V] {
	return &cache[K, V]{most: max(1, entries/cacheShards/2)}
}

// get looks key up. where picks the shard and is the same for the same key.
func (c *cache[K, V]) get(where byte, key K) (V, bool) {
	s := &c.shards[where%cacheShards]
	s.mu.RLock()
	v, ok := s.young[key]
	if ok {
		s.mu.RUnlock()
		return v, true
	}
	v, ok = s.old[key]
	s.mu.RUnlock()
	if ok {
		c.put(where, key, v)
	}
	return v, ok
}

func (c *cache[K, V]) put(where byte, key K, v V) {
	s := &c.shards[where%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.young[key]; !known && len(s.young) >= c.most {
		s.old, s.young = s.young, nil
	}
	if s.young == nil {
		s.young = make(map[K]V)
	}
	s.young[key] = v
}

// spread picks a shard for a header: one of its last bytes, which are part of
// random or signature bytes.
func spread(header string) byte {
	if len(header) < 8 {
		return 0
	}
	return header[len(header)-8]
}
