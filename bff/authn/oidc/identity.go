package oidc

import (
	"strings"

	"github.com/google/uuid"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
)

// namespace is where all ids that are derived from external ones lie.
var namespace = uuid.MustParse("2bd1d63d-77e2-560e-821a-dcf3b7bef64e")

var kindPrefixes = map[Kind]string{KindHuman: "hm-", KindAgent: "am-", KindService: "svc-"}

// derive returns the UUIDv5 (RFC 9562, section 5.5) over parts with a NUL
// between each two. No part may have one itself, or two lists would have one id.
func derive(parts ...string) uuid.UUID {
	return uuid.NewSHA1(namespace, []byte(strings.Join(parts, "\x00")))
}

// party is a subject or an actor: a UUID, or a name if that is not empty.
type party struct {
	kind Kind
	uuid uuid.UUID
	name string
}

// String returns the id as people see it, e.g. hm-6ba7b810-… or svc-payments.
func (p party) String() string {
	if p.name != "" {
		return kindPrefixes[p.kind] + p.name
	}
	return kindPrefixes[p.kind] + p.uuid.String()
}

func (p party) identity() *principalv1.Identity {
	switch {
	case p.kind == KindService:
		return &principalv1.Identity{Id: &principalv1.Identity_ServiceName{ServiceName: p.name}}
	case p.kind == KindAgent && p.name != "":
		return &principalv1.Identity{Id: &principalv1.Identity_AgentName{AgentName: p.name}}
	case p.kind == KindAgent:
		return &principalv1.Identity{Id: &principalv1.Identity_AgentUuid{AgentUuid: p.uuid[:]}}
	case p.name != "":
		return &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: p.name}}
	default:
		return &principalv1.Identity{Id: &principalv1.Identity_HumanUuid{HumanUuid: p.uuid[:]}}
	}
}

// kind applies the issuer's rules in their order.
func (v *verifier) kind(c claims) (Kind, error) {
	for _, rule := range v.config.Kinds {
		if rule.When.holds(c) {
			return rule.Kind, nil
		}
	}
	return "", refuse(authn.ReasonKind, "no rule matches")
}

func (w Condition) holds(c claims) bool {
	if w.Present {
		_, ok := c.find(w.Claim)
		return ok
	}
	value, ok := c.scalar(w.Claim)
	return ok && value == w.Equals
}

// subject says who the token is about. tenant is empty unless the issuer is
// configured per tenant.
func (v *verifier) subject(c claims, kind Kind, tenant string) (party, error) {
	if kind == KindService {
		return v.service(c)
	}
	claim := v.config.Subject.Claim
	value, err := c.text(claim)
	if err != nil {
		return party{}, err
	}
	problem := func(what string) error { return refuse(authn.ReasonClaims, claim+" "+what) }
	switch {
	case value == "":
		return party{}, problem("is missing")
	case strings.Contains(value, "\x00"):
		return party{}, problem("has a NUL")
	}
	switch v.config.Subject.As {
	case SubjectUUID:
		id, err := uuid.Parse(value)
		if err != nil || len(value) != len(uuid.Nil.String()) || id == uuid.Nil {
			return party{}, problem("is not a UUID")
		}
		return party{kind: kind, uuid: id}, nil
	case SubjectName:
		if p := nameProblem(value); p != "" {
			return party{}, problem(p)
		}
		return party{kind: kind, name: value}, nil
	default:
		return party{kind: kind, uuid: derive(v.config.Issuer, tenant, value)}, nil
	}
}

func (v *verifier) service(c claims) (party, error) {
	claim := v.config.Service.Claim
	name, err := c.text(claim)
	if err != nil {
		return party{}, err
	}
	if names := v.config.Service.Names; names != nil {
		name = names[name] // the names in there are valid; "" is not
	}
	if !isServiceName(name) {
		return party{}, refuse(authn.ReasonClaims, claim+" is not the name of a service")
	}
	return party{kind: KindService, name: name}, nil
}
