package bff

import (
	"context"

	"github.com/onbehalf-dev/onbehalf/bff/internal/audit"
)

// observed reports whether a request that was to be refused for its credential
// goes on, without a principal, because its route is observed. One whose client
// has left does not.
func (x *request) observed(ctx context.Context, route *route, no *refusal) bool {
	if !route.observe || ctx.Err() != nil {
		return false
	}
	x.explain(audit.WouldRefuse, no)
	return true
}

// explain notes what became of the request, and why.
func (x *request) explain(d audit.Decision, why *refusal) {
	x.record.Decision, x.record.Reason, x.record.Detail = d, why.reason, why.detail
	if why.credential != 0 {
		x.record.CredentialReason = why.credential.String()
	}
}

// warnObserved says at each start, and after each reload, which routes let
// through what they are to refuse one day.
func (s *Server) warnObserved(r *rules) {
	for i := range r.routes {
		if r.routes[i].observe {
			s.log.Warn("a route is observed: requests without a valid credential are let through, without a principal; "+
				"remove observe to have them refused", "route", r.routes[i].name)
		}
	}
}
