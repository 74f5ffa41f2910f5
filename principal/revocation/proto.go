package revocation

import (
	"errors"
	"fmt"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// FromProto returns the target that a message names. Ids are of 16 bytes, and
// nothing that a principal could not carry has a target.
func FromProto(m *trustv1.Target) (Target, error) {
	switch t := m.GetTarget().(type) {
	case *trustv1.Target_Principal:
		return issued(Principal, t.Principal)
	case *trustv1.Target_Session:
		return issued(Session, t.Session)
	case *trustv1.Target_Grant:
		return issued(Grant, t.Grant)
	case *trustv1.Target_Identity:
		id, err := principal.IdentityFromProto(t.Identity)
		if err != nil {
			return Target{}, fmt.Errorf("revocation: %w", err)
		}
		return Identity(id), nil
	case *trustv1.Target_Service:
		if t.Service == "" {
			return Target{}, errors.New("revocation: a service without a name")
		}
		return Service(t.Service), nil
	case *trustv1.Target_Key:
		ref := principal.KeyRef{Role: role(t.Key.GetRole()), Owner: t.Key.GetOwner(), ID: t.Key.GetId()}
		if ref.Role == 0 || ref.Owner == "" || ref.ID == "" {
			return Target{}, errors.New("revocation: a key without a role, an owner or an id")
		}
		return Key(ref), nil
	default:
		return Target{}, errors.New("revocation: a target that this version does not know")
	}
}

func issued(of func(string, principal.ID) Target, m *trustv1.IssuedId) (Target, error) {
	if m.GetIssuer() == "" || len(m.GetId()) != len(principal.ID{}) {
		return Target{}, fmt.Errorf("revocation: an id needs its issuer and %d bytes", len(principal.ID{}))
	}
	return of(m.GetIssuer(), principal.ID(m.GetId())), nil
}

// Proto returns the message for t, or nil for the zero value.
func (t Target) Proto() *trustv1.Target {
	id := func() *trustv1.IssuedId { return &trustv1.IssuedId{Issuer: t.issuer, Id: t.id[:]} }
	switch t.kind {
	case ofPrincipal:
		return &trustv1.Target{Target: &trustv1.Target_Principal{Principal: id()}}
	case ofSession:
		return &trustv1.Target{Target: &trustv1.Target_Session{Session: id()}}
	case ofGrant:
		return &trustv1.Target{Target: &trustv1.Target_Grant{Grant: id()}}
	case ofIdentity:
		return &trustv1.Target{Target: &trustv1.Target_Identity{Identity: t.identity.Proto()}}
	case ofService:
		return &trustv1.Target{Target: &trustv1.Target_Service{Service: t.service}}
	case ofKey:
		return &trustv1.Target{Target: &trustv1.Target_Key{Key: &trustv1.KeyRef{Role: trustv1.KeyRole(t.key.Role), Owner: t.key.Owner, Id: t.key.ID}}}
	default:
		return nil
	}
}

func role(r trustv1.KeyRole) principal.KeyRole {
	switch r {
	case trustv1.KeyRole_KEY_ROLE_AUTHORITY:
		return principal.RoleAuthority
	case trustv1.KeyRole_KEY_ROLE_LINK:
		return principal.RoleLink
	default:
		return 0
	}
}
