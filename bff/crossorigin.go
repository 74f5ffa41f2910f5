package bff

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	connectcors "connectrpc.com/cors"
	"github.com/rs/cors"

	"github.com/onbehalf-dev/onbehalf/principal"

	"github.com/onbehalf-dev/onbehalf/bff/internal/audit"
	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

const defaultCORSAge = 10 * time.Minute

// crossOrigin is what a route says to pages of other origins. It is immutable and
// safe for concurrent use.
type crossOrigin struct {
	headers *cors.Cors
	refuses *http.CrossOriginProtection // nil if any origin may do anything
}

// newCrossOrigin returns nil if c is, and expects it to be checked.
func newCrossOrigin(c *CORS) (*crossOrigin, error) {
	if c == nil {
		return nil, nil
	}
	o := cors.Options{
		AllowedMethods:   c.Methods,
		AllowedHeaders:   slices.Concat(connectcors.AllowedHeaders(), []string{"Authorization"}, c.Headers),
		ExposedHeaders:   slices.Concat(connectcors.ExposedHeaders(), []string{principal.RequestIDHeaderName}, c.Expose),
		AllowCredentials: c.Credentials,
		MaxAge:           int(cmp.Or(c.MaxAge, defaultCORSAge) / time.Second),
	}
	if len(c.Methods) == 0 {
		o.AllowedMethods = append(connectcors.AllowedMethods(), http.MethodHead)
	}
	if slices.Contains(c.Origins, anyOrigin) {
		o.AllowedOrigins = []string{anyOrigin}
		return &crossOrigin{headers: cors.New(o)}, nil
	}
	origins := slices.Clone(c.Origins)
	o.AllowOriginFunc = func(origin string) bool { return slices.Contains(origins, origin) } // AllowedOrigins ignore case
	refuses := http.NewCrossOriginProtection()
	for _, origin := range origins {
		if err := refuses.AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
	}
	return &crossOrigin{headers: cors.New(o), refuses: refuses}, nil
}

// tell writes into a response's header what the page that made a request may do
// with it, or for a preflight what it may ask for. It reports whether that is
// something.
func (c *crossOrigin) tell(h http.Header, r *http.Request) bool {
	if origin := r.Header["Origin"]; len(origin) > 1 || len(origin) == 1 && origin[0] == "null" {
		h.Add("Vary", "Origin")
		return false
	}
	c.headers.HandlerFunc(headerOnly{h}, r)
	return h.Get("Access-Control-Allow-Origin") != ""
}

// lets reports whether a request may be served: it is not one that a page of an
// origin that is not listed makes with the cookies of a user. Such a page cannot
// read the answer, but would have it done. A WebSocket is no safe method, though
// it begins with GET, and browsers ask for none before.
func (c *crossOrigin) lets(r *http.Request) bool {
	if c.refuses == nil {
		return true
	}
	if len(r.Header["Upgrade"]) > 0 {
		unsafe := *r
		unsafe.Method = http.MethodPost
		r = &unsafe
	}
	return c.refuses.Check(r) == nil
}

// isPreflight reports whether a browser asks what a page may do. Nothing else has
// these headers.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && len(r.Header["Origin"]) > 0 && len(r.Header["Access-Control-Request-Method"]) == 1
}

// crossOrigin reports whether the request has been answered: it was a preflight,
// or comes from a page that may not make it.
func (x *request) crossOrigin(c *crossOrigin) bool {
	if c == nil {
		return false
	}
	allowed := c.tell(x.w.Header(), x.r)
	switch preflight := isPreflight(x.r); {
	case preflight && allowed:
		x.record.Decision, x.record.Reason = audit.Allowed, audit.ReasonPreflight
		x.answer(func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) })
		return true
	case preflight:
		x.refuse(refusal{answer: proxy.PermissionDenied, reason: audit.ReasonOrigin, detail: "cors does not allow the origin, the method or a header"})
		return true
	case !c.lets(x.r):
		x.refuse(refusal{answer: proxy.PermissionDenied, reason: audit.ReasonOrigin, detail: "a page of an origin that cors does not list"})
		return true
	default:
		return false
	}
}

// headerOnly keeps a library from answering.
type headerOnly struct{ header http.Header }

func (w headerOnly) Header() http.Header         { return w.header }
func (w headerOnly) Write(b []byte) (int, error) { return len(b), nil }
func (w headerOnly) WriteHeader(int)             {}
