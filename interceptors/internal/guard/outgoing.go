package guard

import (
	"errors"
	"strings"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// Strip removes every header that could be taken for one of ours, and reports
// whether there was one. With requestID it also removes the request id.
func Strip[H ~map[string][]string](header H, requestID bool) (changed bool) {
	for name := range header {
		if principal.IsAlias(name) || requestID && strings.EqualFold(name, principal.RequestIDHeaderName) {
			delete(header, name)
			changed = true
		}
	}
	return changed
}

// SendError is why a call was not sent. Its text is for the process that wanted
// to call; if a handler returns it as its own error, its caller is told only
// the constant message of the code.
type SendError struct{ cause error }

// NewSendError wraps an error of [principal.Propagator.Header].
func NewSendError(cause error) *SendError { return &SendError{cause} }

// Code returns the code of the call.
func (e *SendError) Code() principal.Code { return principal.SendCode(e.cause) }

// Error says what was missing.
func (e *SendError) Error() string { return e.cause.Error() }

// Unwrap returns the propagator's error.
func (e *SendError) Unwrap() error { return e.cause }

var (
	errNoGuard      = errors.New("principal: the guard is nil: look at the error of NewGuard")
	errNoPropagator = errors.New("principal: the propagator is nil: look at the error of NewPropagator")
)

// NeedPropagator is [Need] for a client.
func NeedPropagator(p *principal.Propagator) *principal.Propagator {
	if p == nil {
		panic(errNoPropagator)
	}
	return p
}

// Need stops a program that has no guard when it starts, rather than at its
// first call.
func Need(g *principal.Guard) *principal.Guard {
	if g == nil {
		panic(errNoGuard)
	}
	return g
}
