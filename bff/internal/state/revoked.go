package state

import (
	"slices"
	"time"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
)

// skew is by how much the clocks of issuers and edges may differ.
const skew = 30 * time.Second

// keptInFull is how many revocations can be listed.
const keptInFull = 1000

// Info is a revocation in full.
type Info struct {
	// Target is shared and must not be changed.
	Target   *trustv1.Target
	Sequence uint64
	// Time is when it was revoked, by the clock of the edge that did it.
	Time   time.Time
	Reason string
}

// Revoked reports whether t is revoked, and remembered, for credentials that
// were issued at a time. Sessions, grants, principals and keys do not come back.
// Identities and services do, for what was issued more than 30 seconds after the
// revocation, as clocks differ; zero is before everything.
func (s *State) Revoked(t revocation.Target, issued time.Time) bool {
	m := t.Proto()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if key := m.GetKey(); key != nil {
		_, revoked := s.keys.revoked[refOf(key)]
		return revoked
	}
	r := s.revoked.get(digestOfProto(m))
	switch {
	case r == nil:
		return false
	case !returns(m) || issued.IsZero():
		return true
	default:
		return !issued.After(time.Unix(r.at, 0).Add(skew))
	}
}

// Check returns ReasonRevoked if p, which this edge has issued, rests on
// something that was revoked after it was issued; ReasonFloor if it was issued
// before the store was made or restored, as revocations may have been lost; else
// 0. Principals of other issuers were issued before everything.
func (s *State) Check(p *principal.Principal) principal.Reason {
	issuer, issued := p.Issuer(), uint64(0)
	if issuer == s.o.Issuer {
		issued = p.RevocationSequence()
	}
	if slices.ContainsFunc(revocation.Targets(p), func(t revocation.Target) bool { return s.revokedAfter(t, issued) }) {
		return principal.ReasonRevoked
	}
	if issued < s.store.Base() {
		return principal.ReasonFloor
	}
	return 0
}

func (s *State) revokedAfter(t revocation.Target, issued uint64) bool {
	m := t.Proto()
	if m.GetKey() != nil {
		return s.Revoked(t, time.Time{})
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	r := s.revoked.get(digestOfProto(m))
	return r != nil && (issued < r.sequence || !returns(m))
}

// Revocations returns the newest revocations, the last one first, and how many
// there are in all. At most 1,000 are listed: the others are known by their hash
// only.
func (s *State) Revocations(limit int) (list []Info, total int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := s.latest.list
	list = slices.Clone(all[max(0, len(all)-min(max(0, limit), keptInFull)):])
	slices.Reverse(list)
	return list, s.revoked.len() + len(s.keys.revoked)
}

// latest holds the newest revocations in full, ascending.
type latest struct {
	list    []Info
	digests []digest
}

// add takes the place of what was there at a sequence before.
func (l *latest) add(d digest, i Info, before uint64) {
	if len(l.list) > 0 && before >= l.list[0].Sequence {
		l.remove(d)
	}
	if len(l.list) >= 2*keptInFull {
		l.list, l.digests = slices.Clone(l.list[keptInFull:]), slices.Clone(l.digests[keptInFull:])
	}
	l.list, l.digests = append(l.list, i), append(l.digests, d)
}

func (l *latest) remove(d digest) {
	if i := slices.Index(l.digests, d); i >= 0 {
		l.list, l.digests = slices.Delete(l.list, i, i+1), slices.Delete(l.digests, i, i+1)
	}
}
