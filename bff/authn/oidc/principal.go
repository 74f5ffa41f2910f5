package oidc

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
)

// source is what a principal says about who verified its credential.
const source = "oidc"

// principal maps the claims of a token that is in order.
func (v *verifier) principal(ctx context.Context, c claims, signingInput string) (*principalv1.Principal, error) {
	kind, err := v.kind(c)
	if err != nil {
		return nil, err
	}
	tenant, err := v.tenant(c)
	if err != nil {
		return nil, err
	}
	p := &principalv1.Principal{Tenant: tenant}
	if err := v.setParties(ctx, p, c, kind); err != nil {
		return nil, err
	}
	if p.ClientId, err = v.clientID(c); err != nil {
		return nil, err
	}
	if p.SessionId, err = v.session(c, signingInput); err != nil {
		return nil, err
	}
	if p.Authentication, err = v.authentication(c); err != nil {
		return nil, err
	}
	if p.Attributes, err = v.attributes(c); err != nil {
		return nil, err
	}
	return p, nil
}

// setParties sets who the principal is and, as they depend on who acts, its rights.
func (v *verifier) setParties(ctx context.Context, p *principalv1.Principal, c claims, kind Kind) error {
	unique := ""
	if v.config.PerTenant {
		unique = p.GetTenant()
	}
	subject, err := v.subject(c, kind, unique)
	if err != nil {
		return err
	}
	p.Subject = subject.identity()
	delegation, agent, err := v.delegation(ctx, c, unique, subject)
	if err != nil {
		return err
	}
	if delegation != nil {
		p.Delegations = []*principalv1.Delegation{delegation}
	}
	if p.Scopes, err = v.scopes(c); err != nil {
		return err
	}
	if agent != nil && agent.Scopes != nil {
		p.Scopes = slices.DeleteFunc(p.GetScopes(), func(s string) bool { return !slices.Contains(agent.Scopes, s) })
		return nil
	}
	p.Roles, err = v.roles(c)
	return err
}

func (v *verifier) tenant(c claims) (string, error) {
	claim := v.config.TenantClaim
	if claim == "" {
		return "", nil
	}
	tenant, err := c.fact(claim)
	if err != nil {
		return "", err
	}
	if tenant == "" && v.config.PerTenant {
		return "", refuse(authn.ReasonClaims, claim+" is missing")
	}
	return tenant, nil
}

func (v *verifier) scopes(c claims) ([]string, error) {
	claim := v.config.Scopes.Claim
	scopes, single, err := c.texts(claim)
	if err != nil {
		return nil, err
	}
	if single {
		scopes = strings.FieldsFunc(scopes[0], func(r rune) bool { return r == ' ' })
	}
	return v.config.Scopes.apply(scopes, maxScopes, scopeProblem)
}

func (v *verifier) roles(c claims) ([]string, error) {
	claim := v.config.Roles.Claim
	if claim == "" {
		return nil, nil
	}
	roles, _, err := c.texts(claim)
	if err != nil {
		return nil, err
	}
	return v.config.Roles.apply(roles, maxRoles, textProblem)
}

// apply returns the names that go on, strictly ascending.
func (m Mapping) apply(theirs []string, limit int, problem func(string) string) ([]string, error) {
	var ours []string
	for _, name := range theirs {
		if m.Map != nil {
			mapped, ok := m.Map[name]
			if !ok {
				continue
			}
			name = cmp.Or(mapped, name)
		}
		if p := problem(name); p != "" {
			return nil, refuse(authn.ReasonClaims, "a value of "+m.Claim+" "+p)
		}
		ours = append(ours, name)
	}
	slices.Sort(ours)
	ours = slices.Compact(ours)
	if len(ours) > limit {
		return nil, refuse(authn.ReasonClaims, fmt.Sprintf("%s has more than %d values", m.Claim, limit))
	}
	return ours, nil
}

func (v *verifier) clientID(c claims) (string, error) {
	if claim := v.config.ClientIDClaim; claim != "" {
		return c.fact(claim)
	}
	if client, err := c.fact("client_id"); client != "" || err != nil {
		return client, err
	}
	return c.fact("azp")
}

// session returns the handle by which a login is ended: UUIDv5 of issuer ‖ 0 ‖
// sid, else of jti, else of the SHA-256, in hex, of what is signed of the token.
// The signature is left out: from each ECDSA signature anybody can make a
// second one, and with it a session that has not been ended.
func (v *verifier) session(c claims, signingInput string) ([]byte, error) {
	for _, name := range [...]string{"sid", "jti"} {
		value, err := c.text(name)
		if err != nil {
			return nil, err
		}
		if strings.Contains(value, "\x00") {
			return nil, refuse(authn.ReasonClaims, name+" has a NUL")
		}
		if value != "" {
			id := derive(v.config.Issuer, value)
			return id[:], nil
		}
	}
	sum := sha256.Sum256([]byte(signingInput))
	id := derive(v.config.Issuer, hex.EncodeToString(sum[:]))
	return id[:], nil
}

func (v *verifier) authentication(c claims) (*principalv1.Authentication, error) {
	at, err := c.date("auth_time")
	if err != nil || at.After(v.now().Add(skew)) {
		return nil, refuse(authn.ReasonClaims, "auth_time is not a date, or to come")
	}
	acr, err := c.fact("acr")
	if err != nil {
		return nil, err
	}
	amr, _, err := c.texts("amr")
	if err != nil {
		return nil, err
	}
	if amr, err = (Mapping{Claim: "amr"}).apply(amr, maxMethods, textProblem); err != nil {
		return nil, err
	}
	a := &principalv1.Authentication{Acr: acr, Amr: amr, Source: source}
	if !at.IsZero() {
		a.Time = at.Unix()
	}
	return a, nil
}

// attributes returns those that the token has. The configuration has put them
// into the order of their names.
func (v *verifier) attributes(c claims) ([]*principalv1.Attribute, error) {
	var attributes []*principalv1.Attribute
	size := 0
	for _, a := range v.config.Attributes {
		if _, ok := c.find(a.Claim); !ok {
			continue
		}
		value, ok := c.scalar(a.Claim)
		if !ok {
			return nil, refuse(authn.ReasonClaims, a.Claim+" is not a string, a boolean or a number")
		}
		if value == "" {
			continue
		}
		if p := textProblem(value); p != "" {
			return nil, refuse(authn.ReasonClaims, a.Claim+" "+p)
		}
		if size += len(a.Name) + len(value); size > maxAttributeBytes {
			return nil, refuse(authn.ReasonClaims, "attributes are longer than 1 KiB together")
		}
		attributes = append(attributes, &principalv1.Attribute{Name: a.Name, Value: value})
	}
	return attributes, nil
}
