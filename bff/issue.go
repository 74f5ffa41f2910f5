package bff

import (
	"context"
	"encoding/base64"
	"time"

	"connectrpc.com/connect/v2"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/internal/audit"
	"github.com/onbehalf-dev/onbehalf/bff/internal/mint"
)

const (
	// sourceService is the Authentication.source of a service that acts for itself.
	sourceService = "service"
	// serviceSession is how long a stream of a service that acts for itself may
	// last with one principal.
	serviceSession = time.Hour
)

var errNoRelay = connect.NewError(connect.CodeFailedPrecondition, "this edge has no trust domain to relay in")

// issue mints a principal for a service that acts for itself (see
// [trust.Node.AsService]).
func (s *Server) issue(ctx context.Context, service string, relay bool) (string, error) {
	spec := mint.Spec{Audience: service, Linked: true, MaxLinks: defaultMaxLinks, PerRequest: true}
	if relay {
		if s.trustDomain == "" {
			return "", errNoRelay
		}
		spec = mint.Spec{Audience: s.trustDomain, PerRequest: true}
	}
	now := s.now()
	may := s.services[service]
	minted, err := s.minter.Issue(&authn.Result{
		Principal: &principalv1.Principal{
			Subject:        &principalv1.Identity{Id: &principalv1.Identity_ServiceName{ServiceName: service}},
			Scopes:         may.Scopes,
			Roles:          may.Roles,
			Authentication: &principalv1.Authentication{Time: now.Unix(), Source: sourceService},
		},
		IssuedAt: now, ExpiresAt: now.Add(serviceSession),
	}, spec)
	return s.handedOut(ctx, audit.Event{Action: audit.ActionIssue, Service: service}, minted, err)
}

// renew mints a principal that says the same as p, for as long as its session
// may last. p has just been verified, and was issued to the service or its trust
// domain.
func (s *Server) renew(ctx context.Context, service string, p *principal.Principal) (string, error) {
	facts := p.Proto()
	spec := mint.Spec{Audience: facts.GetAudience(), Linked: !p.Relay(), MaxLinks: facts.GetMaxLinks()}
	minted, err := s.minter.Issue(&authn.Result{Principal: facts, IssuedAt: p.IssuedAt(), ExpiresAt: p.StreamUntil()}, spec)
	return s.handedOut(ctx, audit.Event{Action: audit.ActionRenew, Service: service, Parent: p.ID().String()}, minted, err)
}

// enrolled records that a service has a key that is trusted.
func (s *Server) enrolled(ctx context.Context, service, keyID, by, address string, sequence uint64) {
	s.audit.WriteEvent(ctx, &audit.Event{
		Time: s.now(), Action: audit.ActionEnroll, Decision: audit.Allowed,
		Service: service, KeyID: keyID, Detail: by, Peer: address, Sequence: sequence,
	})
}

// handedOut records what a service got, or why it did not.
func (s *Server) handedOut(ctx context.Context, e audit.Event, minted *mint.Minted, err error) (string, error) {
	e.Time, e.Decision = s.now(), audit.Allowed
	if err != nil {
		e.Decision, e.Detail = audit.Refused, err.Error()
		s.audit.WriteEvent(ctx, &e)
		return "", err
	}
	e.PrincipalID = principal.ID(minted.Principal.GetId()).String()
	s.audit.WriteEvent(ctx, &e)
	header, err := base64.RawStdEncoding.DecodeString(minted.Header)
	return string(header), err
}
