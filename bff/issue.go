package bff

import (
	"context"
	"encoding/base64"
	"errors"
	"time"

	"connectrpc.com/connect/v2"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/internal/audit"
	"github.com/onbehalf-dev/onbehalf/bff/internal/feed"
	"github.com/onbehalf-dev/onbehalf/bff/internal/mint"
)

const (
	// sourceService is the Authentication.source of a service that acts for itself.
	sourceService = "service"
	// serviceSession is how long a stream of a service that acts for itself may
	// last with one principal.
	serviceSession = time.Hour
)

var errIdentityRevoked = connect.NewError(connect.CodePermissionDenied, "the service's identity was revoked: principals are issued to it again 30 seconds after that")

var (
	errNoRelay  = connect.NewError(connect.CodeFailedPrecondition, "this edge has no trust domain to relay in")
	errUnlogged = connect.NewError(connect.CodeUnavailable, "the edge cannot write its audit records; try again")
)

// issue mints a principal for a service that acts for itself (see
// [trust.Node.AsService]).
func (s *Server) issue(ctx context.Context, service string, relay bool) (string, error) {
	if s.refuseUnlogged && s.audit.Failing() {
		return "", errUnlogged
	}
	spec := mint.Spec{Audience: service, Linked: true, MaxLinks: defaultMaxLinks, PerRequest: true}
	if relay {
		if s.trustDomain == "" {
			return "", errNoRelay
		}
		spec = mint.Spec{Audience: s.trustDomain, PerRequest: true}
	}
	rules, done := s.use()
	defer done()
	now := s.now()
	may := rules.services[service]
	minted, err := rules.minter.Issue(&authn.Result{
		Principal: &principalv1.Principal{
			Subject:        &principalv1.Identity{Id: &principalv1.Identity_ServiceName{ServiceName: service}},
			Scopes:         may.Scopes,
			Roles:          may.Roles,
			Authentication: &principalv1.Authentication{Time: now.Unix(), Source: sourceService},
		},
		IssuedAt: now, ExpiresAt: now.Add(serviceSession),
	}, spec)
	header, err := s.handedOut(ctx, audit.Event{Action: audit.ActionIssue, Service: service}, minted, err)
	if e, ok := errors.AsType[*authn.Error](err); ok && e.Reason == authn.ReasonRevoked {
		return "", errIdentityRevoked
	}
	return header, err
}

// renew mints a principal that says the same as p, for as long as its session
// may last. p has just been verified, and was issued to the service or its trust
// domain.
func (s *Server) renew(ctx context.Context, service string, p *principal.Principal) (string, error) {
	if s.refuseUnlogged && s.audit.Failing() {
		return "", errUnlogged
	}
	rules, done := s.use()
	defer done()
	facts := p.Proto()
	spec := mint.Spec{Audience: facts.GetAudience(), Linked: !p.Relay(), MaxLinks: facts.GetMaxLinks()}
	minted, err := rules.minter.Issue(&authn.Result{Principal: facts, IssuedAt: p.IssuedAt(), ExpiresAt: p.StreamUntil()}, spec)
	return s.handedOut(ctx, audit.Event{Action: audit.ActionRenew, Service: service, Parent: p.ID().String()}, minted, err)
}

// enrolled records that a service has a key that is trusted, or that somebody
// tried to have one.
func (s *Server) enrolled(ctx context.Context, e feed.Enrolment) {
	event := audit.Event{
		Time: s.now(), Action: audit.ActionEnroll, Decision: audit.Allowed,
		Service: e.Service, KeyID: e.KeyID, Detail: e.By, Peer: e.Address, Sequence: e.Sequence,
	}
	if e.Err != nil {
		event.Decision, event.Detail = audit.Refused, e.Err.Error()
	}
	s.audit.WriteEvent(ctx, &event)
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
