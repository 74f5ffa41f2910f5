package guard

import (
	"github.com/onbehalf-dev/onbehalf/principal"
)

// TraceParent is the header of W3C Trace Context that names the trace. It is
// only read: to carry it on is the work of a propagator for traces.
const TraceParent = "traceparent"

// The names of the headers as net/http and Connect keep them.
const (
	Header          = "X-Principal-Bin"
	ReasonHeader    = "X-Principal-Reason"
	RequestIDHeader = "X-Request-Id"
	LeaseHeader     = "X-Principal-Lease"

	traceParent = "Traceparent"
)

// Fields gives access to the headers of stacks that keep them as net/http does.
type Fields interface {
	Values(key string) []string
}

// TextCall describes a call of a stack that hands binary headers over as
// base64 text.
func TextCall(procedure string, header Fields) principal.Call {
	return principal.Call{
		Procedure: procedure,
		Values:    header.Values(Header),
		Text:      true,
		RequestID: Single(header.Values(RequestIDHeader)),
		TraceID:   principal.TraceID(header.Values(traceParent)),
	}
}

// Single returns the value if there is exactly one. Of several, which come from
// the caller, none is better than the others.
func Single(values []string) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// Reason returns why a call was refused, for an error of
// [principal.Guard.Admit]. It is never 0.
func Reason(err error) principal.Reason {
	if r := principal.ReasonOf(err); r != 0 {
		return r
	}
	return principal.ReasonInternal
}
