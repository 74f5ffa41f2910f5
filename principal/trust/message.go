package trust

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
)

// maxSnapshot bounds the parts of a snapshot together.
const maxSnapshot = 64 << 20

// eventCost is what an event counts for at least: it takes more room here than
// the few bytes on the way.
const eventCost = 32

// news is one event, or a whole snapshot, understood.
type news struct {
	revocation.Update
	change

	snapshot  bool
	issuer    string        // of a snapshot
	heartbeat time.Duration // of a snapshot; 0 where it does not say
	elapsed   time.Duration
	skipped   []error // keys that cannot be used
}

// issues reports whether it is about the keys of who issues. Those of services
// come and go all the time, and nobody waits for them.
func (n *news) issues() bool {
	return slices.ContainsFunc(n.added, func(k principal.Key) bool { return k.Role == principal.RoleAuthority }) ||
		slices.ContainsFunc(n.removed, func(r principal.KeyRef) bool { return r.Role == principal.RoleAuthority })
}

// assembly is a snapshot of which parts are missing.
type assembly struct {
	news

	begun bool
	size  int
}

// read understands a message. It returns nil for a part of a snapshot that more
// parts follow.
func (a *assembly) read(m *trustv1.WatchResponse) (*news, error) {
	switch m := m.GetMessage().(type) {
	case *trustv1.WatchResponse_Snapshot:
		return a.add(m.Snapshot)
	case *trustv1.WatchResponse_Event:
		if a.begun {
			return nil, errors.New("trust: an event in the middle of a snapshot")
		}
		return readEvent(m.Event)
	default:
		return nil, errors.New("trust: a message that this version does not know")
	}
}

func (a *assembly) add(s *trustv1.Snapshot) (*news, error) {
	if !a.begun {
		a.begun = true
		// As old as the first part: what happened while the others were sent is not in them.
		a.news = news{
			snapshot: true, issuer: s.GetIssuer(), elapsed: duration(s.GetElapsed()), heartbeat: duration(s.GetHeartbeat()),
			Update: revocation.Update{Sequence: s.GetSequence(), Age: duration(s.GetAge())},
		}
	}
	a.size += max(proto.Size(s), eventCost*len(s.GetRevocations()))
	switch {
	case a.size > maxSnapshot:
		return nil, errors.New("trust: the snapshot is larger than 64 MiB")
	case s.GetSequence() != a.Sequence || s.GetIssuer() != a.issuer:
		return nil, errors.New("trust: the parts of a snapshot do not belong together")
	case s.GetFloor() > s.GetSequence():
		return nil, errors.New("trust: the floor of a snapshot is above it")
	case !wire.IsText(a.issuer):
		return nil, errors.New("trust: a snapshot without the name of its issuer")
	}
	a.Floor = max(a.Floor, s.GetFloor())
	if err := a.learn(s.GetKeys(), nil, s.GetRevocations()); err != nil {
		return nil, err
	}
	if s.GetMore() {
		return nil, nil
	}
	whole := a.news
	*a = assembly{}
	return &whole, nil
}

func readEvent(e *trustv1.Event) (*news, error) {
	n := &news{
		Update:  revocation.Update{Previous: e.GetPrevious(), Sequence: e.GetSequence(), Age: duration(e.GetAge())},
		elapsed: duration(e.GetElapsed()),
	}
	return n, n.learn(e.GetKeys(), e.GetRemovedKeys(), e.GetRevocations())
}

// learn reads what snapshots and events have in common. A revocation that is not
// understood is an error: to go on without it would be to accept what somebody
// has revoked. A key that is not understood is only not trusted.
func (n *news) learn(jwks []byte, removed []*trustv1.KeyRef, revocations []*trustv1.Revocation) error {
	if len(jwks) > 0 {
		added, skipped, err := keyset.Parse(jwks)
		if err != nil {
			return fmt.Errorf("trust: the keys in the feed: %w", err)
		}
		n.added = append(n.added, added...)
		n.skipped = append(n.skipped, skipped...)
	}
	for _, m := range removed {
		ref, err := keyRef(m)
		if err != nil {
			return err
		}
		n.removed = append(n.removed, ref)
	}
	n.Events = slices.Grow(n.Events, len(revocations))
	for _, m := range revocations {
		target, err := revocation.FromProto(m.GetTarget())
		if err != nil {
			return fmt.Errorf("trust: revocation %d cannot be understood, perhaps this service is too old for its edge: %w", m.GetSequence(), err)
		}
		n.Events = append(n.Events, revocation.Event{Sequence: m.GetSequence(), Target: target})
		if key := m.GetTarget().GetKey(); key != nil {
			ref, err := keyRef(key)
			if err != nil {
				return err
			}
			n.revoked = append(n.revoked, ref)
		}
	}
	return nil
}

func keyRef(m *trustv1.KeyRef) (principal.KeyRef, error) {
	ref := principal.KeyRef{Owner: m.GetOwner(), ID: m.GetId()}
	switch m.GetRole() {
	case trustv1.KeyRole_KEY_ROLE_AUTHORITY:
		ref.Role = principal.RoleAuthority
	case trustv1.KeyRole_KEY_ROLE_LINK:
		ref.Role = principal.RoleLink
	default:
		return ref, errors.New("trust: the feed names a key without a role that this version knows")
	}
	return ref, nil
}

// duration reads a duration that a message may leave out and that has no
// business being negative.
func duration(d *durationpb.Duration) time.Duration { return max(0, d.AsDuration()) }
