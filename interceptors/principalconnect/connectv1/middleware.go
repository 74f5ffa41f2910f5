package connectv1

import (
	"context"
	"errors"
	"maps"
	"net/http"

	"connectrpc.com/connect"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
	"github.com/onbehalf-dev/onbehalf/interceptors/internal/httpguard"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// Middleware decides calls before RPC handlers over net/http.
type Middleware struct {
	guard  *principal.Guard
	errors *connect.ErrorWriter
}

// NewMiddleware returns middleware that decides each call with g. The procedure
// is the path of the URL, so that a prefix must be taken off before it.
//
// A call that is refused gets the constant text of its code in the protocol
// that it came in, and the reason as x-principal-reason: a header in unary
// Connect, else a trailer. A stream ends with CodeUnauthenticated when its
// principal does. A panic in a handler is answered with CodeInternal, and logged
// with its stack but without its value.
func NewMiddleware(g *principal.Guard) *Middleware {
	return &Middleware{guard: guard.Need(g), errors: connect.NewErrorWriter()}
}

// Wrap returns a handler that calls next for the calls that are let in.
func (m *Middleware) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.serve(w, r, next) })
}

func (m *Middleware) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	a, err := m.guard.Admit(r.Context(), httpguard.Call(r.URL.Path, r))
	if err != nil {
		reason := guard.Reason(err)
		m.write(w, r, reason.Code(), reason)
		return
	}
	if a.Renewal { // of a stream that another transport of the guard has granted a lease
		m.write(w, r, principal.ReasonCaller.Code(), principal.ReasonCaller)
		return
	}
	p := protocolOf(r)
	ctx, life, reason := guard.Begin(&a, p != unary)
	if reason != 0 {
		m.write(w, r, reason.Code(), reason)
		return
	}
	before := maps.Clone(w.Header())
	exchange, inner := httpguard.Begin(ctx, life, w, r, p != unary)
	defer exchange.End() // if a panic comes through
	code := handle(exchange, inner, next)
	reason, progress := exchange.End()
	if code == principal.CodeOK {
		code = reason.Code()
	}
	switch {
	case code == principal.CodeOK, progress == httpguard.Finished:
	case progress == httpguard.Nothing:
		clear(w.Header())
		maps.Copy(w.Header(), before)
		m.write(w, r, code, reason)
	case progress == httpguard.Partial, p == unary:
		panic(http.ErrAbortHandler) // what has been sent cannot be taken back, and must not look complete
	default:
		p.end(w, code, reason)
	}
}

// handle returns CodeInternal if the handler panicked.
func handle(w http.ResponseWriter, r *http.Request, next http.Handler) (code principal.Code) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			panic(v)
		default:
			guard.LogPanic(context.WithoutCancel(r.Context()), r.URL.Path)
			code = principal.CodeInternal
		}
	}()
	next.ServeHTTP(w, r)
	return principal.CodeOK
}

// write answers a call of which nothing has been answered yet.
func (m *Middleware) write(w http.ResponseWriter, r *http.Request, code principal.Code, reason principal.Reason) {
	err := connect.NewError(connect.Code(code), errors.New(code.Message()))
	if reason != 0 {
		err.Meta().Set(guard.ReasonHeader, reason.String())
	}
	_ = m.errors.Write(w, r, err) // fails if the client has gone
}
