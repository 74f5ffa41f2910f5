package bff

import (
	"net/netip"

	"github.com/onbehalf-dev/onbehalf/bff/internal/audit"
	"github.com/onbehalf-dev/onbehalf/bff/internal/failures"
	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// enter takes a place for the request and notes it in held, or refuses the
// request.
func (x *request) enter(p *places, held **places, limit string) bool {
	if !p.take(x.known) {
		x.refuse(refusal{answer: proxy.Overloaded, reason: audit.ReasonOverload, detail: limit})
		return false
	}
	*held = p
	return true
}

// enterClient takes a place of those that a client without a credential may have,
// or refuses the request.
func (x *request) enterClient() bool {
	network := failures.Network(x.client)
	if x.clients.take(network) {
		x.clientPlace = network
		return true
	}
	if x.known() {
		return true
	}
	x.refuse(refusal{answer: proxy.Overloaded, reason: audit.ReasonOverload, detail: "limits.client_requests for " + network.String()})
	return false
}

func (x *request) leaveClient() {
	x.clients.leave(x.clientPlace)
	x.clientPlace = netip.Prefix{}
}

func (x *request) leave() {
	x.leaveClient()
	x.place.leave()
	x.routePlace.leave()
}

func (x *request) known() bool {
	_, known := x.rules.minter.Recall(x.r.Header)
	return known
}

// limited returns why the credential is not looked at, if the client has sent too
// many that were not good. Those who share its address and are known go on.
func (x *request) limited() *refusal {
	if !x.failures.Over(x.client) {
		return nil
	}
	if present, known := x.rules.minter.Recall(x.r.Header); !present || known {
		return nil
	}
	return &refusal{
		answer: proxy.TooManyFailures, reason: audit.ReasonLimited,
		detail: "limits.failed_credentials for " + failures.Network(x.client).String(),
	}
}
