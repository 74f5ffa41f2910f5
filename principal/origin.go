package principal

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
)

// Origin knows where a call came from. A transport that has to work to know it
// does so only for calls that are not allowed. It is used concurrently.
type Origin interface {
	// Origin returns the peer's address, with its port or without, and the values of
	// the user-agent header, of a call with this context. Either may be empty.
	Origin(ctx context.Context) (address string, userAgent []string)
}

// locate says where a call came from that has not shown who it is. A defect of
// the transport is no reason to handle the call otherwise.
func (e *Event) locate(ctx context.Context, call *Call) {
	defer func() { _ = recover() }()
	e.Certificate = clip(uriName(call.TLS))
	if call.Origin == nil {
		return
	}
	address, agent := call.Origin.Origin(ctx)
	e.Address = hostOf(address)
	if len(agent) == 1 {
		e.UserAgent = product(agent[0])
	}
}

// hostOf returns a network address without its port, or "" if it is not an IP
// address: a record of who called must not hold what a caller made up.
func hostOf(address string) string {
	host := address
	if h, _, err := net.SplitHostPort(address); err == nil {
		host = h
	}
	bare, _, _ := strings.Cut(host, "%") // the zone of a link-local address
	if net.ParseIP(bare) == nil {
		return ""
	}
	return clip(host)
}

// product returns the first product of a user agent (RFC 9110, section 10.1.5),
// such as "grpc-go/1.82.1", if it is short and has a version; else "". What else
// is in the header, or in place of it, may be anything, a credential too.
func product(agent string) string {
	const most = 40
	first, _, _ := strings.Cut(agent, " ")
	name, version, _ := strings.Cut(first, "/")
	number := strings.TrimPrefix(version, "v")
	versioned := number != "" && number[0] >= '0' && number[0] <= '9'
	if len(first) > most || !versioned || correlationID(name) == "" || correlationID(version) == "" {
		return ""
	}
	return first
}

// uriName returns the URI name of a verified client certificate that has exactly
// one.
func uriName(state *tls.ConnectionState) string {
	if state == nil || len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return ""
	}
	leaf := state.VerifiedChains[0][0]
	if len(leaf.URIs) != 1 {
		return ""
	}
	return leaf.URIs[0].String()
}
