package principal

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// RenewalSource fetches a fresh header of the same session, with the service of
// the propagator as its audience, from the edge that issued the one that it is
// given; both are decoded. It is called at half of a principal's life, for streams
// that this service has opened in the name of a principal that came straight from
// the edge. It must respect ctx.
type RenewalSource func(ctx context.Context, header string) (fresh string, err error)

// WithRenewal lets the streams of [Propagator.Leasing] be renewed with what
// source returns.
func WithRenewal(source RenewalSource) PropagatorOption {
	return propagatorOption(func(p *Propagator) error {
		if source == nil {
			return errors.New("principal: the source of renewals is nil: leave the option out to have none")
		}
		p.renewal = source
		return nil
	})
}

// Leasing returns a propagator like p whose streams ask the server for a lease,
// so that they can outlive the principal that they were opened with; without
// one a stream ends when its method's rule says. What renews such a stream is
// the source of [WithRenewal], or the lease of the stream in whose handler it
// was opened. A server that has granted a lease has already sent its headers
// when the handler runs.
func (p *Propagator) Leasing() *Propagator {
	leasing := *p
	leasing.leasing = true
	return &leasing
}

const (
	renewalTimeout = 10 * time.Second
	firstRetry     = 250 * time.Millisecond
	lastRetry      = 15 * time.Second
)

var errNothingFresher = errors.New("principal: nothing fresher to renew the stream with")

// Renewer keeps one stream alive that a client has opened.
type Renewer struct {
	propagator *Propagator
	state      *callState
	sent       times // of what the server has
}

// times are those of a principal, in seconds.
type times struct{ issued, expires, until int64 }

func timesOf(p *Principal) times {
	w := &p.wire
	return times{w.IssuedAt, w.ExpiresAt, max(w.ExpiresAt+skew, w.StreamUntil)}
}

// Renewer returns what keeps a stream alive that is about to be opened with ctx,
// or nil if its server should not be asked for a lease: because p is not
// [Propagator.Leasing], or there is nothing that could ever be renewed with.
func (p *Propagator) Renewer(ctx context.Context) *Renewer {
	s := stateFrom(ctx)
	if !p.leasing || s == nil || s.principal == nil {
		return nil
	}
	current := s.current()
	if s.lease == nil && (p.renewal == nil || len(current.chain) > 0) {
		return nil
	}
	return &Renewer{propagator: p, state: s, sent: timesOf(current)}
}

// Run renews the stream until ctx ends, which is the stream's, or its time is
// over. call makes a call of the stream's method with the lease's id, and
// returns nil if that was answered with success and no message; the context
// that it is given passes a fresh principal on. A call that fails is made again
// after a while: behind a balancer the next one may reach the right server.
func (r *Renewer) Run(ctx context.Context, call func(ctx context.Context) error) {
	wait, failures := r.half(), 0
	for {
		var renewed <-chan struct{}
		if r.state.lease != nil {
			renewed = r.state.lease.next()
			if failures == 0 && timesOf(r.state.current()).expires > r.sent.expires {
				wait = 0 // it was renewed before anybody waited
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-renewed:
			timer.Stop()
		case <-timer.C:
		}
		switch err := r.renew(ctx, call); {
		case err == nil:
			wait, failures = max(r.half(), time.Second), 0
		case r.propagator.now().Unix() >= r.sent.until:
			return
		default:
			wait = min(firstRetry<<min(failures, 10), lastRetry)
			wait = wait/2 + rand.N(wait) //nolint:gosec // it only spreads them
			failures++
		}
	}
}

// half returns how long it is to about the half of the principal's life: the
// streams of a service should not all be renewed at once.
func (r *Renewer) half() time.Duration {
	life := time.Duration(r.sent.expires-r.sent.issued) * time.Second
	at := time.Unix(r.sent.issued, 0).Add(life*9/20 + rand.N(life/10+1)) //nolint:gosec // as above
	return max(0, at.Sub(r.propagator.now()))
}

func (r *Renewer) renew(ctx context.Context, call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, renewalTimeout)
	defer cancel()
	next := *r.state
	current := r.state.current()
	next.principal, next.lease = current, nil
	sent := timesOf(current)
	if sent.expires <= r.sent.expires {
		fresh, err := r.fetch(ctx, current)
		if err != nil {
			return err
		}
		next.lease = newLease(current)
		next.lease.outgoing, sent = fresh, timesOf(fresh)
	}
	if err := call(withState(ctx, next)); err != nil {
		return err
	}
	r.sent = sent
	return nil
}

// fetch returns what the edge has issued for the session of p. It is not
// verified: the service that gets it does that, and this one only passes it on.
func (r *Renewer) fetch(ctx context.Context, p *Principal) (*Principal, error) {
	if r.propagator.renewal == nil || len(p.chain) > 0 {
		return nil, errNothingFresher
	}
	header, err := r.propagator.renewal(ctx, p.held.header)
	if err != nil {
		return nil, err
	}
	var env wire.Envelope
	fresh := &Principal{held: &held{header: header}}
	if err := wire.ParseEnvelope(header, &env); err != nil {
		return nil, denyWire(err)
	}
	if err := wire.ParsePrincipal(env.Authority.Payload, &fresh.wire); err != nil {
		return nil, denyWire(err)
	}
	fresh.scopes, fresh.roles = fresh.wire.Scopes, fresh.wire.Roles
	if len(env.Links()) > 0 || fresh.wire.ExpiresAt <= r.sent.expires {
		return nil, errNothingFresher
	}
	return fresh, nil
}
