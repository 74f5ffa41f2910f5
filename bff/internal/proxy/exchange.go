package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
)

var (
	errClientGone = errors.New("proxy: the client is gone")
	errNoAnswer   = errors.New("proxy: no answer in time")
	errHTTP1      = errors.New("a gRPC request for an upstream of HTTP/1.1")
	errUpgrade    = errors.New("proxy: the upstream switched protocols unasked")
)

// graceTime is how long a stream whose authority has ended may take to bring
// the current message to its end, and its client to take it.
const graceTime = time.Second

// exchange is one request on its way.
type exchange struct {
	measured

	h        *Handler
	r        *http.Request // as it came
	in       *http.Request // as the ReverseProxy gets it
	w        *gate
	rc       *http.ResponseController
	proxy    httputil.ReverseProxy
	call     Call
	path     string
	protocol protocol // of the request
	upgrade  bool     // asks for an upgrade that is allowed
	reason   string
	repeated bool

	ctx    context.Context //nolint:containedctx // of the request to the upstream, for as long as the exchange lasts
	cancel context.CancelCauseFunc

	mu        sync.Mutex
	announced int // aliases in the announced trailer
	smuggled  int
	ended     bool // the authority is gone
	read      bool // the client's body is there, or cannot be read
	readErr   error
	pace      pace
	taking    taking
	answered  bool // the upstream's header is there
	finished  bool
	body      *responseBody
	stops     []func() bool
}

func newExchange(h *Handler, w http.ResponseWriter, r *http.Request, call Call) *exchange {
	x := &exchange{h: h, r: r, rc: http.NewResponseController(w), call: call, protocol: requestProtocol(r)}
	if call.RequestID != "" {
		w.Header().Set(principal.RequestIDHeaderName, call.RequestID)
	}
	x.unboundAnswer()
	x.w = &gate{ResponseWriter: w, x: x, preset: w.Header().Clone()}
	x.pace.frames = newFramer(x.protocol)
	x.announced, x.smuggled = aliases(r.Trailer), Smuggled(r)
	// Not derived from r's: at ErrEnded the current message must still come.
	x.ctx, x.cancel = context.WithCancelCause(context.WithoutCancel(r.Context()))
	x.proxy = httputil.ReverseProxy{
		Rewrite:        x.rewrite, // a Director lets the client's Connection header remove what it sets
		ModifyResponse: x.modify,
		ErrorHandler:   x.fail,
		Transport:      roundTrip(x.send),
		// What has no announced length is flushed as it comes. Of the rest a flush
		// would part the header from the body, which is one more write for each
		// response, or from the end of the stream: gRPC reads a status from the header
		// only if they come together.
		FlushInterval: 0,
		BufferPool:    buffers,
		ErrorLog:      silent, // its texts quote headers; faults tells the operator
	}
	return x
}

// begin reports whether the request may go on. If not it has been answered.
func (x *exchange) begin() bool {
	path, err := canonicalPath(x.r)
	if err != nil {
		WriteError(x.w, x.r, BadRequest)
		return false
	}
	x.path = path
	x.in = x.inbound()
	x.read = x.r.ContentLength == 0
	if x.protocol == grpc && x.h.upstream.URL.Scheme == "http" {
		x.upstreamFails(errHTTP1)
		WriteError(x.w, x.r, Unavailable)
		return false
	}
	if !x.watch() {
		WriteError(x.w, x.r, InvalidCredential)
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.awaitAnswer()
	return true
}

// inbound returns r as the ReverseProxy gets it. An upgrade that is not
// allowed is taken off before, so that nothing can put it back: a tunnel to an
// upstream that speaks h2c carries any header its client likes.
func (x *exchange) inbound() *http.Request {
	in := x.r.WithContext(x.ctx)
	in.Body = &requestBody{ReadCloser: x.r.Body, x: x}
	upgrade := x.r.Header["Upgrade"]
	x.upgrade = x.h.upstream.WebSocket && len(upgrade) == 1 && strings.EqualFold(upgrade[0], "websocket")
	if len(upgrade) > 0 && !x.upgrade {
		in.Header = x.r.Header.Clone()
		in.Header.Del("Upgrade")
	}
	return in
}

// watch ends the exchange when its authority ends, and cancels it when the
// client goes. It reports whether there is any authority left.
func (x *exchange) watch() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.call.Until.IsZero() {
		left := x.call.Until.Sub(x.h.now())
		if x.ended = left <= 0; x.ended {
			return false
		}
		x.stops = append(x.stops, x.h.afterFunc(left, x.end))
	}
	ctx := x.r.Context()
	if x.ended = errors.Is(context.Cause(ctx), ErrEnded); x.ended {
		return false // what follows would be told of it too late
	}
	x.stops = append(x.stops, context.AfterFunc(ctx, func() {
		if errors.Is(context.Cause(ctx), ErrEnded) {
			x.end()
			return
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		if !x.finished {
			x.cut(errClientGone)
		}
	}))
	return true
}

func (x *exchange) rewrite(pr *httputil.ProxyRequest) {
	out := pr.Out
	out.URL = &url.URL{Scheme: x.h.scheme, Host: x.h.host, Path: x.path, RawQuery: out.URL.RawQuery}
	out.Host = ""
	out.Trailer = nil // no RPC protocol has them in requests, and they would be a second way in
	x.h.stripper.strip(out.Header)
	onlyGzip(out.Header, x.protocol)
	pr.SetXForwarded()
	if x.call.RequestID != "" {
		out.Header.Set(principal.RequestIDHeaderName, x.call.RequestID)
	}
	if x.call.Principal != "" {
		out.Header.Set(principal.HeaderName, x.call.Principal)
	}
}

// roundTrip is an [http.RoundTripper].
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (x *exchange) send(r *http.Request) (res *http.Response, err error) {
	if !x.call.Idempotent {
		sendOnce(r)
	}
	res, x.repeated, err = x.h.transport.forward(r, x.call.Idempotent)
	return res, err
}

// fail answers a request that got no response.
func (x *exchange) fail(w http.ResponseWriter, _ *http.Request, err error) {
	x.mu.Lock()
	ended, tooSlow, readErr := x.ended, x.pace.tooSlow, x.readErr
	x.mu.Unlock()
	var tooLarge *http.MaxBytesError
	switch cause := context.Cause(x.ctx); {
	case ended:
		WriteError(w, x.r, InvalidCredential)
	case tooSlow: // a server of HTTP/1.1 takes the client for gone then
		WriteError(w, x.r, TooSlow)
	case errors.Is(cause, errClientGone):
		WriteError(w, x.r, Unavailable) // for a caller that cancelled; a client does not see it
	case errors.As(readErr, &tooLarge):
		if x.r.ProtoMajor == 1 {
			x.answerEarly()
		}
		WriteError(w, x.r, TooLarge)
	case readErr != nil:
		WriteError(w, x.r, BadRequest)
	default:
		if cause != nil {
			err = cause
		}
		x.upstreamFails(err)
		WriteError(w, x.r, Unavailable)
	}
}

// finish stops all that could still touch w, and fills out.
func (x *exchange) finish(out *Outcome) {
	x.stripOurs(x.w.Header()) // trailers, which are sent when the handler returns
	x.mu.Lock()
	defer x.mu.Unlock()
	x.finished = true
	if !x.read || x.readErr != nil {
		BoundRest(x.w, x.r)
	}
	if !x.taking.tooSlow { // else it is over already
		BoundAnswer(x.w, x.h.stall)
	}
	x.pace.end()
	x.taking.end()
	for _, stop := range x.stops {
		stop()
	}
	*out = Outcome{Status: x.w.status, Smuggled: x.smuggled, Reason: x.reason, Ended: x.ended, Repeated: x.repeated}
	out.TooSlow = !x.ended && (x.pace.tooSlow || x.taking.tooSlow)
	out.Canceled = !out.TooSlow && x.clientGone()
	x.measure(out)
	x.cancel(nil)
}

// clientGone reports whether it was the client who broke off. The transport
// may see its body fail before the server cancels its context. The caller
// holds mu.
func (x *exchange) clientGone() bool {
	return !x.ended && (x.readErr != nil || errors.Is(context.Cause(x.ctx), errClientGone))
}
