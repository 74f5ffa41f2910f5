// Package enrichment asks an [enrich.Enricher] and adds what it says to
// principals.
//
// An enricher is somebody else's program. It may be slow, absent or wrong: a
// [Source] waits for it for a bounded time, with one call for each subject and a
// bounded number of them, remembers its answers, goes on with an old one for a
// while, and refuses as a whole what breaks a limit. What it says can be roles and
// attributes and nothing else.
package enrichment

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"

	"github.com/onbehalf-dev/onbehalf/bff/enrich"
	"github.com/onbehalf-dev/onbehalf/bff/internal/metrics"
	"github.com/onbehalf-dev/onbehalf/bff/internal/recent"
)

const (
	// maxCalls is how many calls may be under way. An enricher that is slow, or
	// that does not heed its context, holds no more than these.
	maxCalls = 256
	// retryAfter is how long an old answer is used without asking, after a call
	// that failed: what the enricher costs then is one wait a second and subject.
	retryAfter = time.Second
)

var (
	errBusy     = errors.New("too many calls are under way")
	errPanicked = errors.New("the enricher panicked")
	errNothing  = errors.New("the enricher returned nothing")
)

// Settings are those of a [Source]. All but PerSession, Serve and Metrics are
// required.
type Settings struct {
	Enricher enrich.Enricher
	// Issuer is the name in which the edge signs.
	Issuer string
	// Timeout bounds a call, and how long a request waits for it.
	Timeout time.Duration
	// Cache is how long an answer is used without asking again; MaxStale how long
	// it is used while asking fails, both from when it was given.
	Cache, MaxStale time.Duration
	// Serve has principals go without what cannot be had.
	Serve bool
	// PerSession tells the enricher the session, and asks once for each.
	PerSession bool
	// Entries is how many answers are remembered.
	Entries int
	// Metrics may be nil.
	Metrics *metrics.Metrics
	Logger  *slog.Logger
	Now     func() time.Time
}

// Source adds facts to principals. It is safe for concurrent use.
type Source struct {
	Settings

	known   *recent.Map[flightKey, answer]
	flights singleflight.Group
	calls   chan struct{}
	warned  limiter
}

// New returns a source.
func New(s Settings) *Source {
	return &Source{Settings: s, known: recent.New[flightKey, answer](s.Entries), calls: make(chan struct{}, maxCalls), warned: limiter{now: s.Now}}
}

// flightKey is the hash of all that the enricher is told.
type flightKey = [sha256.Size]byte

// answer is what the enricher said about a subject.
type answer struct {
	output *enrich.Output
	given  time.Time
	failed time.Time // when asking again last failed
}

// within reports whether now is at most d after t. A clock that was set back
// makes nothing last longer.
func within(t, now time.Time, d time.Duration) bool {
	return !now.Before(t) && now.Sub(t) < d
}

// Facts returns the roles and attributes of p, whose credential is issuer's, with
// those added that the enricher knows. If they cannot be had and Serve is set,
// why says so in words of the edge, and the facts are those of p. Without it that
// is an error, whose text is for the record, not for the caller.
func (s *Source) Facts(ctx context.Context, issuer string, p *principalv1.Principal) (facts Facts, why string, err error) {
	own := Facts{Roles: p.GetRoles(), Attributes: p.GetAttributes()}
	in, ok := s.input(issuer, p)
	if !ok {
		return own, "", nil
	}
	out, err := s.output(ctx, in)
	if err == nil {
		facts, err = join(p, out)
	}
	if err == nil {
		s.Metrics.Added(ctx, facts.bytes()-own.bytes())
		return facts, "", nil
	}
	failure := &Error{text: Describe(err), cause: err}
	s.warn(ctx, "enrichment failed", failure, slog.Bool("served", s.Serve))
	if s.Serve {
		return own, failure.Error(), nil
	}
	return Facts{}, "", failure
}

// input says whom to ask for. There is nobody if the subject cannot be carried by
// a principal, or is not known under the name of this edge: its id may be
// somebody else's here.
func (s *Source) input(issuer string, p *principalv1.Principal) (*enrich.Input, bool) {
	subject := proto.CloneOf(p.GetSubject())
	if subject == nil || subject.GetIssuer() != "" && subject.GetIssuer() != s.Issuer {
		return nil, false
	}
	subject.Issuer = s.Issuer
	id, err := principal.IdentityFromProto(subject)
	if err != nil {
		return nil, false
	}
	in := &enrich.Input{Issuer: issuer, Subject: id.String(), Kind: id.Kind().String(), Tenant: p.GetTenant(), Roles: p.GetRoles()}
	if session := p.GetSessionId(); s.PerSession && len(session) == len(principal.ID{}) {
		in.Session = principal.ID(session).String()
	}
	return in, true
}

// output returns what the enricher says, now or lately.
func (s *Source) output(ctx context.Context, in *enrich.Input) (*enrich.Output, error) {
	key := sha256.Sum256(fmt.Appendf(nil, "%q", []any{in.Issuer, in.Subject, in.Kind, in.Tenant, in.Session, in.Roles})) // quoted: no two look the same
	old, known := s.known.Get(key)
	now := s.Now()
	usable := known && within(old.given, now, s.MaxStale)
	if known && within(old.given, now, s.Cache) {
		return old.output, nil
	}
	if usable && within(old.failed, now, retryAfter) {
		s.Metrics.Stale()
		return old.output, nil
	}
	out, err := s.ask(ctx, key, in)
	if err == nil || !usable {
		return out, err
	}
	s.Metrics.Stale()
	old.failed = now
	s.known.Put(key, old)
	s.warn(ctx, "enrichment goes on with an old answer", &Error{text: Describe(err)}, slog.Duration("age", now.Sub(old.given)))
	return old.output, nil
}

// ask waits for a call for at most Timeout. It is made for all who ask for the
// same subject meanwhile, and so does not end with the request that began it.
func (s *Source) ask(ctx context.Context, key flightKey, in *enrich.Input) (*enrich.Output, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	flight := s.flights.DoChan(string(key[:]), func() (any, error) {
		select {
		case s.calls <- struct{}{}:
			defer func() { <-s.calls }()
		default:
			return nil, errBusy
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Timeout)
		defer cancel()
		now := s.Now()
		out, err := s.call(ctx, in)
		s.Metrics.Enriched(ctx, s.Now().Sub(now), err == nil)
		if err == nil {
			s.known.Put(key, answer{output: out, given: now})
		}
		return out, err
	})
	select {
	case r := <-flight:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*enrich.Output), nil //nolint:errcheck // what the flight returns
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// call asks the enricher. A panic in it fails one call, not the edge.
func (s *Source) call(ctx context.Context, in *enrich.Input) (out *enrich.Output, err error) {
	defer func() {
		if recover() != nil { // its value may hold anything
			out, err = nil, errPanicked
		}
	}()
	out, err = s.Enricher.Enrich(ctx, in)
	switch {
	case err != nil:
		return nil, err
	case ctx.Err() != nil: // what came too late is not taken by anybody
		return nil, ctx.Err()
	case out == nil:
		return nil, errNothing
	}
	own := &enrich.Output{Workspace: out.Workspace, Roles: slices.Clone(out.Roles), Attributes: maps.Clone(out.Attributes)}
	return own, Check(own)
}
