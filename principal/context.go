package principal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

type contextKey struct{}

// callState is what a guard stores for one call. Its presence alone says that a
// guard has seen the call.
type callState struct {
	principal *Principal // nil: verified anonymous
	requestID string
	narrowed  bool
	scopes    []string // ascending; what calls made with this context pass on, if narrowed
	lease     *lease   // of a stream whose principal can be replaced by a fresh one
}

// current returns the latest principal of the call.
func (s *callState) current() *Principal {
	if s.lease != nil {
		return s.lease.current.Load()
	}
	return s.principal
}

// passes returns what calls made with this context pass on.
func (s *callState) passes() *Principal {
	if s.lease != nil && s.lease.outgoing != nil {
		return s.lease.outgoing
	}
	return s.current()
}

// passedScopes returns what is left of narrowed scopes after a fresh principal,
// which may have fewer.
func (s *callState) passedScopes(from *Principal) []string {
	if isSubset(s.scopes, from.scopes) {
		return s.scopes
	}
	return slices.DeleteFunc(slices.Clone(s.scopes), func(scope string) bool { return !from.HasScope(scope) })
}

// callContext is a context with the state of a call. It is one allocation on
// the way of every call, where context.WithValue would be two.
type callContext struct {
	context.Context //nolint:containedctx // it is a context

	state callState
}

// Value implements [context.Context].
func (c *callContext) Value(key any) any {
	if key == (contextKey{}) {
		return &c.state
	}
	return c.Context.Value(key)
}

// Format keeps every verb of fmt from printing the header.
func (*callContext) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "principal.callContext") }

func stateFrom(ctx context.Context) *callState {
	s, _ := ctx.Value(contextKey{}).(*callState)
	return s
}

func withState(ctx context.Context, s callState) context.Context {
	return &callContext{Context: ctx, state: s}
}

// FromContext returns the verified principal of the call that ctx belongs to.
// There is none if the call was anonymous or no guard has seen it. In a stream
// that is renewed by a lease it is the latest.
func FromContext(ctx context.Context) (*Principal, bool) {
	s := stateFrom(ctx)
	if s == nil || s.principal == nil {
		return nil, false
	}
	return s.current(), true
}

// RequestID returns the id that the edge gave the external request, or "". It
// correlates records; it proves nothing.
func RequestID(ctx context.Context) string {
	if s := stateFrom(ctx); s != nil {
		return s.requestID
	}
	return ""
}

// Narrow returns a context whose calls pass on exactly these scopes, and no
// roles. The scopes must be among those that a call with ctx would pass on; none
// at all is allowed. Handlers still see the principal as it came. A relayed
// principal cannot be narrowed: it is forwarded as it is.
func Narrow(ctx context.Context, scopes ...string) (context.Context, error) {
	s := stateFrom(ctx)
	if s == nil || s.principal == nil {
		return nil, ErrNoPrincipal
	}
	current := s.current()
	if current.Relay() {
		return nil, errors.New("principal: a relayed principal cannot be narrowed: use a linked route, or exchange it at the edge")
	}
	set := slices.Clone(scopes)
	slices.Sort(set)
	set = slices.Compact(set)
	have := current.scopes
	if s.narrowed {
		have = s.scopes
	}
	if !isSubset(set, have) {
		return nil, fmt.Errorf("principal: narrowing to %q: the call has only %q", set, have)
	}
	next := *s
	next.narrowed, next.scopes = true, set
	return withState(ctx, next), nil
}

// ErrNoPrincipal is returned for calls made with a context that no guard has
// seen, such as context.Background: nothing is sent. Work that outlives its call
// has to take its rights from somewhere on purpose.
var ErrNoPrincipal = errors.New("principal: no principal in the context: pass on the context of the handler, or act as the service with trust.Node.AsService")
