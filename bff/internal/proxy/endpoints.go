package proxy

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// forwarder sends requests to an upstream, at one address or at several.
type forwarder interface {
	// forward reports also whether the request was sent twice, which it only is if
	// it is idempotent or was not processed.
	forward(r *http.Request, idempotent bool) (res *http.Response, repeated bool, err error)
	CloseIdleConnections()
}

// single is the transport to an upstream that has one address.
type single struct{ *http.Transport }

func (s single) forward(r *http.Request, _ bool) (*http.Response, bool, error) {
	res, err := s.RoundTrip(r)
	return res, false, err
}

// dialError wraps the error of a connection that never was: nothing of the request
// has left, so that it can go elsewhere whatever it is.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// endpoints are transports to several addresses of one upstream. A request goes
// to the one that has the fewest under way, of those that are healthy and do not
// rest. Where none is left that is healthy they are all taken for it: the checks
// may be what is wrong, and a refusal would be no better than a try.
//
// One that cannot be reached rests for a while, and the request goes to another:
// that is safe for every method, as nothing of it has been sent. What was sent is
// sent again only as repeat.go says.
type endpoints struct {
	now      func() time.Time
	log      *slog.Logger
	upstream string
	budget   *budget

	mu  sync.Mutex
	all []*endpoint
}

type endpoint struct {
	address   string
	transport *http.Transport

	// Under endpoints.mu:
	running   int
	probing   bool
	rest      time.Duration // the last one; 0: it is in use
	until     time.Time
	failed    int  // requests in a row that reached it in vain
	ejected   bool // it rests for these
	unhealthy bool // say the checks
}

// newEndpoints has one transport for each address of u, which is dialled whatever
// host a request is for.
func newEndpoints(u Upstream, log *slog.Logger, now func() time.Time) *endpoints {
	e := &endpoints{now: now, log: log, upstream: u.name(), budget: new(budget)}
	for _, address := range u.Endpoints {
		t := u.transport()
		one := &endpoint{address: address, transport: t}
		connect := u.dialer(address)
		dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := connect(ctx, network)
			e.dialled(one, ctx.Err() == nil && err != nil)
			if err != nil {
				return nil, dialError{err}
			}
			return conn, nil
		}
		t.DialContext, t.DialTLSContext = dial, dial
		e.all = append(e.all, one)
	}
	return e
}

// CloseIdleConnections implements forwarder.
func (e *endpoints) CloseIdleConnections() {
	for _, one := range e.all {
		one.transport.CloseIdleConnections()
	}
}

// forward implements forwarder.
func (e *endpoints) forward(r *http.Request, idempotent bool) (*http.Response, bool, error) {
	body, began := newReplay(r.Body), e.now()
	defer body.settle()
	e.budget.request(began)
	idempotent = idempotent || isSafe(r)
	tried := make(map[*endpoint]bool)
	repeated := false
	for {
		one := e.choose(tried)
		tried[one] = true
		res, begun, err := one.attempt(r, body, idempotent)
		if err == nil {
			e.answered(one, fails(res))
			res.Body = &countedBody{ReadCloser: res.Body, done: sync.OnceFunc(func() { e.done(one) })}
			return res, repeated, nil
		}
		canceled := r.Context().Err() != nil // then it was the client who gave up
		e.left(one, !canceled && isLost(err) && !body.broken())
		if canceled || len(tried) == len(e.all) || !body.again() {
			return nil, repeated, err
		}
		if _, unreachable := errors.AsType[dialError](err); unreachable {
			continue
		}
		unprocessed := isUnprocessed(err) // costs no service anything, and many are when an endpoint leaves
		may := unprocessed || idempotent && isCut(err) && !begun
		if now := e.now(); repeated || !may || expired(r.Header, now.Sub(began)) || !unprocessed && !e.budget.repeat(now) {
			return nil, repeated, err
		}
		repeated = true
	}
}

// attempt sends r to one. Whether the answer has begun is only found out for who
// wants to know it.
func (one *endpoint) attempt(r *http.Request, body *replay, watched bool) (res *http.Response, begun bool, err error) {
	var first atomic.Bool
	ctx := r.Context()
	if watched {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: func() { first.Store(true) }})
	}
	if r.Header.Get("Upgrade") != "" {
		ctx = context.WithValue(ctx, onlyHTTP1{}, true)
	}
	own := r.WithContext(ctx) // a copy
	own.Body = body.attempt(r.Body)
	res, err = one.transport.RoundTrip(own)
	return res, first.Load(), err
}

// choose returns an endpoint that was not tried: one that is said not to be well
// only if there is no other, and one that rests sooner than that.
func (e *endpoints) choose(tried map[*endpoint]bool) *endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	var best *endpoint
	first := rand.IntN(len(e.all)) //nolint:gosec // only spreads requests
	for i := range e.all {
		one := e.all[(first+i)%len(e.all)]
		if tried[one] {
			continue
		}
		if best == nil || cmp.Or(one.rank(now)-best.rank(now), one.running-best.running) < 0 {
			best = one
		}
	}
	best.running++
	if best.rest > 0 && !now.Before(best.until) { // one request finds out, the others stay away
		best.until, best.probing = now.Add(dialTimeout), true
	}
	return best
}

// rank is lower for what is better to choose.
func (one *endpoint) rank(now time.Time) int {
	rank := 0
	if one.unhealthy {
		rank = 2
	}
	if now.Before(one.until) {
		rank++
	}
	return rank
}

func (e *endpoints) done(one *endpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	one.running--
}

// countedBody says when a response has ended. That of an upgraded connection can
// be written to.
type countedBody struct {
	io.ReadCloser

	done func()
}

func (b *countedBody) Close() error {
	b.done()
	return b.ReadCloser.Close()
}

func (b *countedBody) Write(p []byte) (int, error) {
	w, ok := b.ReadCloser.(io.Writer)
	if !ok {
		return 0, http.ErrNotSupported
	}
	return w.Write(p)
}

// CloseWrite has a client that has said all still hear the upstream out.
func (b *countedBody) CloseWrite() error {
	w, ok := b.ReadCloser.(interface{ CloseWrite() error })
	if !ok {
		return http.ErrNotSupported
	}
	return w.CloseWrite()
}
