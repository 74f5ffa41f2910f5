package state

import (
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// change is what one entry changes for those who follow.
type change struct {
	revocation *trustv1.Revocation
	keys       []principal.KeyRef // that may be published anew, or no more
}

// apply takes in what has happened. No batch is lower than the one before.
func (s *State) apply(b store.Batch) {
	now := s.o.Now()
	s.mu.Lock()
	var revoked bool
	if b.Reset {
		revoked = s.restart(b, now)
	} else {
		for i := range b.Entries {
			e := &b.Entries[i]
			c := s.entry(e, now, now)
			revoked = revoked || c.revocation != nil
			s.publish(e.Sequence, c, now)
		}
	}
	s.sequence = max(s.sequence, b.Sequence)
	close(s.moved)
	s.moved = make(chan struct{})
	listeners := s.onChange
	if revoked {
		s.generation.Add(1)
	} else {
		listeners = nil
	}
	s.mu.Unlock()
	for _, f := range listeners {
		f()
	}
}

// restart takes in the whole content. What happened in between is not known, so
// that those who follow need a snapshot.
func (s *State) restart(b store.Batch, now time.Time) (revoked bool) {
	entries := slices.Clone(b.Entries)
	slices.SortFunc(entries, func(a, b store.Entry) int {
		if a.Sequence < b.Sequence {
			return -1
		}
		return 1
	})
	s.clear()
	var last uint64 // event
	for i := range entries {
		e := &entries[i]
		at := now
		if !e.Time.IsZero() && e.Time.Before(now) {
			at = e.Time
		}
		c := s.entry(e, at, now)
		revoked = revoked || c.revocation != nil
		if c.revocation != nil || len(c.keys) > 0 {
			last = e.Sequence
		}
	}
	s.keys.settle(s.keys.all())
	s.recent.forget(now)
	s.events.restart(last, b.Sequence)
	return revoked
}

// publish tells those who follow what an entry has changed.
func (s *State) publish(sequence uint64, c change, now time.Time) {
	keys, removed := s.keys.settle(c.keys)
	if c.revocation == nil && len(keys) == 0 && len(removed) == 0 {
		return
	}
	event := &trustv1.Event{Sequence: sequence, Keys: document(keys)}
	for _, ref := range removed {
		event.RemovedKeys = append(event.RemovedKeys, protoRef(ref))
	}
	if c.revocation != nil {
		event.Revocations = []*trustv1.Revocation{c.revocation}
	}
	s.events.add(event, now)
}

// entry takes in one entry, which is known since a time.
func (s *State) entry(e *store.Entry, at, now time.Time) change {
	kind, _, _ := strings.Cut(e.Key, ".")
	var c change
	var err error
	switch kind + "." {
	case revocationPrefix:
		c.revocation, err = s.revocationEntry(e, at, now)
		if t := c.revocation.GetTarget().GetKey(); t != nil {
			c.keys = []principal.KeyRef{refOf(t)}
		}
	case authorityPrefix:
		c.keys, err = s.authorityEntry(e)
	case linkPrefix:
		c.keys, err = s.linkEntry(e)
	case servicePrefix:
		c.keys, err = s.serviceEntry(e)
	case tokenPrefix:
		err = s.tokenEntry(e)
	}
	if err != nil {
		s.log.Warn("a record in the store is left out", "record", e.Key, "sequence", e.Sequence, "error", err)
	}
	return c
}

var errName = errors.New("its content belongs under another name")

func parse(e *store.Entry, m proto.Message) error {
	if e.Deleted {
		return nil
	}
	if err := proto.Unmarshal(e.Value, m); err != nil {
		return errors.New("it is not the message that it should be")
	}
	return nil
}

// revocationEntry remembers a revocation. The error leaves everything as it was:
// one that was there before still holds.
func (s *State) revocationEntry(e *store.Entry, at, now time.Time) (*trustv1.Revocation, error) {
	if e.Deleted {
		if d, ok := digestIn(e.Key); ok {
			s.revoked.remove(d)
			s.latest.remove(d)
		}
		return nil, nil
	}
	var m bffv1.RevocationRecord
	if err := parse(e, &m); err != nil {
		return nil, err
	}
	target, err := revocation.FromProto(m.GetTarget())
	if err != nil {
		return nil, err
	}
	r := &trustv1.Revocation{Sequence: e.Sequence, Target: target.Proto()}
	d := digestOfProto(r.GetTarget())
	if named, ok := digestIn(e.Key); !ok || named != d {
		return nil, errName
	}
	var before uint64
	key := r.GetTarget().GetKey()
	if key != nil {
		before = s.keys.revoke(refOf(key), e.Sequence)
	} else {
		before = s.revoked.add(remembered{digest: d, sequence: e.Sequence, at: m.GetTime()})
	}
	if before >= e.Sequence {
		return nil, nil // known from before the store started over
	}
	if key == nil {
		s.recent.add(r, at, now)
	}
	s.latest.add(d, Info{Target: r.GetTarget(), Sequence: e.Sequence, Time: time.Unix(m.GetTime(), 0), Reason: m.GetReason()}, before)
	return r, nil
}

func (s *State) authorityEntry(e *store.Entry) ([]principal.KeyRef, error) {
	m := new(bffv1.AuthorityRecord)
	err := parse(e, m)
	if err == nil && !e.Deleted {
		switch {
		case AuthorityName(m.GetReplica()) != e.Key:
			err = errName
		case m.GetIssuer() != s.o.Issuer:
			err = errors.New("it is of another issuer")
		}
	}
	if err != nil || e.Deleted {
		delete(s.authorities, e.Key)
		return s.keys.set(e.Key, nil), err
	}
	s.authorities[e.Key] = Record[*bffv1.AuthorityRecord]{Message: m, Sequence: e.Sequence}
	var errs []error
	claims := make([]claim, 0, len(m.GetKeys()))
	for _, k := range m.GetKeys() {
		ref := principal.KeyRef{Role: principal.RoleAuthority, Owner: m.GetIssuer(), ID: k.GetId()}
		c, err := newClaim(ref, k.GetPublicKey(), k.GetNotAfter())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.rank, c.sequence = rankAuthority, e.Sequence
		claims = append(claims, c)
	}
	return s.keys.set(e.Key, claims), errors.Join(errs...)
}

func (s *State) linkEntry(e *store.Entry) ([]principal.KeyRef, error) {
	service, id := s.keys.linkOf(e.Key)
	delete(s.links[service], id)
	if len(s.links[service]) == 0 {
		delete(s.links, service)
	}
	m := new(bffv1.LinkKeyRecord)
	err := parse(e, m)
	if err != nil || e.Deleted {
		return s.keys.set(e.Key, nil), err
	}
	ref := principal.KeyRef{Role: principal.RoleLink, Owner: m.GetService(), ID: m.GetId()}
	c, err := newClaim(ref, m.GetPublicKey(), m.GetNotAfter())
	if err == nil && LinkName(ref.Owner, ref.ID) != e.Key {
		err = errName
	}
	if err == nil && m.GetNotAfter() == 0 {
		err = errors.New("it has no end")
	}
	if err != nil {
		return s.keys.set(e.Key, nil), err
	}
	c.rank, c.sequence = rankLink, e.Sequence
	if s.links[ref.Owner] == nil {
		s.links[ref.Owner] = make(map[string]Record[*bffv1.LinkKeyRecord])
	}
	s.links[ref.Owner][ref.ID] = Record[*bffv1.LinkKeyRecord]{Message: m, Sequence: e.Sequence}
	return s.keys.set(e.Key, []claim{c}), nil
}

// serviceEntry suspends the keys of a service for as long as it is revoked. What
// cannot be read is as good as revoked: that is the only reason for a record.
func (s *State) serviceEntry(e *store.Entry) ([]principal.KeyRef, error) {
	m := new(bffv1.ServiceRecord)
	err := parse(e, m)
	if err == nil && !e.Deleted && ServiceName(m.GetService()) != e.Key {
		err = errName
	}
	service := unescape(strings.TrimPrefix(e.Key, servicePrefix))
	if err != nil {
		m = &bffv1.ServiceRecord{Service: service, Revoked: 1}
	}
	if e.Deleted {
		delete(s.services, service)
	} else {
		s.services[service] = Record[*bffv1.ServiceRecord]{Message: m, Sequence: e.Sequence}
	}
	return s.keys.suspend(service, !e.Deleted && m.GetRevoked() != 0), err
}

func (s *State) tokenEntry(e *store.Entry) error {
	m := new(bffv1.EnrollmentToken)
	err := parse(e, m)
	if err != nil || e.Deleted {
		delete(s.tokens, e.Key)
		return err
	}
	s.tokens[e.Key] = Record[*bffv1.EnrollmentToken]{Message: m, Sequence: e.Sequence}
	return nil
}
