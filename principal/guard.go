package principal

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Guard is the one place where a verifier and rules meet: it decides each call.
// Interceptors of all transports stand on one. It is safe for concurrent use.
type Guard struct {
	verifier  *Verifier
	rules     *Rules
	observers []Observer
	observe   map[string]bool // services and methods that are observed only
}

// GuardOption changes a [Guard].
type GuardOption interface{ applyGuard(*Guard) error }

type guardOption func(*Guard) error

func (f guardOption) applyGuard(g *Guard) error { return f(g) }

// NewGuard returns a guard. It fails if a rule is wrong or asks for something
// that the verifier cannot decide.
func NewGuard(v *Verifier, rules *Rules, opts ...GuardOption) (*Guard, error) {
	if v == nil || rules == nil {
		return nil, errors.New("principal: a guard needs a verifier and rules")
	}
	problems := slices.Clone(rules.problems)
	for _, list := range []map[string]*rule{rules.methods, rules.services} {
		for name, r := range list {
			if need := r.needs(v); need != "" {
				problems = append(problems, fmt.Errorf("principal: rule of %s: %s", name, need))
			}
		}
	}
	slices.SortFunc(problems, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	g := &Guard{verifier: v, rules: rules}
	for _, opt := range opts {
		if err := opt.applyGuard(g); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// WithObserver adds an observer of decisions.
func WithObserver(o Observer) GuardOption {
	return guardOption(func(g *Guard) error {
		if o == nil {
			return errors.New("principal: the observer is nil")
		}
		g.observers = append(g.observers, o)
		return nil
	})
}

// ObserveOnly lets calls of these RPC services ("shop.orders.v1.OrderService")
// or methods ("/service/method", a ServeMux pattern) through even if they would
// be refused, and reports them as [WouldRefuse]: for putting rules on a live
// system. Nor does one of them end before its handler returns. A handler never
// sees a principal that did not verify. Without names it changes nothing, so they
// may come from a service's configuration.
func ObserveOnly(servicesOrMethods ...string) GuardOption {
	return guardOption(func(g *Guard) error {
		if g.observe == nil {
			g.observe = make(map[string]bool)
		}
		for _, name := range servicesOrMethods {
			if name == "" {
				return errors.New("principal: ObserveOnly: a name is empty")
			}
			g.observe[name] = true
		}
		return nil
	})
}

// Call is one inbound call as its transport saw it.
type Call struct {
	// Procedure is "/service/method", or the ServeMux pattern that matched.
	Procedure string
	// Values are all values of the header HeaderName.
	Values []string
	// Text says that the values are base64 text; else they are decoded bytes.
	Text bool
	// TLS is the connection's state; nil for cleartext.
	TLS *tls.ConnectionState
	// Origin, if not nil, is asked where the call came from if it is not allowed and
	// has no principal, and somebody observes.
	Origin Origin
	// RequestID and TraceID correlate records. They come from the caller.
	RequestID, TraceID string
	// Lease are all values of the header LeaseHeaderName, for a stream: see
	// [Hold.Lease]. Where streams are not renewed nothing is granted, but a call
	// that means to renew one is refused rather than handled.
	Lease []string
}

// Admission is a call that was let in.
type Admission struct {
	// Context carries the principal, or that there is none.
	Context context.Context //nolint:containedctx // it is the result, not stored
	// Principal is nil for an anonymous call.
	Principal *Principal
	// Renewal says that the call has renewed the lease of a stream, and is to be
	// answered with success and no message: its handler must not run.
	Renewal bool

	lease      *lease // of a stream whose caller asked for one
	guard      *Guard
	event      Event
	generation uint64 // of the revocations, before they were asked
	observed   bool   // it would be let in whatever it carried
}

// Admit decides a call. Whatever principal ctx carried before is replaced, also
// for anonymous calls: in-process transports share contexts, and a context must
// never speak for another call. The error is a [*Denial].
func (g *Guard) Admit(ctx context.Context, call Call) (admission Admission, err error) {
	var generation uint64
	if g.verifier.revocations != nil {
		generation = g.verifier.generation()
	}
	if stateFrom(ctx) != nil { // nor may what the guard calls out to speak for it
		ctx = context.WithValue(ctx, contextKey{}, nil)
	}
	event := Event{
		Service:   g.verifier.audience,
		Procedure: clip(call.Procedure),
		RequestID: correlationID(call.RequestID),
		TraceID:   correlationID(call.TraceID),
	}
	d := g.guarded(ctx, call, &event)
	event.Decision = Allowed
	observed := g.observes(call.Procedure)
	leased := parseLease(call.Lease)
	event.Renewal = leased.renewal
	if d == nil {
		d = g.leased(&leased, &event, generation)
	}
	if d != nil {
		event.Reason = d.reason
		event.Decision = Refused
		if observed && d.reason != ReasonInternal && !leased.renewal {
			event.Decision = WouldRefuse
		}
		event.Detail = d.detail
	}
	if len(g.observers) > 0 {
		told := event // escapes, and only here
		if d != nil && told.Principal == nil {
			told.locate(ctx, &call)
		}
		g.report(ctx, &told)
	}
	if event.Decision == Refused {
		return Admission{}, d
	}
	a := Admission{Principal: event.Principal, Renewal: leased.renewal, guard: g, event: event, generation: generation, observed: observed}
	if event.Reason == ReasonRevoked || event.Reason == ReasonFloor { // by the online check of a method that is observed
		a.Principal = nil
	}
	if leased.wanted && a.ends() {
		a.lease = newLease(a.Principal)
	}
	a.Context = withState(ctx, callState{principal: a.Principal, requestID: event.RequestID, lease: a.lease})
	return a, nil
}

// leased does what a call that was let in asks of leases.
func (g *Guard) leased(call *leaseCall, event *Event, generation uint64) *Denial {
	switch {
	case call.bad != 0:
		return deny(call.bad)
	case !call.renewal:
		return nil
	case event.Principal == nil:
		return deny(ReasonMissing)
	}
	if reason := g.renew(call.id, event, generation); reason != 0 {
		return deny(reason)
	}
	return nil
}

// guarded stops panics of what the guard calls out to (key sets, revocations):
// a defect there refuses the call and leaves the process alive.
func (g *Guard) guarded(ctx context.Context, call Call, event *Event) (d *Denial) {
	defer func() {
		if recover() != nil { // its value may hold anything
			event.Principal = nil
			d = deny(ReasonInternal)
		}
	}()
	return g.decide(ctx, call, event)
}

func (g *Guard) decide(ctx context.Context, call Call, event *Event) *Denial {
	v := g.verifier
	in := presentation{audience: v.audienceFor(call.Procedure), peer: v.mtls.name(call.TLS)}
	event.Service, event.Peer = in.audience, in.peer
	r := g.rules.find(call.Procedure)
	event.rule = r
	if len(call.Values) == 0 {
		if r != nil && r.anonymous {
			return nil
		}
		return deny(ReasonMissing)
	}
	header, known, reason := v.singleHeader(call)
	if reason != 0 {
		return deny(reason)
	}
	in.header = header
	p, d := v.verify(ctx, in)
	if d != nil {
		return d
	}
	if call.Text && !known {
		v.decoded.put(spread(call.Values[0]), call.Values[0], p.held.header)
	}
	event.Principal = p
	if r == nil {
		return deny(ReasonNoRule)
	}
	if reason := r.permits(p); reason != 0 {
		return deny(reason)
	}
	return g.fresh(ctx, r, p)
}

// fresh checks what a rule demands beyond the principal itself.
func (g *Guard) fresh(ctx context.Context, r *rule, p *Principal) *Denial {
	v := g.verifier
	if v.revocations != nil && v.staleIn(r) <= 0 {
		return deny(ReasonStale)
	}
	if r.online {
		if err := v.online(ctx); err != nil {
			return denyWith(ReasonOnline, err)
		}
		if reason := v.revocations.Check(p, false); reason != 0 {
			return deny(reason)
		}
	}
	if r.singleUse && !v.uses.take(p.replayKey(), p.until, v.now().Unix()) {
		return deny(ReasonReplayed)
	}
	return nil
}

// singleHeader returns the header's bytes, and whether its text is one that has
// been verified before and need not be decoded again.
func (v *Verifier) singleHeader(call Call) (header string, known bool, reason Reason) {
	if len(call.Values) > 1 {
		return "", false, ReasonMultiple
	}
	value := call.Values[0]
	if !call.Text {
		return value, false, 0
	}
	if len(value) <= maxHeaderText {
		if header, known = v.decoded.get(spread(value), value); known {
			return header, true, 0
		}
	}
	if strings.IndexByte(value, ',') >= 0 { // how HTTP joins repeated headers
		return "", false, ReasonMultiple
	}
	header, reason = decodeHeader(value)
	return header, false, reason
}

func (g *Guard) observes(procedure string) bool {
	return g.observe != nil && (g.observe[procedure] || isMethod(procedure) && g.observe[serviceOf(procedure)])
}

// CheckMethods returns an error that names every method in methods that has no
// rule and would therefore always be refused. Run it at start.
func (g *Guard) CheckMethods(methods []string) error {
	var missing []string
	for _, m := range methods {
		if g.rules.find(m) == nil {
			missing = append(missing, m)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return fmt.Errorf("principal: no access rule for %s: write option (onbehalf.principal.v1.access) beside the method, or add Rules.WithService", strings.Join(missing, ", "))
}
