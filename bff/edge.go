package bff

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"

	"github.com/onbehalf-dev/onbehalf/principal"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/internal/audit"
	"github.com/onbehalf-dev/onbehalf/bff/internal/mint"
	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// ServeHTTP implements [http.Handler]: it finds the request's route, verifies
// its credential as the route wants it, and forwards it with a principal or
// answers itself. Either way it leaves one audit record.
//
// It panics with [http.ErrAbortHandler], and with nothing else, to break off a
// response that cannot be completed.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.running.begin() {
		panic(http.ErrAbortHandler)
	}
	defer s.running.end()
	ctx := r.Context()
	x := &request{Server: s, w: w, r: r}
	defer x.finish(ctx)
	defer x.leave()
	endAfterChunks(w, r)
	if route, minted := x.admit(ctx); route != nil {
		x.forward(route, minted) //nolint:contextcheck // the request has it
	}
}

// endAfterChunks makes a request whose body comes in chunks the last one of its
// connection. It may also have had a length, which net/http drops without a word:
// a proxy before the edge that goes by that takes what follows the chunks for the
// body, and the edge would take it for a request that nobody has looked at (RFC
// 9112, section 6.1).
func endAfterChunks(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
		w.Header().Set("Connection", "close")
	}
}

// request is one request on its way through the edge.
type request struct {
	*Server

	rules     *rules // in force when it began
	w         http.ResponseWriter
	r         *http.Request
	record    audit.Record
	outcome   proxy.Outcome
	minted    *mint.Minted // nil for an anonymous request
	forwarded bool

	method  string // of the RPC service that it is for
	claimed string // the configured issuer of a credential that was refused

	place, routePlace *places      // that it has taken, or nil
	client            netip.Addr   // invalid if nobody knows
	clientPlace       netip.Prefix // that it has taken for it, or invalid
}

// admit finds out where the request goes and for whom. It returns no route if it
// has refused it.
func (x *request) admit(ctx context.Context) (*route, *mint.Minted) {
	var done func()
	x.rules, done = x.use()
	defer done()
	r := x.r
	x.record = audit.Record{
		Time: x.now(), RequestID: x.rules.ids.For(r), TraceID: principal.TraceID(r.Header["Traceparent"]),
		Client: host(r.RemoteAddr), Method: r.Method, Host: r.Host, Path: r.URL.Path,
		Smuggled: proxy.Smuggled(r), Issuer: x.issuer,
	}
	x.w.Header().Set(principal.RequestIDHeaderName, x.record.RequestID)

	x.client = x.rules.proxies.Client(r)
	if !x.enterClient() || !x.enter(x.places, &x.place, "limits.requests") {
		return nil, nil
	}
	target, err := x.rules.table.Match(r)
	switch {
	case errors.Is(err, proxy.ErrTarget):
		x.refuse(refusal{answer: proxy.BadRequest, reason: audit.ReasonTarget})
		return nil, nil
	case err != nil:
		x.refuse(refusal{answer: proxy.NotFound, reason: audit.ReasonRoute})
		return nil, nil
	}
	route := &x.rules.routes[target.Route]
	x.record.Route = route.name
	if target.Service != "" {
		x.record.RPC, x.method = target.Service+"/"+target.Method, target.Method
	}
	if x.refuseUnlogged && x.audit.Failing() {
		x.refuse(refusal{answer: proxy.Unavailable, reason: audit.ReasonAudit})
		return nil, nil
	}
	if x.crossOrigin(route.cors) {
		return nil, nil
	}
	if !x.enter(route.places, &x.routePlace, "max_requests of the route") {
		return nil, nil
	}
	minted, no := x.principal(ctx, route)
	if no != nil && !x.observed(ctx, route, no) {
		x.refuse(*no)
		return nil, nil
	}
	return route, minted
}

// refusal is why and how the edge answers itself.
type refusal struct {
	answer     proxy.Failure
	reason     audit.Reason
	credential authn.Reason
	detail     string
}

// principal returns nil for a request that goes on without one.
func (x *request) principal(ctx context.Context, route *route) (*mint.Minted, *refusal) {
	if route.auth == AuthNone {
		return nil, nil
	}
	if x.state.Age(x.now()) > x.outage {
		return nil, &refusal{answer: proxy.Unavailable, reason: audit.ReasonStale}
	}
	if no := x.limited(); no != nil {
		return nil, no
	}
	minted, err := x.rules.minter.Mint(ctx, x.r.Header, route.spec)
	refused, isRefused := errors.AsType[*authn.Error](err)
	if isRefused {
		x.claimed = refused.Issuer
	}
	switch {
	case err == nil:
		return minted, nil
	case errors.Is(err, authn.ErrNoCredential) && route.auth == AuthOptional:
		return nil, nil
	case errors.Is(err, authn.ErrNoCredential):
		return nil, &refusal{answer: proxy.MissingCredential, reason: audit.ReasonMissing}
	case isRefused && refused.Reason == authn.ReasonUnavailable:
		return nil, &refusal{proxy.Unavailable, audit.ReasonUnavailable, refused.Reason, refused.Detail}
	case isRefused:
		x.failures.Add(x.client)
		return nil, &refusal{proxy.InvalidCredential, audit.ReasonCredential, refused.Reason, refused.Detail}
	case errors.Is(err, mint.ErrEnriching):
		return nil, &refusal{answer: proxy.Unavailable, reason: audit.ReasonEnrichment, detail: unenriched(err)}
	case errors.Is(err, mint.ErrSigning):
		x.log.ErrorContext(ctx, "no principal can be signed", "error", err)
		return nil, &refusal{answer: proxy.Unavailable, reason: audit.ReasonSigning}
	case ctx.Err() != nil:
		return nil, &refusal{answer: proxy.Unavailable, reason: audit.ReasonCanceled}
	default: // the text of an authenticator that is not ours may hold anything
		x.log.ErrorContext(ctx, "an authenticator failed", "type", fmt.Sprintf("%T", errors.Unwrap(err)))
		return nil, &refusal{answer: proxy.Unavailable, reason: audit.ReasonUnavailable}
	}
}

func (x *request) forward(route *route, minted *mint.Minted) {
	if x.r.Trailer == nil && len(x.r.TransferEncoding) > 0 {
		// For what was not announced: net/http would make it when the body has ended,
		// and copies of the request would not have it.
		x.r.Trailer = make(http.Header)
	}
	call := proxy.Call{
		RequestID: x.record.RequestID, Idempotent: slices.Contains(route.idempotent, x.method), CORS: route.cors != nil,
	}
	if minted != nil {
		x.leaveClient() // it is known who it is for
		call.Principal, call.Until = minted.Header, minted.Until
		x.record.Principal, x.record.CredentialIssuer, x.record.Detail = minted.Principal, minted.Issuer, minted.Unenriched
		x.minted = minted
		ctx, release := x.held.hold(x.r.Context(), minted, x.state)
		defer release()
		x.r = x.r.WithContext(ctx)
	}
	if limit := x.rules.config.Limits.BodyBytes; limit > 0 {
		x.r = x.r.WithContext(x.r.Context()) // net/http goes on with its own
		// Without x.w, of which it would write the header: it is read in a goroutine of
		// the transport, and the answer may be on its way.
		x.r.Body = http.MaxBytesReader(nil, x.r.Body, int64(limit))
	}
	x.forwarded = true
	route.handler.Forward(x.w, x.r, call, &x.outcome)
}

func (x *request) refuse(why refusal) {
	x.explain(audit.Refused, &why)
	x.answer(func(w http.ResponseWriter) { proxy.WriteError(w, x.r, why.answer) })
}

// answer has the edge answer by itself.
func (x *request) answer(write func(http.ResponseWriter)) {
	w := &statusWriter{ResponseWriter: x.w}
	proxy.BoundRest(x.w, x.r)
	proxy.BoundAnswer(x.w, x.rules.config.Limits.TakeTimeout)
	write(w)
	x.record.Status = w.status
}

// finish writes the record. A panic is a defect, or how package proxy breaks
// off a response.
func (x *request) finish(ctx context.Context) {
	cause := recover()
	if x.forwarded {
		x.recordOutcome()
	}
	if cause != nil && cause != http.ErrAbortHandler { //nolint:errorlint // it is compared as net/http does
		x.record.Reason = audit.ReasonInternal
		if !x.forwarded {
			x.record.Decision = audit.Refused
		}
		x.log.ErrorContext(ctx, "a request panicked", "type", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
	}
	x.record.Duration = x.now().Sub(x.record.Time)
	x.audit.Write(ctx, &x.record)
	x.count(ctx)
	if cause != nil {
		panic(http.ErrAbortHandler)
	}
}

func (x *request) recordOutcome() {
	rec, out := &x.record, &x.outcome
	rec.Status, rec.Smuggled, rec.UpstreamReason = out.Status, out.Smuggled, out.Reason
	rec.Repeated = out.Repeated
	if rec.Decision == audit.WouldRefuse { // and for that reason
		return
	}
	rec.Decision = audit.Allowed
	switch {
	case out.Ended && x.minted != nil && x.minted.Revoked(x.state):
		rec.Reason = audit.ReasonRevoked
	case out.Ended:
		rec.Reason = audit.ReasonEnded
	case out.TooSlow:
		rec.Reason = audit.ReasonSlow
	case out.Canceled:
		rec.Reason = audit.ReasonCanceled
	}
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter

	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func host(address string) string {
	if h, _, err := net.SplitHostPort(address); err == nil {
		return h
	}
	return address
}
