// Package principalhttp verifies principals before handlers of net/http and
// passes them on from its clients.
//
// Use [NewMiddleware] around a [net/http.ServeMux] and [NewTransport] in
// clients. Handlers read the principal with [principal.FromContext]. For Connect
// and gRPC over net/http use principalconnect: a refusal must be in their
// protocols.
//
// What it does not do: the headers of a request are bounded by the
// MaxHeaderBytes of the [net/http.Server], 1 MiB by default: 16 KiB is plenty.
// And a handler that proxies a request sends the header on as it came unless it
// removes it; its transport should be one of [NewTransport].
package principalhttp

import (
	"maps"
	"net/http"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
	"github.com/onbehalf-dev/onbehalf/interceptors/internal/httpguard"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// Middleware decides requests before the handlers of a mux.
type Middleware struct{ guard *principal.Guard }

// NewMiddleware returns middleware that decides each request with g, whose rules
// are keyed by the patterns of the mux, exactly as they are registered: "GET
// /orders/{id}". A mux does not list its patterns; give them to
// [principal.Guard.CheckMethods] to find those without a rule at start.
func NewMiddleware(g *principal.Guard) *Middleware {
	return &Middleware{guard: guard.Need(g)}
}

// Wrap returns a handler that serves the requests that are let in with mux. A
// request that no pattern matches gets the mux's own answer, 404 or 405; one
// whose pattern has no rule is refused. Nothing may be registered with mux any
// more.
//
// A request that is refused gets the status and the constant text of its code,
// and the reason in the header x-principal-reason; so does one whose principal is
// revoked before it is answered. A response that goes on for longer than that, or
// than its principal lives, is cut off: the request's context ends, its body cannot be read nor the response written any more, and the connection of
// a protocol that was switched to, such as WebSocket, is closed. Panics are left
// to net/http.
func (m *Middleware) Wrap(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, pattern := mux.Handler(r)
		if pattern == "" {
			answer.ServeHTTP(w, r)
			return
		}
		a, err := m.guard.Admit(r.Context(), httpguard.Call(pattern, r))
		if err != nil {
			refuse(w, guard.Reason(err))
			return
		}
		if a.Renewal { // of a stream that another transport of the guard has granted a lease
			refuse(w, principal.ReasonCaller)
			return
		}
		serve(w, r, &a, mux)
	})
}

func serve(w http.ResponseWriter, r *http.Request, a *principal.Admission, mux *http.ServeMux) {
	ctx, life, reason := guard.Begin(a, true)
	switch {
	case reason != 0:
		refuse(w, reason)
		return
	case life == nil:
		mux.ServeHTTP(w, r.WithContext(ctx))
		return
	}
	before := maps.Clone(w.Header())
	exchange, inner := httpguard.Begin(ctx, life, w, r, false)
	returned := false
	defer func() {
		reason, progress := exchange.End()
		switch {
		case !returned, reason == 0, progress == httpguard.Finished:
		case progress == httpguard.Nothing:
			clear(w.Header())
			maps.Copy(w.Header(), before)
			refuse(w, reason)
		default:
			panic(http.ErrAbortHandler) // what was sent must not look complete
		}
	}()
	mux.ServeHTTP(exchange, inner)
	returned = true
}

func refuse(w http.ResponseWriter, reason principal.Reason) {
	w.Header()[guard.ReasonHeader] = []string{reason.String()}
	code := reason.Code()
	http.Error(w, code.Message(), code.HTTPStatus())
}
