package principal

import (
	"sync"
	"sync/atomic"
	"time"
)

// Hold is a call that is under way: it ends when its principal is revoked. It is
// safe for concurrent use; a nil one is that of an anonymous call and never ends.
type Hold struct {
	verifier  *Verifier
	rule      *rule
	principal atomic.Pointer[Principal]
	end       func(Reason)

	shard      *callShard
	prev, next *Hold
}

// Hold says that the call goes on until [Hold.Release]. end is called when its
// principal is revoked: by whoever learns of that, so it must be quick and not
// use the hold, and perhaps more than once or after the release. It is not called
// when time has passed: see [Hold.Review].
func (a *Admission) Hold(end func(Reason)) *Hold {
	if a.Principal == nil {
		return nil
	}
	h := &Hold{verifier: a.guard.verifier, rule: a.rule, end: end}
	h.principal.Store(a.Principal)
	r := h.verifier.revocations
	if r == nil {
		return h
	}
	h.verifier.calls.add(h)
	if r.Generation() != a.generation { // what has changed since was reviewed without this call
		if reason := r.Check(a.Principal, false); reason != 0 {
			end(reason)
		}
	}
	return h
}

// Revocable reports whether the call can end by a revocation.
func (a *Admission) Revocable() bool {
	return a.Principal != nil && a.guard.verifier.revocations != nil
}

// Review says why a stream must end now, or else when to ask again: at the end
// of its principal, or, where the method's rule has STREAM_LIFE_SESSION, of the
// session; and not later than when the revocations would be too old. The zero
// time is never.
func (h *Hold) Review() (again time.Time, reason Reason) {
	if h == nil {
		return time.Time{}, 0
	}
	v, p := h.verifier, h.principal.Load()
	now := v.now()
	end := p.wire.ExpiresAt + skew
	if h.rule != nil && h.rule.session && v.revocations != nil { // no rule: the method is only observed
		end = max(end, p.wire.StreamUntil)
	}
	again = time.Unix(end, 0)
	if !now.Before(again) {
		return time.Time{}, ReasonTime
	}
	if v.revocations == nil {
		return again, 0
	}
	left := v.staleIn(h.rule)
	if left <= 0 {
		return time.Time{}, ReasonStale
	}
	if stale := now.Add(left); stale.Before(again) {
		again = stale
	}
	return again, 0
}

// Release says that the call has ended.
func (h *Hold) Release() {
	if h != nil && h.shard != nil {
		h.shard.remove(h)
	}
}

// calls are those under way that stand on one verifier. Every call comes and
// goes, so that costs little; a review, for each change of what is revoked,
// looks at all of them.
type calls struct {
	shards [cacheShards]callShard
	turn   atomic.Uint32
}

type callShard struct {
	mu    sync.Mutex
	first *Hold
}

func (c *calls) add(h *Hold) {
	s := &c.shards[c.turn.Add(1)%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	h.shard, h.next = s, s.first
	if s.first != nil {
		s.first.prev = h
	}
	s.first = h
}

func (s *callShard) remove(h *Hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case h.prev != nil:
		h.prev.next = h.next
	case s.first == h:
		s.first = h.next
	default:
		return // it has been removed
	}
	if h.next != nil {
		h.next.prev = h.prev
	}
	h.prev, h.next = nil, nil
}

func (s *callShard) held() []*Hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Hold
	for h := s.first; h != nil; h = h.next {
		all = append(all, h)
	}
	return all
}

// review ends the calls whose principals are revoked.
func (c *calls) review(r Revocations) {
	for i := range c.shards {
		for _, h := range c.shards[i].held() {
			if reason := r.Check(h.principal.Load(), true); reason != 0 {
				h.end(reason)
			}
		}
	}
}
