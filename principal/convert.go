package principal

import (
	"fmt"
	"slices"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// wireFrom reads the generated type, which whoever issues fills in, into the
// one that is encoded. It checks what the latter cannot express; everything
// else is checked on the encoding.
func wireFrom(p *principalv1.Principal) (*wire.Principal, error) {
	if len(p.ProtoReflect().GetUnknown()) > 0 {
		return nil, &wire.Error{Problem: "has fields that this version does not know"}
	}
	w := &wire.Principal{
		Audience:           p.GetAudience(),
		Presenter:          p.GetPresenter(),
		IssuedAt:           p.GetIssuedAt(),
		ExpiresAt:          p.GetExpiresAt(),
		StreamUntil:        p.GetStreamUntil(),
		Scopes:             p.GetScopes(),
		Roles:              p.GetRoles(),
		Tenant:             p.GetTenant(),
		ClientID:           p.GetClientId(),
		MaxLinks:           p.GetMaxLinks(),
		RevocationSequence: p.GetRevocationSequence(),
	}
	var err error
	if len(p.GetId()) > 0 {
		if w.ID, err = wireID("id", p.GetId()); err != nil {
			return nil, err
		}
	}
	if w.HasSessionID = len(p.GetSessionId()) > 0; w.HasSessionID {
		if w.SessionID, err = wireID("session_id", p.GetSessionId()); err != nil {
			return nil, err
		}
	}
	if w.HasTransactionID = len(p.GetTransactionId()) > 0; w.HasTransactionID {
		if w.TransactionID, err = wireID("transaction_id", p.GetTransactionId()); err != nil {
			return nil, err
		}
	}
	if w.Subject, err = wireIdentity("subject", p.GetSubject()); err != nil {
		return nil, err
	}
	if n := len(p.GetDelegations()); n > 0 {
		w.Delegations = make([]wire.Delegation, n)
	}
	for i, d := range p.GetDelegations() {
		next := &w.Delegations[i]
		if next.GrantID, err = wireID("grant_id", d.GetGrantId()); err == nil {
			next.Actor, err = wireIdentity("actor", d.GetActor())
		}
		if err != nil {
			return nil, fmt.Errorf("delegations[%d].%w", i, err)
		}
	}
	if a := p.GetAuthentication(); a != nil {
		w.HasAuthentication = true
		w.Authentication = wire.Authentication{Time: a.GetTime(), ACR: a.GetAcr(), AMR: a.GetAmr(), Source: a.GetSource()}
	}
	for _, a := range p.GetAttributes() {
		w.Attributes = append(w.Attributes, wire.Attribute{Name: a.GetName(), Value: a.GetValue()})
	}
	return w, nil
}

// Proto returns what the issuer stated, with the scopes and roles that are left:
// what a fresh principal of the same session would say. As on the wire, an
// identity names its issuer only where that is another one.
func (p *Principal) Proto() *principalv1.Principal {
	w := &p.wire
	identity := func(i Identity) *principalv1.Identity {
		if i.issuer == w.Issuer {
			i.issuer = ""
		}
		return i.Proto()
	}
	m := &principalv1.Principal{
		Id: slices.Clone(w.ID[:]), Issuer: w.Issuer, Audience: w.Audience, Presenter: w.Presenter,
		IssuedAt: w.IssuedAt, ExpiresAt: w.ExpiresAt, StreamUntil: w.StreamUntil,
		Subject: identity(p.Subject()), Scopes: p.Scopes(), Roles: p.Roles(), Tenant: w.Tenant, ClientId: w.ClientID,
		MaxLinks: w.MaxLinks, RevocationSequence: w.RevocationSequence,
	}
	for _, d := range p.Delegations() {
		m.Delegations = append(m.Delegations, &principalv1.Delegation{GrantId: d.GrantID[:], Actor: identity(d.Actor)})
	}
	if id, ok := p.SessionID(); ok {
		m.SessionId = id[:]
	}
	if id, ok := p.TransactionID(); ok {
		m.TransactionId = id[:]
	}
	if w.HasAuthentication {
		a := &w.Authentication
		m.Authentication = &principalv1.Authentication{Time: a.Time, Acr: a.ACR, Amr: slices.Clone(a.AMR), Source: a.Source}
	}
	for _, a := range w.Attributes {
		m.Attributes = append(m.Attributes, &principalv1.Attribute{Name: a.Name, Value: a.Value})
	}
	return m
}

func wireID(field string, b []byte) (wire.ID, error) {
	if len(b) != len(wire.ID{}) {
		return wire.ID{}, &wire.Error{Field: field, Problem: "is not 16 bytes"}
	}
	return wire.ID(b), nil
}

func wireIdentity(field string, i *principalv1.Identity) (wire.Identity, error) {
	id := wire.Identity{Issuer: i.GetIssuer()}
	var err error
	switch v := i.GetId().(type) {
	case *principalv1.Identity_HumanUuid:
		id.Spelling = wire.HumanUUID
		id.UUID, err = wireID(field, v.HumanUuid)
	case *principalv1.Identity_HumanName:
		id.Spelling, id.Name = wire.HumanName, v.HumanName
	case *principalv1.Identity_AgentUuid:
		id.Spelling = wire.AgentUUID
		id.UUID, err = wireID(field, v.AgentUuid)
	case *principalv1.Identity_AgentName:
		id.Spelling, id.Name = wire.AgentName, v.AgentName
	case *principalv1.Identity_ServiceName:
		id.Spelling, id.Name = wire.ServiceName, v.ServiceName
	default:
		err = &wire.Error{Field: field, Problem: "is missing"}
	}
	return id, err
}
