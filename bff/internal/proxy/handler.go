package proxy

import (
	"errors"
	"io"
	"log" //nolint:depguard // httputil.ReverseProxy takes no other, and is silenced
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrEnded is the cause to cancel a request's context with when the authority
// that let it in has ended: a revocation, a logout. A running stream then ends
// with UNAUTHENTICATED in the caller's protocol, after the message that is
// being sent. A context that is cancelled with another cause aborts it.
var ErrEnded = errors.New("proxy: the authority of the request has ended")

// Call is what the edge has decided about one request.
type Call struct {
	// Principal is the value of x-principal-bin. Empty sends none.
	Principal string
	// RequestID is sent upstream, and back to the client, as x-request-id.
	RequestID string
	// CORS says that the edge itself tells browsers which pages may read the
	// response, in the header of w: what the upstream says of that is removed.
	CORS bool
	// Until is when the authority ends, and with it the request, as by
	// [ErrEnded]. Zero means never. It is for streams: it cuts a long download
	// off as well.
	Until time.Time
	// Idempotent says that the request may be sent twice: once more, to another
	// endpoint, if its connection breaks before an answer comes. GET, HEAD and
	// OPTIONS always may.
	Idempotent bool
}

// Outcome is what became of one request, for its audit record.
type Outcome struct {
	// Status is the HTTP status that was sent.
	Status int
	// Smuggled counts the values in the request that could have been taken for
	// ours and were removed, see [Smuggled]; those in unannounced trailers too.
	Smuggled int
	// Reason is why a service refused the principal, if it said so: the value
	// of x-principal-reason. It is the upstream's word: at most 32 of [a-z_].
	Reason string
	// Ended is set if the authority ended before the request did.
	Ended bool
	// TooSlow is set if the client took too long to send its body, or to take its
	// answer.
	TooSlow bool
	// Canceled is set if the client left, its body could not be read, or the
	// request's context was cancelled otherwise, before the request was done.
	Canceled bool
	// Repeated is set if the request was sent to a second endpoint after it had been
	// sent to one.
	Repeated bool
	// Answered is when the upstream's answer began, zero if it gave none. Stream
	// says that what it has begun may go on for as long as it likes.
	Answered time.Time
	Stream   bool
	// Failed is set if the upstream gave no answer, or broke it off.
	Failed bool
}

// Options are what handlers of one edge have in common. The zero value works.
type Options struct {
	// CredentialHeaders are the names of headers in which clients send their
	// credentials, beside Authorization, Proxy-Authorization and DPoP. They are
	// never forwarded, on any route. Cookie is forwarded unless it is named.
	CredentialHeaders []string
	// BodyTimeout is how long a client may let the edge wait for its body, and a
	// second more for each KiB that came. Where the body is a stream of messages
	// that counts for each message, from its first byte on. Zero means for ever.
	BodyTimeout time.Duration
	// TakeTimeout is how long a client may take for the next piece, of up to 16
	// KiB, of an answer that is there for it. Zero means for ever.
	TakeTimeout time.Duration
	// Answering counts the answers that have begun and not ended. Nil: nothing does.
	Answering *atomic.Int64
	// Logger gets one line when an upstream fails. Nil means slog.Default().
	Logger *slog.Logger
	// Now and AfterFunc are the clock. Nil means that of package time.
	Now       func() time.Time
	AfterFunc func(d time.Duration, f func()) (stop func() bool)
}

// Handler forwards requests to one upstream. It is safe for concurrent use.
// Routes with the same upstream should share one, and with it its connections.
type Handler struct {
	upstream  Upstream
	host      string
	scheme    string // as the transport has it
	vary      string
	stripper  stripper
	transport forwarder
	checker   *checker // nil if nothing is checked
	faults    *faults
	answering *atomic.Int64
	patience  time.Duration // for the client's body
	stall     time.Duration // of the client, in taking its answer
	now       func() time.Time
	afterFunc func(time.Duration, func()) func() bool
}

// New returns a handler for upstream.
func New(upstream Upstream, o Options) (*Handler, error) {
	if err := upstream.check(); err != nil {
		return nil, err
	}
	h := &Handler{
		upstream:  upstream,
		host:      upstream.URL.Host,
		scheme:    strings.Replace(upstream.URL.Scheme, "h2c", "http", 1),
		vary:      strings.Join(slices.Concat([]string{"Authorization", "Cookie"}, o.CredentialHeaders), ", "),
		stripper:  newStripper(o.CredentialHeaders),
		patience:  o.BodyTimeout,
		stall:     o.TakeTimeout,
		answering: o.Answering,
		now:       o.Now,
		afterFunc: o.AfterFunc,
	}
	if h.upstream.AnswerWithin == 0 {
		h.upstream.AnswerWithin = defaultAnswerWithin
	}
	if h.now == nil {
		h.now = time.Now
	}
	if h.afterFunc == nil {
		h.afterFunc = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	h.faults = &faults{log: o.Logger, now: h.now, upstream: upstream.name()}
	checked := upstream.HealthCheck != HealthCheck{}
	if checked && len(upstream.Endpoints) == 0 {
		upstream.Endpoints = []string{upstream.Address()}
	}
	if len(upstream.Endpoints) == 0 {
		h.transport = single{upstream.transport()}
		return h, nil
	}
	e := newEndpoints(upstream, o.Logger, h.now)
	h.transport = e
	if checked {
		h.checker = newChecker(e, upstream)
	}
	return h, nil
}

// Start begins to check the health of the upstream's endpoints, if that is
// configured. It is called once, by who puts the handler to use and closes it in
// the end.
func (h *Handler) Start() {
	if h.checker != nil {
		h.checker.start()
	}
}

// Close ends the checks and closes the idle connections to the upstream. Running
// requests go on.
func (h *Handler) Close() {
	if h.checker != nil {
		h.checker.close()
	}
	h.transport.CloseIdleConnections()
}

// Forward sends r upstream and its response to w. It fills out also when it
// panics with [http.ErrAbortHandler], which it does to break off a response
// that cannot be completed.
//
// Whatever the route, r loses every alias of our header, the client's
// credential, and what an upstream could take for a proxy's word; the response
// loses our headers. w must be the server's own or unwrap to it (see
// [http.ResponseController]), or streams cannot be ended.
func (h *Handler) Forward(w http.ResponseWriter, r *http.Request, call Call, out *Outcome) {
	x := newExchange(h, w, r, call)
	defer x.finish(out)
	if !x.begin() {
		return
	}
	x.proxy.ServeHTTP(x.w, x.in)
}

var silent = log.New(io.Discard, "", 0)

// An idle stream holds one buffer: larger ones cost more than they bring.
var buffers = &bufferPool{sync.Pool{New: func() any { return new([16 << 10]byte) }}}

type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() []byte  { return p.pool.Get().(*[16 << 10]byte)[:] } //nolint:errcheck // nothing else is put into it
func (p *bufferPool) Put(b []byte) { p.pool.Put((*[16 << 10]byte)(b)) }
