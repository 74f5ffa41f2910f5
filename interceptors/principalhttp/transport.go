package principalhttp

import (
	"maps"
	"net/http"
	"strings"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
	"github.com/onbehalf-dev/onbehalf/interceptors/internal/httpguard"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// NewTransport returns a [http.RoundTripper] that takes the principal of a
// request's context along to the services in audiences, which maps a host as it
// stands in the URL, with the port if there is one there, to the service that
// answers: {"payments.internal:8080": "payments"}. It sends with base.
//
// A request to such a host with a context that no guard has seen fails, and
// nothing is sent; the error wraps [principal.ErrNoPrincipal]. An anonymous
// request goes out without a header. A request to any other host, and one that
// follows a redirect, goes out without the header in any spelling: where a
// response points is for its sender to choose.
func NewTransport(base http.RoundTripper, p *principal.Propagator, audiences map[string]string) http.RoundTripper {
	t := &transport{base: base, propagator: guard.NeedPropagator(p), audiences: maps.Clone(audiences)}
	for host, audience := range audiences {
		t.audiences[strings.ToLower(host)] = audience
	}
	return t
}

type transport struct {
	base       http.RoundTripper
	propagator *principal.Propagator
	audiences  map[string]string
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	next := r.WithContext(r.Context()) // a copy: a request belongs to its caller
	if next.Header = r.Header.Clone(); next.Header == nil {
		next.Header = make(http.Header)
	}
	audience, named := t.audiences[strings.ToLower(r.URL.Host)]
	if named && r.Response == nil {
		h, err := t.propagator.Header(r.Context(), audience, "")
		if err != nil {
			if r.Body != nil {
				_ = r.Body.Close() // as RoundTripper must
			}
			return nil, guard.NewSendError(err)
		}
		httpguard.Set(next.Header, h, principal.RequestID(r.Context()))
	} else {
		guard.Strip(next.Header, false)
	}
	response, err := t.base.RoundTrip(next)
	if response != nil {
		response.Request = r // without the header, which nobody else needs to see
	}
	return response, err
}
