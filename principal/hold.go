package principal

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Hold is a call that is under way: it ends when its principal is revoked. It is
// safe for concurrent use and must not be copied. The zero value, which is also
// that of a call that nothing ends, holds nothing.
type Hold struct {
	guard     *Guard
	event     Event // what let the call in
	end       Ender
	principal *Principal
	lease     *lease // what has the principal instead, if the caller asked for it
	id        leaseID

	shard      *callShard
	prev, next *Hold
}

// Ender is what a call is ended by.
type Ender interface {
	// Terminate ends the call. It is called by whoever learns of the reason, so it
	// must be quick and not use the hold; perhaps more than once, or after the
	// release.
	Terminate(reason Reason)
}

// Hold makes h, which is new, the hold of the call: it goes on until
// [Hold.Release], and end is called when its principal is revoked; not when time
// has passed: see [Hold.Review]. It reports false for calls that nothing ends:
// anonymous ones, and those of methods that are observed only.
func (a *Admission) Hold(h *Hold, end Ender) bool {
	if !a.ends() {
		return false
	}
	h.guard, h.event, h.end, h.principal, h.lease = a.guard, a.event, end, a.Principal, a.lease
	v := a.guard.verifier
	if v.revocations == nil {
		return true
	}
	v.calls.add(h)
	if v.changedSince(a.generation) { // which was reviewed without this call
		if reason := v.check(a.Principal, false); reason != 0 {
			end.Terminate(reason)
		}
	}
	return true
}

// ends reports whether the call is one that can be ended: what would have been
// let through anyway is not.
func (a *Admission) ends() bool { return a.Principal != nil && !a.observed }

// Revocable reports whether the call can end by a revocation.
func (a *Admission) Revocable() bool { return a.ends() && a.guard.verifier.revocations != nil }

// Review says why a stream must end now, or else how long to wait before asking
// again: until the end of its principal, or, where the method's rule has
// STREAM_LIFE_SESSION and there are revocations, of the session; and not longer
// than the revocations are fresh enough.
func (h *Hold) Review() (wait time.Duration, reason Reason) {
	v, p, r := h.guard.verifier, h.latest(), h.event.rule
	now := v.now()
	end := p.wire.ExpiresAt + skew
	if r.session && v.revocations != nil {
		end = max(end, p.wire.StreamUntil)
	}
	if wait = time.Unix(end, 0).Sub(now); wait <= 0 {
		return 0, ReasonTime
	}
	if v.revocations == nil {
		return wait, 0
	}
	fresh, reason := v.freshFor(r)
	switch {
	case reason != 0:
		return 0, reason
	case fresh <= 0:
		return 0, ReasonStale
	}
	return min(wait, fresh), 0
}

// latest returns the principal of the call, as it was renewed last.
func (h *Hold) latest() *Principal {
	if h.lease != nil {
		return h.lease.current.Load()
	}
	return h.principal
}

// Release says that the call is over. ended is why, if it was ended: observers
// are told so, with ctx.
func (h *Hold) Release(ctx context.Context, ended Reason) {
	if h.shard != nil {
		h.shard.remove(h)
	}
	if h.lease != nil {
		h.guard.verifier.leases.remove(h)
	}
	if ended != 0 && h.guard != nil {
		event := h.event
		event.Decision, event.Reason, event.Principal = Ended, ended, h.latest()
		h.guard.report(ctx, &event)
	}
}

// changedSince reports whether something may have been revoked after generation,
// or the revocations cannot say.
func (v *Verifier) changedSince(generation uint64) bool {
	now := v.generation()
	return now == 0 || now != generation
}

// The three functions below ask the revocations outside of a call, where nobody
// stops a panic. A defect there ends the call and leaves the process alive.

func (v *Verifier) generation() (g uint64) {
	defer func() { _ = recover() }() // 0 is no generation: Check is asked
	return v.revocations.Generation()
}

func (v *Verifier) check(p *Principal, open bool) (reason Reason) {
	defer func() {
		if recover() != nil {
			reason = ReasonInternal
		}
	}()
	return v.revocations.Check(p, open)
}

func (v *Verifier) freshFor(r *rule) (left time.Duration, reason Reason) {
	defer func() {
		if recover() != nil {
			reason = ReasonInternal
		}
	}()
	return v.staleIn(r), 0
}

// calls are those under way that stand on one verifier. Every call comes and
// goes, so that costs little; a review, for each change of what is revoked,
// looks at all of them.
type calls struct {
	shards [cacheShards]callShard
}

type callShard struct {
	mu    sync.Mutex
	first *Hold
	count int
}

func (c *calls) add(h *Hold) {
	s := &c.shards[rand.Uint32()%cacheShards] //nolint:gosec // it only spreads them
	s.mu.Lock()
	defer s.mu.Unlock()
	h.shard, h.next = s, s.first
	if s.first != nil {
		s.first.prev = h
	}
	s.first = h
	s.count++
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
	s.count--
	if h.next != nil {
		h.next.prev = h.prev
	}
	h.prev, h.next = nil, nil
}

func (s *callShard) held() []*Hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Hold, 0, s.count)
	for h := s.first; h != nil; h = h.next {
		all = append(all, h)
	}
	return all
}

// review ends the calls whose principals are revoked. None of them is waited
// for, and a call that begins meanwhile looks for itself.
func (v *Verifier) review() {
	for i := range v.calls.shards {
		for _, h := range v.calls.shards[i].held() {
			if reason := v.check(h.latest(), true); reason != 0 {
				h.terminate(reason)
			}
		}
	}
}

// terminate ends the call. A panic there must not keep the others from ending.
func (h *Hold) terminate(reason Reason) {
	defer func() { _ = recover() }()
	h.end.Terminate(reason)
}
