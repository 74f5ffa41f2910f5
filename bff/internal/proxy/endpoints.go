package proxy

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// An endpoint that could not be reached is left alone for this long, and twice
	// as long each time that it still cannot.
	shortestRest = time.Second
	longestRest  = 30 * time.Second
)

// roundTripper is a transport, or several.
type roundTripper interface {
	http.RoundTripper
	CloseIdleConnections()
}

// dialError wraps the error of a connection that never was: nothing of the request
// has left, so that it can go elsewhere whatever it is.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// endpoints are transports to several addresses of one upstream. A request goes
// to the one that has the fewest under way, of those that could be reached the
// last time. One that cannot be reached is left out for a while, and the request
// goes to another: that is safe for every method, as nothing of it has been sent.
// All else that fails is the answer; only what is idempotent and has no body is
// repeated, by the transport itself, if a connection that was kept turns out to be
// closed.
type endpoints struct {
	now func() time.Time

	mu  sync.Mutex
	all []*endpoint
}

type endpoint struct {
	transport *http.Transport

	// Under endpoints.mu:
	running int
	probing bool
	rest    time.Duration // the last one; 0: it could be reached
	until   time.Time
}

// newEndpoints has one transport for each address, which is dialled whatever host
// a request is for.
func newEndpoints(addresses []string, transport func() *http.Transport, now func() time.Time) *endpoints {
	e := &endpoints{now: now}
	for _, address := range addresses {
		t := transport()
		one := &endpoint{transport: t}
		dial := t.DialContext
		t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			e.dialled(one, ctx.Err() == nil && err != nil)
			if err != nil {
				return nil, dialError{err}
			}
			return conn, nil
		}
		e.all = append(e.all, one)
	}
	return e
}

// CloseIdleConnections implements roundTripper.
func (e *endpoints) CloseIdleConnections() {
	for _, one := range e.all {
		one.transport.CloseIdleConnections()
	}
}

// RoundTrip implements [http.RoundTripper].
func (e *endpoints) RoundTrip(r *http.Request) (*http.Response, error) {
	body := &retriedBody{ReadCloser: r.Body}
	if r.Body != nil && r.Body != http.NoBody {
		r = r.WithContext(r.Context()) // a copy
		r.Body = body
	}
	tried := make(map[*endpoint]bool)
	for {
		one := e.choose(tried)
		res, err := one.transport.RoundTrip(r)
		_, unreachable := errors.AsType[dialError](err)
		unreachable = unreachable && r.Context().Err() == nil // else it was the client who gave up
		e.left(one, err)
		tried[one] = true
		if unreachable && len(tried) < len(e.all) && body.again() {
			continue
		}
		body.settle()
		if err != nil {
			return nil, err
		}
		res.Body = &countedBody{ReadCloser: res.Body, done: sync.OnceFunc(func() { e.done(one) })}
		return res, nil
	}
}

// choose returns an endpoint that was not tried: one that rests only if there is no
// other.
func (e *endpoints) choose(tried map[*endpoint]bool) *endpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	var best *endpoint
	better := func(one *endpoint) bool {
		if resting := now.Before(one.until); best == nil || resting != now.Before(best.until) {
			return best == nil || !resting
		}
		return one.running < best.running
	}
	first := rand.IntN(len(e.all)) //nolint:gosec // only spreads requests
	for i := range e.all {
		if one := e.all[(first+i)%len(e.all)]; !tried[one] && better(one) {
			best = one
		}
	}
	best.running++
	if best.rest > 0 && !now.Before(best.until) { // one request finds out, the others stay away
		best.until, best.probing = now.Add(dialTimeout), true
	}
	return best
}

// dialled notes how a dial went: it may end long after the request has, which is when
// a client is less patient than a dial. Those that began together count once.
func (e *endpoints) dialled(one *endpoint, failed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	if failed && (one.rest == 0 || !now.Before(one.until) || one.probing) {
		one.probing = false
		one.rest = min(max(shortestRest, 2*one.rest), longestRest)
		one.until = now.Add(one.rest)
	}
}

// left notes how an attempt went. One that was answered runs until its body is
// closed.
func (e *endpoints) left(one *endpoint, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		one.running--
		return
	}
	one.rest, one.until = 0, time.Time{}
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

// retriedBody is a request's body that a transport may close before it is known
// whether the request goes elsewhere.
type retriedBody struct {
	io.ReadCloser

	mu                   sync.Mutex
	read, closed, closes bool
}

func (b *retriedBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.read = true
	b.mu.Unlock()
	return b.ReadCloser.Read(p)
}

// Close closes the body once that is final.
func (b *retriedBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.closes {
		return b.ReadCloser.Close()
	}
	return nil
}

// again reports whether nothing of the body is gone.
func (b *retriedBody) again() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = false
	return !b.read
}

// settle has closing take effect, also if it was before.
func (b *retriedBody) settle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closes = true
	if b.closed {
		_ = b.ReadCloser.Close() // the transport did not wait for its error either
	}
}
