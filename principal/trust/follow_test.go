package trust_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/trust"
)

func containsAll(text string, all ...string) bool {
	for _, s := range all {
		if !strings.Contains(text, s) {
			return false
		}
	}
	return true
}

func tryJoin(t testing.TB, url string, opts ...trust.Option) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	node, err := trust.Join(ctx, url, "orders", append(opts, trust.HurryForTest(), trust.WithLogger(slog.New(slog.DiscardHandler)))...)
	if err == nil {
		node.Close()
	}
	return err
}

// caughtUp waits until the node has reported a sequence.
func caughtUp(t testing.TB, e *edge, sequence uint64) bool {
	t.Helper()
	await(t, fmt.Sprint("sequence ", sequence, " is reported"), func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.reports) > 0 && slices.Max(e.reports) >= sequence
	})
	return true
}

// R02: over 1,000 cuts, with events before, during and after each, no event is
// lost, and the node has asked only for what it had not seen.
func TestR02NoEventIsLostOverCuts(t *testing.T) {
	t.Parallel()
	cuts := 1000
	if testing.Short() {
		cuts = 50
	}
	e := newEdge(t)
	p := newProxy(t, e)
	node := join(t, p.url(), trust.WithoutLinkKey())
	var session uint32
	revokeNext := func() uint64 {
		session++
		var id principal.ID
		id[0], id[1], id[2] = byte(session), byte(session>>8), byte(session>>16)
		return e.revoke(sessionOfID(id))
	}
	for i := range cuts {
		for range rand.IntN(3) {
			revokeNext()
		}
		calls := e.calls()
		p.cut()
		last := revokeNext()
		await(t, "it calls again", func() bool { return e.calls() > calls })
		if i%10 == 0 { // else it is cut again while it catches up
			caughtUp(t, e, last)
		}
	}
	caughtUp(t, e, revokeNext())
	for i := range session {
		h := human(0)
		h.SessionId[0], h.SessionId[1], h.SessionId[2] = byte(i+1), byte((i+1)>>8), byte((i+1)>>16)
		h.RevocationSequence = 1
		if got := reason(t, node, e.header("orders", h)); got != principal.ReasonRevoked {
			t.Fatalf("session %d of %d: %v", i+1, session, got)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	snapshots := 0
	for _, w := range e.watches {
		if w.GetSequence() == 0 {
			snapshots++
		}
	}
	t.Logf("%d cuts, %d calls of Watch, %d snapshots, %d events", cuts, len(e.watches), snapshots, session)
	if snapshots > 2 { // the first call may have been cut
		t.Errorf("%d snapshots", snapshots)
	}
}

// R04: with the connection held up, calls are refused when the bound has passed,
// and accepted again by itself. What was revoked meanwhile is refused at once.
func TestR04HeldUp(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	p := newProxy(t, e)
	node := join(t, p.url(), trust.WithoutLinkKey(), trust.WithVerifierOptions(principal.WithStaleness(time.Second)))
	good, bad := e.header("orders", human(1)), e.header("orders", human(2))
	if reason(t, node, good) != 0 {
		t.Fatal("a good header was refused")
	}
	p.pause(true)
	began := time.Now()
	e.revoke(sessionOf(2))
	await(t, "calls are refused as stale", func() bool { return reason(t, node, good) == principal.ReasonStale })
	t.Logf("stale after %v", time.Since(began))
	if err := node.Health(); err == nil || !strings.Contains(err.Error(), "has not been heard for 1s") {
		t.Error(err)
	}
	p.pause(false)
	began = time.Now()
	await(t, "calls are accepted again", func() bool {
		if got := reason(t, node, bad); got == 0 {
			t.Fatal("accepted what was revoked meanwhile")
		}
		return reason(t, node, good) == 0
	})
	t.Logf("fresh again after %v", time.Since(began))
	if got := reason(t, node, bad); got != principal.ReasonRevoked {
		t.Error(got)
	}
	await(t, "it is healthy", func() bool { return node.Health() == nil })
}

// shiftedClock is a clock that a test moves on. Its readings stay monotonic.
type shiftedClock struct{ by atomic.Int64 }

func (c *shiftedClock) now() time.Time { return time.Now().Add(time.Duration(c.by.Load())) }

// A message that lay somewhere for 40 s is no news, however late it is read: it is
// as old as the edge's own count of the time since the call says (R04).
func TestHeldUpMessagesAreOld(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	next := make(chan time.Duration)
	e.onWatch = func(ctx context.Context, _ int, send func(*trustv1.WatchResponse) error) error {
		s := e.snapshot()
		if err := send(snapshotOf(s)); err != nil {
			return err
		}
		keep := time.NewTicker(beat) // what is read at once, but was sent long ago, keeps the connection
		defer keep.Stop()
		elapsed := time.Duration(0)
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case elapsed = <-next:
			case <-keep.C:
			}
			if err := send(eventOf(&trustv1.Event{Previous: s.GetSequence(), Sequence: s.GetSequence(), Elapsed: durationpb.New(elapsed)})); err != nil {
				return err
			}
		}
	}
	var clock shiftedClock
	node := join(t, e.server.URL, trust.WithoutLinkKey(), trust.WithClock(clock.now))
	header := e.header("orders", human(1))
	if reason(t, node, header) != 0 {
		t.Fatal("refused at first")
	}
	clock.by.Store(int64(40 * time.Second))
	next <- time.Second
	next <- time.Second
	if got := reason(t, node, header); got != principal.ReasonStale {
		t.Errorf("by a message of 39 s ago: %v", got)
	}
	next <- 35 * time.Second
	await(t, "it is fresh by a message of 5 s ago", func() bool { return reason(t, node, header) == 0 })
	next <- 24 * time.Hour // an edge that counts too fast
	await(t, "it is fresh", func() bool { return reason(t, node, header) == 0 })
	clock.by.Store(int64(75 * time.Second))
	if got := reason(t, node, header); got != principal.ReasonStale && got != 0 {
		t.Error(got)
	}
}

// R10: with clocks 10 minutes apart the feed is followed, a key is enrolled, and
// revocations are applied and not stale; the node says that its clock is off.
func TestR10ClocksApart(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"ahead": 10 * time.Minute, "behind": -10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t)
			var clock shiftedClock
			clock.by.Store(int64(by))
			node := join(t, e.server.URL, trust.WithEnrollmentToken(token), trust.WithClock(clock.now))
			header := e.header("orders", human(1))
			if got := reason(t, node, header); got != principal.ReasonTime { // by the verifier's own clock
				t.Error(got)
			}
			verifier, err := principal.NewVerifier("orders", node) // with a clock like the edge's
			if err != nil {
				t.Fatal(err)
			}
			if _, err := verifier.Verify(t.Context(), header); err != nil {
				t.Error(err)
			}
			if err := node.Health(); err == nil || !strings.Contains(err.Error(), "clocks of this machine and of the edge") {
				t.Error(err)
			}
			if _, err := node.AsService(t.Context()); err == nil || !strings.Contains(err.Error(), "is refused here") {
				t.Errorf("the edge takes the time of its own clock, and the verifier goes by its own: %v", err)
			}
			caughtUp(t, e, e.revoke(sessionOf(1)))
		})
	}
}

// A feed that leaves something out, goes back, changes its name or is not
// understood is left, without a change, and called anew.
func TestBadFeeds(t *testing.T) {
	t.Parallel()
	type script func(s *trustv1.Snapshot) []*trustv1.WatchResponse
	heartbeat := func(previous, sequence uint64) *trustv1.WatchResponse {
		return eventOf(&trustv1.Event{Previous: previous, Sequence: sequence})
	}
	part := func(s *trustv1.Snapshot, edit func(*trustv1.Snapshot)) *trustv1.WatchResponse {
		p := &trustv1.Snapshot{Issuer: s.GetIssuer(), Sequence: s.GetSequence(), More: true}
		edit(p)
		return snapshotOf(p)
	}
	for name, c := range map[string]struct {
		script script
		log    string
		anew   bool // a snapshot is asked for
	}{
		"gap":  {func(*trustv1.Snapshot) []*trustv1.WatchResponse { return list(heartbeat(105, 106)) }, "events are missing", true},
		"back": {func(*trustv1.Snapshot) []*trustv1.WatchResponse { return list(heartbeat(90, 99)) }, "went back", false},
		"older": {func(s *trustv1.Snapshot) []*trustv1.WatchResponse {
			s.Sequence, s.Revocations = 99, nil
			return list(snapshotOf(s))
		}, "went back", false},
		"other issuer": {func(s *trustv1.Snapshot) []*trustv1.WatchResponse {
			s.Issuer = "https://other.test"
			return list(snapshotOf(s))
		}, "this is the feed of", false},
		"floor": {func(s *trustv1.Snapshot) []*trustv1.WatchResponse {
			s.Floor = s.GetSequence() + 1
			return list(snapshotOf(s))
		}, "floor", false},
		"parts": {func(s *trustv1.Snapshot) []*trustv1.WatchResponse {
			return list(part(s, func(*trustv1.Snapshot) {}), part(s, func(p *trustv1.Snapshot) { p.Sequence++ }))
		}, "belong together", false},
		"interrupted": {func(s *trustv1.Snapshot) []*trustv1.WatchResponse {
			return list(part(s, func(*trustv1.Snapshot) {}), heartbeat(100, 100))
		}, "in the middle of a snapshot", false},
		"not JSON": {func(*trustv1.Snapshot) []*trustv1.WatchResponse {
			return list(eventOf(&trustv1.Event{Previous: 100, Sequence: 101, Keys: []byte("{")}))
		}, "the keys in the feed", false},
		"nothing": {func(*trustv1.Snapshot) []*trustv1.WatchResponse { return list(&trustv1.WatchResponse{}) }, "does not know", false},
		"no target": {func(*trustv1.Snapshot) []*trustv1.WatchResponse {
			return list(eventOf(&trustv1.Event{Previous: 100, Sequence: 101, Revocations: []*trustv1.Revocation{{Sequence: 101}}}))
		}, "too old for its edge", false},
		"key role": {func(*trustv1.Snapshot) []*trustv1.WatchResponse {
			return list(eventOf(&trustv1.Event{Previous: 100, Sequence: 101, RemovedKeys: []*trustv1.KeyRef{{Owner: "orders", Id: "x"}}}))
		}, "without a role", false},
		"ended": {func(*trustv1.Snapshot) []*trustv1.WatchResponse { return nil }, "trust feed lost", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t)
			e.onWatch = func(ctx context.Context, call int, send func(*trustv1.WatchResponse) error) error {
				s := e.snapshot()
				if call != 2 {
					if err := send(snapshotOf(s)); err != nil {
						return err
					}
				}
				if call == 1 {
					return nil
				}
				if call == 2 {
					for _, m := range c.script(s) {
						if err := send(m); err != nil {
							return err
						}
					}
					return nil
				}
				return e.follow(ctx, time.Now(), s.GetSequence(), send)
			}
			var out logs
			node := join(t, e.server.URL, trust.WithoutLinkKey(), out.option())
			version := node.Version()
			caughtUp(t, e, e.revoke(sessionOf(1)))
			if !strings.Contains(out.String(), c.log) {
				t.Error(out.String())
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			if anew := e.watches[2].GetSequence() == 0; anew != c.anew {
				t.Errorf("asks from %d", e.watches[2].GetSequence())
			}
			if node.Version() != version {
				t.Error("the keys' version changed, but no key did")
			}
		})
	}
}

func list(all ...*trustv1.WatchResponse) []*trustv1.WatchResponse { return all }

// A Watch is made anew now and then, over the same connection, without a gap.
func TestRewatch(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	var out logs
	node := join(t, e.server.URL, trust.WithoutLinkKey(), trust.RewatchForTest(time.Millisecond), out.option())
	await(t, "five calls", func() bool { return e.calls() >= 5 })
	header := e.header("orders", human(1))
	e.revoke(sessionOf(1))
	await(t, "the session is revoked", func() bool { return reason(t, node, header) == principal.ReasonRevoked })
	if strings.Contains(out.String(), "lost") {
		t.Error(out.String())
	}
}

// An edge that says nothing, with a connection that looks healthy, is dialled anew
// after three heartbeats.
func TestSilence(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.quiet = true
	var out logs
	began := time.Now()
	join(t, e.server.URL, trust.WithoutLinkKey(), out.option())
	await(t, "it calls again", func() bool { return e.calls() >= 2 })
	if took := time.Since(began); took < 3*beat {
		t.Errorf("after %v", took)
	}
	if !strings.Contains(out.String(), "fallen silent") {
		t.Error(out.String())
	}
}

// From the edge's sending of an event until the verifier refuses.
func TestLatency(t *testing.T) { //nolint:paralleltest // it measures
	if testing.Short() {
		t.Skip("measures")
	}
	e := newEdge(t)
	node := join(t, e.server.URL, trust.WithoutLinkKey())
	const events = 200
	var took []time.Duration
	for i := range events {
		header := e.header("orders", human(byte(i)))
		if reason(t, node, header) != 0 {
			t.Fatal("refused too early")
		}
		began := time.Now()
		sequence := e.revoke(sessionOf(byte(i)))
		if err := trust.AppliedForTest(t.Context(), node, sequence); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
		if got := reason(t, node, header); got != principal.ReasonRevoked {
			t.Fatal(got)
		}
	}
	slices.Sort(took)
	t.Logf("event sent → refused: p50 %v, p99 %v, max %v", took[events/2], took[events*99/100], took[events-1])
}
