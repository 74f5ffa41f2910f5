// Package httpguard is what the middlewares and clients over net/http have in
// common.
package httpguard

import (
	"context"
	"net/http"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// Call describes a request.
func Call(procedure string, r *http.Request) principal.Call {
	call := guard.TextCall(procedure, r.Header)
	call.TLS = r.TLS
	call.Origin = (*origin)(r)
	call.Lease = r.Header[guard.LeaseHeader]
	return call
}

// origin is where a request came from.
type origin http.Request

func (o *origin) Origin(context.Context) (address string, userAgent []string) {
	return o.RemoteAddr, o.Header["User-Agent"]
}

// Set replaces what a request says of a principal: every alias goes, and the
// header comes in once, unless the call is anonymous. The same holds for the
// request id, if there is one.
func Set(header http.Header, h principal.Header, id string) {
	guard.Strip(header, id != "")
	if text := h.Text(); text != "" {
		header[guard.Header] = []string{text}
	}
	if id != "" {
		header[guard.RequestIDHeader] = []string{id}
	}
}

// WithoutRedirects returns a copy of client that hands a redirect to its caller
// instead of following it: net/http repeats our header to wherever a response
// points.
func WithoutRedirects(client *http.Client) *http.Client {
	if client == nil {
		client = new(http.Client)
	}
	c := *client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}
