package oidc

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
)

const (
	refreshInterval = 5 * time.Minute  // between fetches in the background, while they succeed
	firstRetry      = time.Second      // after a failed fetch; each further time twice as long
	lastRetry       = time.Minute      // and no later than this
	refetchInterval = 10 * time.Second // at least, from a fetch to one on demand
	maxAge          = 24 * time.Hour   // of a set that cannot be fetched again
	maxWaiting      = 64               // tokens that wait for a fetch on demand
)

// keySource keeps the keys of one issuer. One goroutine, in run, does all
// fetches, so there is never more than one on its way. What tokens cause is
// bounded: a fetch each refetchInterval, maxWaiting goroutines, and no memory.
type keySource struct {
	issuer  string
	metrics *measured // or nil
	fetcher *fetcher
	now     func() time.Time
	log     *slog.Logger
	fetched atomic.Pointer[fetchedKeys]
	waiting atomic.Int32
	wake    chan struct{} // wakes run; filled under mu, with one element of room
	stopped chan struct{} // closed when run has ended

	mu      sync.Mutex
	started time.Time     // the last fetch
	failure error         // of the last fetch
	pending chan struct{} // closed when the fetch under way, or asked for, is done; nil without one
}

// fetchedKeys are immutable.
type fetchedKeys struct {
	keys keySet
	at   time.Time
}

// newKeySource returns a source that has one fetch pending, the first of run.
func newKeySource(c *Issuer, o options) *keySource {
	reach := c.reach()
	return &keySource{
		issuer:  c.Issuer,
		fetcher: &fetcher{issuer: c.Issuer, jwksURI: c.JWKSURI, reach: reach, client: newClient(reach, o)},
		now:     o.now,
		log:     o.log.With("issuer", c.Issuer),
		wake:    make(chan struct{}, 1),
		stopped: make(chan struct{}),
		pending: make(chan struct{}),
	}
}

// run fetches keys until ctx ends. It is called once.
func (s *keySource) run(ctx context.Context) {
	defer close(s.stopped)
	retry := firstRetry
	for {
		next := refreshInterval
		switch err := s.refresh(ctx); {
		case ctx.Err() != nil:
			return
		case err != nil:
			next, retry = retry, min(2*retry, lastRetry)
		default:
			retry = firstRetry
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-s.wake:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// refresh fetches once. A failure leaves the keys as they are, and is logged
// before anybody hears of it: who is refused for it finds the cause in the log.
func (s *keySource) refresh(ctx context.Context) error {
	now := s.now()
	s.mu.Lock()
	s.started = now
	if s.pending == nil {
		s.pending = make(chan struct{})
	}
	select {
	case <-s.wake: // whoever asked in the meantime gets this fetch
	default:
	}
	s.mu.Unlock()

	keys, unusable, err := s.fetcher.fetch(ctx)
	if ctx.Err() == nil {
		s.metrics.fetch(ctx, s.issuer, err)
	}
	switch {
	case err == nil:
		s.fetched.Store(&fetchedKeys{keys: keys, at: now})
	case ctx.Err() == nil:
		s.log.ErrorContext(ctx, "oidc: fetching the keys of an issuer failed", "error", err)
	}
	if len(unusable) > 0 {
		s.log.WarnContext(ctx, "oidc: keys of an issuer cannot be used", "count", len(unusable), "first", unusable[0])
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = err
	close(s.pending)
	s.pending = nil
	return err
}

// ask returns what is closed when the next fetch is done, and nil if there may
// be none yet. The limit counts from any fetch: made-up key ids must not become
// a load on the issuer.
func (s *keySource) ask() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending == nil {
		if s.now().Sub(s.started) < refetchInterval {
			return nil
		}
		s.pending = make(chan struct{})
		s.wake <- struct{}{} // has room: it is filled for a new pending only, and refresh drains it
	}
	return s.pending
}

// find returns the key of this issuer with an id. Only a token whose key id is
// not known waits for a fetch.
func (s *keySource) find(ctx context.Context, keyID, algorithm string) (*jose.JSONWebKey, error) {
	keys, ok := s.current()
	if !ok {
		detail := "no keys"
		if outOfReach(s.lastFailure()) {
			detail = "no keys: the address of the issuer is not allowed"
		}
		s.ask() // the issuer may be back before the next try
		return nil, refuse(authn.ReasonUnavailable, detail)
	}
	key, known := keys.find(keyID, algorithm)
	if !known {
		if err := s.wait(ctx); err != nil {
			return nil, err
		}
		keys, _ = s.current()
		key, known = keys.find(keyID, algorithm)
	}
	switch {
	case key != nil:
		return key, nil
	case known:
		return nil, refuse(authn.ReasonAlgorithm, "not that of the key")
	case s.lastFailure() != nil:
		return nil, refuse(authn.ReasonUnavailable, "an unknown key, and keys cannot be fetched")
	default:
		return nil, refuse(authn.ReasonKey, "unknown")
	}
}

// current returns the keys, unless they are too old: for a day nobody could
// have told us that one is stolen.
func (s *keySource) current() (keySet, bool) {
	f := s.fetched.Load()
	if f == nil || s.now().Sub(f.at) > maxAge {
		return nil, false
	}
	return f.keys, true
}

// wait returns after the next fetch, at once if none may start yet.
func (s *keySource) wait(ctx context.Context) error {
	done := s.ask()
	if done == nil {
		return nil
	}
	if s.waiting.Add(1) > maxWaiting {
		s.waiting.Add(-1)
		return refuse(authn.ReasonUnavailable, "an unknown key, and too many tokens wait for a fetch")
	}
	defer s.waiting.Add(-1)
	select {
	case <-done:
		return nil
	case <-s.stopped:
		return nil
	case <-ctx.Done():
		return refuse(authn.ReasonUnavailable, "the request ended before an unknown key was fetched")
	}
}

func (s *keySource) lastFailure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}
