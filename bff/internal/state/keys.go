package state

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

var errNoKeys = errors.New("state: no keys are known yet")

// Find implements [principal.KeySet] over what is published: revoked keys are not.
func (s *State) Find(_ context.Context, ref principal.KeyRef) (*principal.Key, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.sequence == 0 {
		return nil, errNoKeys
	}
	return s.keys.published[ref].key, nil
}

// Version implements [principal.KeySet].
func (s *State) Version() uint64 { return s.keys.version.Load() }

// Keys returns all keys that are published, by role, owner and id.
func (s *State) Keys() []principal.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.keys.sorted()
	keys := make([]principal.Key, len(list))
	for i, p := range list {
		keys[i] = *p.key
	}
	return keys
}

// Claimed returns the name under which a public key was published, if it ever
// was as far as is known: also if it has been revoked.
func (s *State) Claimed(public *principal.PublicKey) (ref principal.KeyRef, ok bool) {
	point, err := pointOf(public)
	if err != nil {
		return ref, false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if claims := s.keys.byPoint[point]; len(claims) > 0 {
		return slices.MinFunc(claims, func(a, b claim) int { return a.compare(&b) }).key.KeyRef, true
	}
	for ref := range s.keys.revoked {
		if ref.ID == public.ID() { // its record may be gone; the id is made of the key
			return ref, true
		}
	}
	return ref, false
}

// Authorities returns what the replicas say of their signing keys, by replica.
func (s *State) Authorities() []Record[*bffv1.AuthorityRecord] {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.SortedFunc(maps.Values(s.authorities), func(a, b Record[*bffv1.AuthorityRecord]) int {
		return strings.Compare(a.Message.GetReplica(), b.Message.GetReplica())
	})
}

// LinkKeys returns the link keys that a service has enrolled, the oldest first:
// also expired and revoked ones, until they are removed.
func (s *State) LinkKeys(service string) []Record[*bffv1.LinkKeyRecord] {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.SortedFunc(maps.Values(s.links[service]), func(a, b Record[*bffv1.LinkKeyRecord]) int {
		return cmp.Compare(a.Sequence, b.Sequence)
	})
}

// LinkRefs returns the names of all link keys of a service, by id: those of
// [State.LinkKeys], and those of [Options.Static].
func (s *State) LinkRefs(service string) []principal.KeyRef {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var refs []principal.KeyRef
	for ref := range s.keys.byRef {
		if ref.Role == principal.RoleLink && ref.Owner == service {
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, func(a, b principal.KeyRef) int { return strings.Compare(a.ID, b.ID) })
	return refs
}
