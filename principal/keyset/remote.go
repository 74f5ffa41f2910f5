package keyset

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
)

const (
	defaultRefresh = 5 * time.Minute
	defaultMaxAge  = 24 * time.Hour

	// demandEvery bounds how often callers can make a set fetch: who sends
	// made-up key ids must not be able to use this program against the server.
	demandEvery = 10 * time.Second
	// maxWaiting bounds how many of them wait for it. It is large, as all calls
	// of a moment wait when a new key is first used before it was fetched.
	maxWaiting = 1024
	// patience is for how long a caller waits for a fetch.
	patience = 2 * time.Second

	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

var errNotLoaded = errors.New("not fetched yet")

// Remote is a key set that follows a URL. It fetches in the background; a key
// that it holds is found without waiting. It is safe for concurrent use.
type Remote struct {
	url     string
	shown   string // in errors and logs: without the query, which may hold a token
	trusted map[principal.KeyRef]bool
	client  *http.Client
	logger  *slog.Logger
	refresh time.Duration
	maxAge  time.Duration
	now     func() time.Time

	content atomic.Pointer[content]
	loaded  chan struct{} // closed when there is a set for the first time
	waiting chan struct{} // callers that wait for a fetch; bounds them
	wake    chan struct{} // has the fetch in flight begin; holds one
	stop    context.CancelFunc
	stopped chan struct{}

	mu       sync.Mutex
	flight   chan struct{} // closed when the fetch under way, or about to be, ends; nil if there is none
	demanded time.Time     // when a caller last had a fetch begin
	closed   bool

	// Of the goroutine that fetches.
	failures int // since the last good fetch
	skipped  string
}

// content is what a Remote holds at a time. It is immutable.
type content struct {
	keys    map[principal.KeyRef]*principal.Key // nil if there is no set
	version uint64
	fetched time.Time
	err     error // why the last fetch failed, or nil
}

// NewRemote follows the key set at an https URL, or at an http URL of this
// machine's loopback. It fetches at once, then every five minutes, and, at most
// once in ten seconds, when a key is looked for that it does not hold.
//
// While fetches fail, the last good set serves, for up to 24 hours. A set that
// is fetched replaces the one before it whole: keys that are not in it are no
// longer accepted, and one without any keys revokes them all.
//
// The error is about the arguments, never about the server: a program can start
// before its edge does, and refuses calls until then; see [Remote.Ready]. ctx
// bounds how long NewRemote waits for the first fetch, which is at most two
// seconds; the set lives until [Remote.Close].
func NewRemote(ctx context.Context, url string, trust Trust, opts ...RemoteOption) (*Remote, error) {
	shown, err := checkURL(url)
	if err != nil {
		return nil, err
	}
	trusted, err := trust.names()
	if err != nil {
		return nil, err
	}
	r := &Remote{
		url:     url,
		shown:   shown,
		trusted: trusted,
		client:  &http.Client{Transport: newTransport(), CheckRedirect: sameOrigin},
		logger:  slog.Default(), // a URL that never answers must not be silent
		refresh: defaultRefresh,
		maxAge:  defaultMaxAge,
		now:     time.Now,
		waiting: make(chan struct{}, maxWaiting),
		wake:    make(chan struct{}, 1),
		stopped: make(chan struct{}),
		loaded:  make(chan struct{}),
		flight:  make(chan struct{}),
	}
	for _, opt := range opts {
		if err := opt.applyRemote(r); err != nil {
			return nil, err
		}
	}
	if r.maxAge < 2*r.refresh {
		return nil, fmt.Errorf("keyset: a maximum age of %v is less than two refreshes, of %v each", r.maxAge, r.refresh)
	}
	r.content.Store(&content{err: errNotLoaded})
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	first := r.flight
	go r.run(life)
	wait(ctx, first)
	return r, nil
}

// Find implements [principal.KeySet]. A key that is held is returned at once.
// For another one it waits for the fetch under way or has one begin, until ctx
// is done or for two seconds; not so for names that are not trusted, of which
// there are no keys. There is an error if no set was fetched yet, or the last
// one is too old. The record is shared and must not be changed.
func (r *Remote) Find(ctx context.Context, ref principal.KeyRef) (*principal.Key, error) {
	if !r.trusted[principal.KeyRef{Role: ref.Role, Owner: ref.Owner}] {
		return nil, nil
	}
	keys, err := r.current()
	if key := keys[ref]; key != nil {
		return key, nil
	}
	flight := r.demand()
	if flight == nil {
		return nil, err
	}
	select {
	case r.waiting <- struct{}{}:
		wait(ctx, flight)
		<-r.waiting
	default: // made-up key ids must not hold more calls than this
		return nil, err
	}
	keys, err = r.current()
	return keys[ref], err
}

// Version implements [principal.KeySet]. It changes if the trusted keys do, not
// with each fetch, and when they become too old.
func (r *Remote) Version() uint64 {
	c := r.content.Load()
	if c.keys != nil && r.now().Sub(c.fetched) >= r.maxAge {
		return c.version + 1 // as keep will say, which may wait for a fetch, or have ended
	}
	return c.version
}

// Ready waits until there is a set. The error says why there is none when ctx is
// done or r is closed, or later, at once, that the set is too old.
func (r *Remote) Ready(ctx context.Context) error {
	select {
	case <-r.loaded:
	case <-r.stopped:
	case <-ctx.Done():
		if _, err := r.current(); err != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		return nil
	}
	_, err := r.current()
	return err
}

// Close ends the fetching and waits for its end. The set that r holds goes on
// serving until it is too old, for the calls that are still being answered.
func (r *Remote) Close() {
	r.stop()
	<-r.stopped
}

func (r *Remote) current() (map[principal.KeyRef]*principal.Key, error) {
	c := r.content.Load()
	switch {
	case c.keys == nil:
		return nil, fmt.Errorf("keyset: no keys from %s: %w", r.shown, c.err)
	case r.now().Sub(c.fetched) >= r.maxAge:
		return nil, fmt.Errorf("keyset: no keys from %s: the last good set is too old", r.shown)
	default:
		return c.keys, nil
	}
}

// demand returns the fetch under way or has one begin, and returns nil if it is
// too soon for that.
func (r *Remote) demand() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flight != nil {
		return r.flight
	}
	now := r.now()
	if r.closed || !r.demanded.IsZero() && now.Sub(r.demanded) < demandEvery {
		return nil
	}
	r.demanded = now
	r.flight = make(chan struct{})
	r.wake <- struct{}{} // is empty while nothing is in flight
	return r.flight
}

// wait waits for a fetch, but not for long.
func wait(ctx context.Context, flight <-chan struct{}) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-flight:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// run makes all the fetches, one after the other.
func (r *Remote) run(ctx context.Context) {
	defer close(r.stopped)
	defer r.land(true)
	for ctx.Err() == nil {
		timer := time.NewTimer(r.load(ctx))
		r.land(false)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-r.wake:
		}
		timer.Stop()
		r.takeOff()
	}
}

func (r *Remote) takeOff() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flight == nil {
		r.flight = make(chan struct{})
	}
	select {
	case <-r.wake: // a caller asked for the fetch that the timer has begun
	default:
	}
}

func (r *Remote) land(forGood bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flight != nil {
		close(r.flight)
		r.flight = nil
	}
	r.closed = forGood
}

// load fetches once and returns how long to wait for the next time.
func (r *Remote) load(ctx context.Context) time.Duration {
	asked := r.now().Round(0) // wall time: what a machine had before it slept is old
	keys, skipped, err := r.fetch(ctx)
	switch {
	case ctx.Err() != nil:
		return 0
	case err != nil:
		return r.keep(ctx, err)
	}
	r.failures = 0
	r.replace(ctx, keys, asked)
	r.reportSkipped(ctx, skipped)
	return jitter(r.refresh)
}

// keep goes on with what there is, unless it is too old.
func (r *Remote) keep(ctx context.Context, err error) time.Duration {
	next := *r.content.Load()
	next.err = err
	r.failures++
	retry := jitter(min(firstRetry<<min(r.failures-1, 10), lastRetry, r.refresh))
	r.logger.WarnContext(ctx, "key set not fetched", "url", r.shown, "failures", r.failures, "error", err)
	if next.keys != nil {
		left := r.maxAge - r.now().Sub(next.fetched)
		if left <= 0 {
			// A new version, so that nothing that these keys have verified is believed from a cache.
			next.keys, next.version = nil, next.version+1
			r.logger.ErrorContext(ctx, "last good key set is too old: all principals are refused", "url", r.shown, "fetched", next.fetched)
		} else {
			retry = min(retry, left)
		}
	}
	r.content.Store(&next)
	return retry
}

func (r *Remote) replace(ctx context.Context, keys map[principal.KeyRef]*principal.Key, asked time.Time) {
	old := r.content.Load()
	next := content{keys: keys, version: old.version, fetched: asked}
	if old.keys != nil && maps.EqualFunc(old.keys, keys, sameKey) {
		r.content.Store(&next)
		return
	}
	next.version += 2 // what lies between is for a set that is too old, and not for another one
	r.content.Store(&next)
	if old.version == 0 {
		close(r.loaded)
	}
	r.logger.InfoContext(ctx, "key set changed", "url", r.shown, "keys", len(keys), "names_without_key", r.without(keys))
}

func sameKey(a, b *principal.Key) bool {
	return a.KeyRef == b.KeyRef && a.Public.Equal(b.Public) && a.NotBefore.Equal(b.NotBefore) && a.NotAfter.Equal(b.NotAfter)
}

// without returns the trusted names that have no key: not enrolled yet, or
// misspelt.
func (r *Remote) without(keys map[principal.KeyRef]*principal.Key) []string {
	missing := maps.Clone(r.trusted)
	for ref := range keys {
		delete(missing, principal.KeyRef{Role: ref.Role, Owner: ref.Owner})
	}
	var names []string
	for name := range missing {
		names = append(names, name.Owner)
	}
	slices.Sort(names)
	return names
}

// reportSkipped logs the keys that cannot be used, once for each time that they
// change.
func (r *Remote) reportSkipped(ctx context.Context, skipped []error) {
	const most = 10
	text := ""
	if len(skipped) > 0 {
		text = errors.Join(skipped[:min(most, len(skipped))]...).Error()
	}
	if text != r.skipped && text != "" {
		r.logger.WarnContext(ctx, "keys in the key set cannot be used", "url", r.shown, "count", len(skipped), "first", text)
	}
	r.skipped = text
}

// jitter spreads the fetches of many processes that started together.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1) //nolint:gosec // nothing secret hangs on it
}
