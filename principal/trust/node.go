package trust

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
)

// Node is a service's part in the platform: what it knows of keys and
// revocations, and its own link key. It is safe for concurrent use. Make one
// with [Join].
type Node struct {
	service  string
	instance []byte
	verify   []principal.VerifierOption
	settings []string
	stale    time.Duration // the verifier's bound
	lines    *lines
	logger   *slog.Logger
	now      func() time.Time
	pace     pace
	pinned   string

	keys      *keys
	ring      *ring // nil without a link key
	index     atomic.Pointer[revocation.Index]
	progress  progress
	current   atomic.Pointer[line]
	loaded    chan struct{} // closed when there is a snapshot
	unsaid    chan struct{} // holds one while there is something to report
	trouble   atomic.Pointer[trouble]
	clock     atomic.Pointer[edgeClock]
	confirmer confirmer
	puller    puller
	self      self

	verifier   *principal.Verifier
	propagator *principal.Propagator

	mu      sync.Mutex
	life    context.Context //nolint:containedctx // of the goroutines that start when something is asked for
	stop    context.CancelFunc
	closed  bool
	running sync.WaitGroup
}

// trouble is why the feed is not followed at the moment.
type trouble struct{ err error }

// Join joins the service to the platform whose edge is at an https URL, or at an
// http URL of this machine's loopback. It waits until the feed's snapshot is
// there and the service's link key is enrolled and published.
//
// If ctx ends before, or it becomes certain that the key will not be enrolled,
// everything is stopped, and the error says what was missing. Else the node
// lives until [Node.Close], whatever becomes of ctx.
func Join(ctx context.Context, url, service string, opts ...Option) (*Node, error) {
	n, err := newNode(url, service, opts)
	if err != nil {
		return nil, err
	}
	n.life, n.stop = context.WithCancel(context.WithoutCancel(ctx))
	n.start(n.follow)
	n.start(n.reportAll)
	if n.ring != nil {
		n.start(n.enroll)
	}
	if err := n.wait(ctx); err != nil {
		n.Close()
		return nil, fmt.Errorf("trust: joining %s as %q: %w", n.lines.origin, service, err)
	}
	return n, nil
}

func newNode(url, service string, opts []Option) (*Node, error) {
	origin, err := parseOrigin(url)
	if err != nil {
		return nil, err
	}
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	lines, err := newLines(origin, c)
	if err != nil {
		return nil, err
	}
	n := &Node{
		service: service, lines: lines, logger: c.logger, now: c.now, pace: c.pace, pinned: c.issuer,
		instance: make([]byte, 16), keys: newKeys(), loaded: make(chan struct{}), unsaid: make(chan struct{}, 1),
	}
	rand.Read(n.instance)
	n.self.turn = make(chan struct{}, 1)
	n.verify = append([]principal.VerifierOption{principal.WithClock(c.now)}, c.verifier...)
	like, err := n.newVerifier()
	if err != nil {
		return nil, err
	}
	n.settings = bounded(like.Settings())
	n.stale = staleness(like.Settings())
	propagatorOptions := []principal.PropagatorOption{principal.WithPropagatorClock(c.now)}
	if !c.relayOnly {
		if n.ring, err = newRing(n, c.token); err != nil {
			return nil, err
		}
		propagatorOptions = append(propagatorOptions, principal.WithLinkKeySource(service, &n.ring.source))
	}
	n.propagator, err = principal.NewPropagator(append(propagatorOptions, principal.WithRenewal(n.renew))...)
	return n, err
}

// newVerifier returns a verifier that follows n's index, or, while there is none,
// one that says whether the options are good.
func (n *Node) newVerifier() (*principal.Verifier, error) {
	index := n.index.Load()
	if index == nil {
		var err error
		if index, err = revocation.NewIndex("unknown"); err != nil {
			return nil, err
		}
	}
	// What is the node's to say comes last.
	opts := append(slices.Clone(n.verify), principal.WithRevocations(index), principal.WithOnlineCheck(n.confirm))
	return principal.NewVerifier(n.service, n, opts...)
}

// staleness reads the verifier's bound.
func staleness(settings []string) time.Duration {
	for _, s := range settings {
		if text, ok := strings.CutPrefix(s, "staleness="); ok {
			if bound, err := time.ParseDuration(text); err == nil {
				return bound
			}
		}
	}
	return 30 * time.Second
}

// wait waits for what Join promises.
func (n *Node) wait(ctx context.Context) error {
	select {
	case <-n.loaded:
	case <-ctx.Done():
		return missing(ctx, "no snapshot of the feed yet", n.followTrouble())
	}
	var err error
	if n.verifier, err = n.newVerifier(); err != nil {
		return err
	}
	if n.ring == nil {
		return nil
	}
	select {
	case <-n.ring.ready:
		return nil
	case <-n.ring.hopeless:
		return n.ring.health()
	case <-ctx.Done():
		return missing(ctx, "the link key is not enrolled and published yet", n.ring.trouble())
	}
}

func missing(ctx context.Context, what string, why error) error {
	if why == nil {
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	return fmt.Errorf("%s: %w: %w", what, why, context.Cause(ctx))
}

// start runs f until it returns or the node is closed, and reports whether it
// does.
func (n *Node) start(f func(ctx context.Context)) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.running.Go(func() { f(n.life) })
	return true
}

// Close leaves the platform and waits until everything has ended. The verifier
// goes on until its revocations are too old, for the calls that are still being
// answered.
func (n *Node) Close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.stop()
	n.running.Wait()
}

// Verifier returns the verifier of this service. It knows the keys and
// revocations of the feed, refuses everybody when it has not heard of it for 30
// seconds, and serves rules that demand an online check.
func (n *Node) Verifier() *principal.Verifier { return n.verifier }

// Propagator returns the propagator of this service. It signs with the key that
// is enrolled at the time.
func (n *Node) Propagator() *principal.Propagator { return n.propagator }

// Health returns nil, or why calls are refused or cannot be passed on: for
// readiness probes.
func (n *Node) Health() error {
	n.mu.Lock()
	closed := n.closed
	n.mu.Unlock()
	if closed {
		return errNodeClosed
	}
	if unheard, _ := n.index.Load().Age(n.now()); unheard >= n.stale {
		err := n.followTrouble()
		if err == nil {
			err = errSilent
		}
		return fmt.Errorf("trust: all calls are refused, as the feed has not been heard for %v: %w", n.stale, err)
	}
	if drift := n.edgeNow().Sub(n.now().Round(0)).Abs().Round(time.Second); drift > maxDrift {
		return fmt.Errorf("trust: the clocks of this machine and of the edge are %v apart; %v are allowed", drift, maxDrift)
	}
	if n.ring != nil {
		return n.ring.health()
	}
	return nil
}

func (n *Node) followTrouble() error {
	if t := n.trouble.Load(); t != nil {
		return t.err
	}
	return nil
}

// edgeClock is what the edge's clock said at a time, which has a monotonic
// reading: the own clock may be set meanwhile.
type edgeClock struct{ said, at time.Time }

// edgeNow is the time on the edge's clock, give or take a few seconds, or on the
// own one if nothing is known.
func (n *Node) edgeNow() time.Time {
	now := n.now()
	c := n.clock.Load()
	if c == nil {
		return now.Round(0)
	}
	return c.said.Add(now.Sub(c.at))
}

// Format keeps every verb of fmt from printing keys and tokens.
func (n *Node) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "trust.Node{"+n.service+"}") }

// version is that of this library, for people.
func version() string {
	const module = "github.com/onbehalf-dev/onbehalf"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(devel)"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == module && m.Version != "" {
			return m.Version
		}
	}
	return "(devel)"
}

// bounded keeps what people are told within what an edge takes.
func bounded(all []string) []string {
	const most, longest = 32, 256
	var out []string
	for _, s := range all[:min(most, len(all))] {
		if len(s) <= longest && wire.IsText(s) {
			out = append(out, s)
		}
	}
	return out
}
