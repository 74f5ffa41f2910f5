package oidc

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/onbehalf-dev/onbehalf/bff/internal/netaddr"
)

var defaultAlgorithms = []string{"RS256", "ES256", "EdDSA"}

const (
	typAccessToken = "at+jwt"
	typAny         = "any"
	maxURL         = 2048 // bytes
)

// Validate reports all that is wrong with issuers, one line each: where, what,
// and what to do about it, e.g.
//
//	issuers[1].audience: missing; name the audience your tokens carry
func Validate(issuers []Issuer) error {
	var v validator
	for i := range issuers {
		v.at = fmt.Sprintf("issuers[%d]", i)
		v.issuer(&issuers[i])
		for j := range i {
			if issuers[j].Issuer == issuers[i].Issuer {
				v.problemf("issuer", "the same as that of issuers[%d]; describe each issuer once", j)
			}
		}
	}
	return errors.Join(v.problems...)
}

type validator struct {
	at       string
	problems []error
}

func (v *validator) problemf(field, format string, args ...any) {
	v.problems = append(v.problems, fmt.Errorf("%s.%s: %s", v.at, field, fmt.Sprintf(format, args...)))
}

func (v *validator) issuer(c *Issuer) {
	v.urls(c)
	if len(c.Audience) == 0 {
		v.problemf("audience", "missing; name the audience your tokens carry")
	}
	v.notEmpty("audience", c.Audience)
	if c.AuthorizedParties != nil && len(c.AuthorizedParties) == 0 {
		v.problemf("authorized_parties", "empty; name some, or leave it out to take the tokens of any client")
	}
	v.notEmpty("authorized_parties", c.AuthorizedParties)
	if c.Typ != "" && c.Typ != typAccessToken && c.Typ != typAny {
		v.problemf("typ", "%q is unknown; write at+jwt or any", c.Typ)
	}
	for i, alg := range c.Algorithms {
		if methodOf(alg) == nil {
			v.problemf(fmt.Sprintf("algorithms[%d]", i), "%q is unknown or not allowed; take some of %s", alg, algorithmNames())
		}
	}
	if c.PerTenant && c.TenantClaim == "" {
		v.problemf("tenant_claim", "missing; per_tenant needs the claim that has the tenant")
	}
	switch c.Subject.As {
	case "", SubjectDerived, SubjectUUID, SubjectName:
	default:
		v.problemf("subject.as", "%q is unknown; write derived, uuid or name", c.Subject.As)
	}
	v.kinds(c)
	v.service(c)
	v.mapping("scopes", c.Scopes, scopeProblem)
	v.mapping("roles", c.Roles, textProblem)
	if c.Roles.Claim == "" && c.Roles.Map != nil {
		v.problemf("roles.claim", "missing; name the claim that has the roles")
	}
	v.attributes(c.Attributes)
	v.agents(c)
}

func (v *validator) urls(c *Issuer) {
	if c.Issuer == "" {
		v.problemf("issuer", "missing; write the URL that the provider gives as its own")
		return
	}
	issuer := checkURL(c.Issuer)
	if c.JWKSURI == "" && issuer == nil {
		issuer = checkReachable(c.Issuer, c.reach())
	}
	v.url("issuer", c.Issuer, issuer)
	if c.JWKSURI != "" {
		v.url("jwks_uri", c.JWKSURI, checkReachable(c.JWKSURI, c.reach()))
	}
}

func (v *validator) url(field, raw string, err error) {
	if err != nil {
		v.problemf(field, "%v", quoted(raw, err))
	}
}

// quoted puts a URL before an error about it, unless a password may be in it.
func quoted(raw string, err error) error {
	if strings.Contains(raw, "@") {
		return err
	}
	return fmt.Errorf("%q %w", raw, err)
}

// checkURL allows https, and http to loopback: keys that come over a network
// in clear are anybody's.
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case len(raw) > maxURL:
		return errors.New("is longer than 2048 bytes")
	case err == nil && u.Scheme != "" && u.Scheme != "https" && u.Scheme != "http":
		return errors.New("is not https; write an https URL")
	case err != nil && strings.Contains(raw, "%"):
		return errors.New("is not a URL; leave the percent sign out")
	case err != nil || u.Host == "" || u.Opaque != "":
		return errors.New("is not a URL with a host; write one such as https://login.example")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(raw, "#"):
		return errors.New("has a user, a query or a fragment; leave them out")
	}
	if err := netaddr.CheckForm(u); err != nil {
		return err
	}
	if u.Scheme != "https" && !netaddr.IsLoopback(u.Hostname()) {
		return errors.New("is not https; http is allowed to the loopback interface only")
	}
	return nil
}

// checkReachable also looks at where a URL leads to, as far as it says that.
func checkReachable(raw string, reach netaddr.Reach) error {
	if err := checkURL(raw); err != nil {
		return err
	}
	u, err := url.Parse(raw)
	if err != nil {
		return err
	}
	if err := reach.CheckHost(u.Hostname()); err != nil {
		return fmt.Errorf("cannot be asked: %w", err)
	}
	return nil
}

// reach is where an issuer's keys may be fetched from.
func (c *Issuer) reach() netaddr.Reach {
	if c.JWKSURI != "" {
		return netaddr.ReachOf(c.JWKSURI, c.PrivateNetwork)
	}
	return netaddr.ReachOf(c.Issuer, c.PrivateNetwork)
}

func (v *validator) notEmpty(field string, values []string) {
	for i, value := range values {
		if value == "" {
			v.problemf(fmt.Sprintf("%s[%d]", field, i), "empty; leave it out")
		}
	}
}

func (v *validator) kinds(c *Issuer) {
	if len(c.Kinds) == 0 {
		v.problemf("kinds", "missing; say when a subject is a human, an agent or a service")
	}
	for i, rule := range c.Kinds {
		field := fmt.Sprintf("kinds[%d]", i)
		switch rule.Kind {
		case KindHuman, KindAgent, KindService:
		default:
			v.problemf(field+".kind", "%q is unknown; write human, agent or service", rule.Kind)
		}
		if rule.When.Claim == "" {
			v.problemf(field+".when.claim", "missing; name the claim to look at")
		}
		if (rule.When.Equals != "") == rule.When.Present {
			v.problemf(field+".when", "needs either equals or present: true")
		}
	}
}

func (v *validator) service(c *Issuer) {
	isService := func(r KindRule) bool { return r.Kind == KindService }
	if c.Service.Claim == "" && (c.Service.Names != nil || slices.ContainsFunc(c.Kinds, isService)) {
		v.problemf("service.claim", "missing; name the claim that has the service's name")
	}
	for _, value := range slices.Sorted(maps.Keys(c.Service.Names)) {
		if name := c.Service.Names[value]; !isServiceName(name) {
			v.problemf("service.names", "%q is not a service name; use up to 63 of a-z, 0-9, . and -", name)
		}
	}
}

func (v *validator) mapping(field string, m Mapping, problem func(string) string) {
	for _, theirs := range slices.Sorted(maps.Keys(m.Map)) {
		ours := m.Map[theirs]
		if ours == "" {
			ours = theirs
		}
		if p := problem(ours); p != "" {
			v.problemf(field+".map", "%q %s; choose another name", ours, p)
		}
	}
}

func (v *validator) attributes(attributes []Attribute) {
	if len(attributes) > maxAttributes {
		v.problemf("attributes", "more than %d; a principal carries few and coarse facts", maxAttributes)
	}
	for i, a := range attributes {
		field := fmt.Sprintf("attributes[%d]", i)
		if p := textProblem(a.Name); p != "" {
			v.problemf(field+".name", "%s; choose another name", p)
		}
		if a.Claim == "" {
			v.problemf(field+".claim", "missing; name the claim to carry")
		}
		same := func(other Attribute) bool { return other.Name == a.Name }
		if slices.ContainsFunc(attributes[:i], same) {
			v.problemf(field+".name", "%q is there twice; choose another name", a.Name)
		}
	}
}

func (v *validator) agents(c *Issuer) {
	seen := make(map[actor]bool)
	for i, a := range c.Agents {
		field := fmt.Sprintf("agents[%d]", i)
		own := a.Issuer == "" || a.Issuer == c.Issuer
		if a.Subject == "" {
			v.problemf(field+".subject", "missing; write the act.sub of the agent")
		}
		if strings.Contains(a.Issuer+a.Tenant+a.Subject, "\x00") {
			v.problemf(field, "has a NUL; remove it")
		}
		if own && c.PerTenant && a.Tenant == "" {
			v.problemf(field+".tenant", "missing; subjects of this issuer are unique within a tenant only")
		}
		if a.Tenant != "" && (!own || !c.PerTenant) {
			v.problemf(field+".tenant", "only for agents that this issuer names, and with per_tenant; leave it out")
		}
		if a.Scopes != nil && len(a.Scopes) == 0 {
			v.problemf(field+".scopes", "empty; name some, or leave it out to not restrict the agent")
		}
		for _, scope := range a.Scopes {
			if p := scopeProblem(scope); p != "" {
				v.problemf(field+".scopes", "%q %s", scope, p)
			}
		}
		key := a.actor(c.Issuer)
		if seen[key] {
			v.problemf(field, "the same agent as one before; describe each once")
		}
		seen[key] = true
	}
}
