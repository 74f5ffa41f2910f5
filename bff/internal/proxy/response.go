package proxy

import (
	"net/http"
	"slices"
	"strings"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// modify takes our headers out of the response. x-request-id is in the
// client's header already.
func (x *exchange) modify(res *http.Response) error {
	upgraded := res.StatusCode == http.StatusSwitchingProtocols
	if upgraded && (!x.upgrade || !strings.EqualFold(res.Header.Get("Upgrade"), "websocket")) {
		return errUpgrade
	}
	x.stripOurs(res.Header)
	x.stripCORS(res.Header)
	x.stripOurs(res.Trailer)  // the announced names
	res.Header.Del("Alt-Svc") // would lead clients past the edge
	for name := range res.Header {
		if string(fold(nil, name)) == "xrequestid" {
			delete(res.Header, name)
		}
	}
	if x.call.Principal != "" && (x.r.Method == http.MethodGet || x.r.Method == http.MethodHead) {
		res.Header.Add("Vary", x.h.vary) // a cache before the edge must not serve one caller's to another
	}
	if len(res.Trailer) > 0 && x.r.ProtoMajor == 1 {
		res.Header.Del("Content-Length") // HTTP/1.1 has trailers only after a body without a length
	}
	x.h.faults.recovered()
	x.answerBegins(res)

	x.mu.Lock()
	defer x.mu.Unlock()
	x.answered = true
	if (!x.read || x.readErr != nil) && x.r.ProtoMajor == 1 {
		x.answerEarly()
	}
	if x.ended {
		return ErrEnded
	}
	if upgraded { // its body is a connection, and must stay one
		x.w.status = res.StatusCode
		return nil
	}
	x.body = newResponseBody(x, res)
	res.Body = x.body.outward()
	return nil
}

// answerEarly lets the answer go out before the request is complete; an
// HTTP/1.1 server would hold it back until then. The connection is not used
// again: in this mode the server takes what is left of a body that it cannot
// read to the end for the next request.
func (x *exchange) answerEarly() {
	if x.rc.EnableFullDuplex() == nil {
		x.w.Header().Set("Connection", "close")
	}
}

// stripOurs removes our headers from a header or a trailer of a response. A
// service's reason is kept for the record; what is not a plain word is not a
// reason.
func (x *exchange) stripOurs(h http.Header) {
	for name, values := range h {
		if principal.IsAlias(name) {
			x.noteReason(name, values)
			delete(h, name)
		}
	}
}

// stripCORS removes what the upstream says about pages of other origins: two
// answers to that are one too many, and the upstream's may be a wider one.
func (x *exchange) stripCORS(h http.Header) {
	if !x.call.CORS {
		return
	}
	for name := range h {
		if hasPrefix(fold(nil, name), "accesscontrol") {
			delete(h, name)
		}
	}
}

func (x *exchange) noteReason(name string, values []string) {
	if x.reason != "" || len(values) != 1 || !strings.HasSuffix(string(fold(nil, name)), "xprincipalreason") {
		return
	}
	if v := values[0]; len(v) <= 32 && strings.Trim(v, "abcdefghijklmnopqrstuvwxyz_") == "" {
		x.reason = v
	}
}

// gate is the way out to the client. A response passes modify, but an
// informational one only comes by here.
type gate struct {
	http.ResponseWriter
	x      *exchange
	preset http.Header // what the caller wants in the response
	status int
}

// Unwrap lets [http.ResponseController] flush and hijack.
func (g *gate) Unwrap() http.ResponseWriter { return g.ResponseWriter }

func (g *gate) WriteHeader(status int) {
	h := g.Header()
	if status < http.StatusOK {
		g.x.stripOurs(h)
		g.x.stripCORS(h)
	} else {
		g.status = status
		for name, values := range g.preset { // the ReverseProxy clears them with an informational header
			if _, kept := h[name]; !kept {
				h[name] = values
			} else if name == "Vary" {
				h[name] = union(values, h[name])
			}
		}
	}
	g.ResponseWriter.WriteHeader(status)
}

// union returns all values, those that are in both once.
func union(first, second []string) []string {
	all := slices.Clone(first)
	for _, value := range second {
		if !slices.Contains(all, value) {
			all = append(all, value)
		}
	}
	return all
}
