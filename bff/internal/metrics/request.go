package metrics

import (
	"cmp"
	"context"
	"net/http"
	"time"
)

// Request is what became of a request. All texts but Method are of the
// configuration or the code.
type Request struct {
	Route    string // "" if none takes it
	Protocol string
	Decision string
	Reason   string // "" if there is none

	// Credential says that there was one and that it was looked at; Issuer is the
	// configured one whose it is, CredentialReason why it was refused. Both may be
	// empty.
	Credential       bool
	Issuer           string
	CredentialReason string

	// The others are of requests that were let in.
	Forwarded      bool
	Method         string // what the client wrote
	Status         int    // 0 if there was no answer
	Took           time.Duration
	PrincipalBytes int // 0 without one
	UpstreamFailed bool
}

// Request counts r.
func (m *Metrics) Request(ctx context.Context, r *Request) {
	if m == nil {
		return
	}
	route := cmp.Or(r.Route, other)
	m.requests.add(requestKey{route, r.Protocol, r.Decision, cmp.Or(r.Reason, none)})
	if r.Credential {
		m.credentials.add(credentialKey{cmp.Or(r.Issuer, other), cmp.Or(r.CredentialReason, none)})
	}
	if !r.Forwarded {
		return
	}
	if r.Status > 0 {
		m.duration.record(ctx, durationKey{route, method(r.Method), status(r.Status)}, r.Took.Seconds())
	}
	if r.PrincipalBytes > 0 {
		m.header.record(ctx, route, float64(r.PrincipalBytes))
	}
	if r.UpstreamFailed {
		m.upstream.add(route)
	}
}

// method is the one of HTTP's that most requests have, or what the semantic
// conventions of OpenTelemetry write for others: each is some ten more series for
// each route.
func method(s string) string {
	if s == http.MethodGet || s == http.MethodPost {
		return s
	}
	return "_OTHER"
}

// status is the class of a status: an upstream may answer with any.
func status(code int) string {
	if code < 100 || code > 599 {
		return other
	}
	return [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}[code/100-1]
}
