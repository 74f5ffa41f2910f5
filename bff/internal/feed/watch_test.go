package feed_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"

	"github.com/onbehalf-dev/onbehalf/bff/internal/feed"
)

// One handler serves all three protocols: a snapshot, then events, then silence
// with heartbeats.
func TestWatch(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	first := e.revoke(session(1))
	key := e.enrolled(e.dial(), "ledger")
	for name, options := range map[string][]connecthttp.Option{
		"connect": nil, "grpc": {connecthttp.WithGRPC()}, "grpc-web": {connecthttp.WithGRPCWeb()}, "json": {connecthttp.WithProtoJSON()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := watch(t.Context(), t, e.dial(options...), &trustv1.WatchRequest{Service: "orders"})
			s := f.snapshot()
			keys, skipped, err := keyset.Parse(s.GetKeys())
			if err != nil || len(skipped) > 0 || len(keys) != 1 || keys[0].ID != key.id || keys[0].Owner != "ledger" {
				t.Error(keys, skipped, err)
			}
			if s.GetIssuer() != issuer || s.GetSequence() < first || s.GetFloor() == 0 || s.GetFloor() >= first ||
				s.GetHeartbeat().AsDuration() != 100*time.Millisecond || s.GetAge().AsDuration() != 0 ||
				len(s.GetRevocations()) == 0 || s.GetRevocations()[0].GetSequence() != first {
				t.Error(s)
			}
			before := s.GetElapsed().AsDuration()
			beat := f.next().GetEvent()
			if beat.GetPrevious() > s.GetSequence() || beat.GetElapsed().AsDuration() <= before {
				t.Error(beat)
			}
			s.Sequence = beat.GetSequence()
			told := beat.GetRevocations()
			at := e.revoke(session(100))
			for s.Sequence < at {
				event := f.event(s.GetSequence())
				s.Sequence = event.GetSequence()
				told = append(told, event.GetRevocations()...)
			}
			if !slices.ContainsFunc(told, func(r *trustv1.Revocation) bool { return r.GetSequence() == at }) {
				t.Error(told)
			}
		})
	}
}

// R02: who was away for a moment gets what it missed, and nothing else.
func TestResume(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	c := e.dial()
	ctx, cut := context.WithCancel(t.Context())
	id := instance()
	f := watch(ctx, t, c, &trustv1.WatchRequest{Service: "orders", Instance: id})
	at := f.snapshot().GetSequence()
	cut()
	var want []uint64
	for i := range 5 {
		want = append(want, e.revoke(session(i)))
	}
	e.token("orders") // counts, but is not told
	f = watch(t.Context(), t, c, &trustv1.WatchRequest{Service: "orders", Instance: id, Sequence: at})
	event := f.event(at)
	var got []uint64
	for _, r := range event.GetRevocations() {
		got = append(got, r.GetSequence())
	}
	if !slices.Equal(got, want) || event.GetPrevious() != at {
		t.Errorf("%v, want %v", event, want)
	}
	// Who knows everything is told at once that it does.
	f = watch(t.Context(), t, c, &trustv1.WatchRequest{Service: "orders", Sequence: event.GetSequence()})
	if e := f.next().GetEvent(); e == nil || e.GetPrevious() != event.GetSequence() || len(e.GetRevocations()) != 0 {
		t.Error(e)
	}
	// Who knows too little for the log gets a snapshot.
	f = watch(t.Context(), t, c, &trustv1.WatchRequest{Service: "orders", Sequence: 1})
	if s := f.snapshot(); len(s.GetRevocations()) != 5 {
		t.Error(s)
	}
}

// R02: over many cuts at any moment, with revocations in between, nothing is lost.
func TestCuts(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	const cuts = 200
	var known uint64
	seen := make(map[uint64]bool)
	id := instance()
	revoked := make(chan []uint64, 1)
	stop := make(chan struct{})
	go func() {
		var all []uint64
		for i := 0; ; i++ {
			select {
			case <-stop:
				revoked <- all
				return
			default:
				all = append(all, e.revoke(session(i)))
			}
		}
	}()
	c := e.dial()
	follow := func(messages int, until uint64) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f := watch(ctx, t, c, &trustv1.WatchRequest{Service: "orders", Instance: id, Sequence: known})
		for i := 0; i < messages || known < until; i++ {
			m := f.next()
			revocations := slices.Concat(m.GetSnapshot().GetRevocations(), m.GetEvent().GetRevocations())
			switch snapshot, event := m.GetSnapshot(), m.GetEvent(); {
			case event != nil && (event.GetPrevious() > known || event.GetSequence() < known), snapshot != nil && snapshot.GetSequence() < known:
				t.Fatalf("at %d: %v", known, m)
			case event != nil:
				known = event.GetSequence()
			case !snapshot.GetMore():
				known = snapshot.GetSequence()
			}
			for _, r := range revocations {
				seen[r.GetSequence()] = true
			}
		}
	}
	for i := range cuts {
		follow(i%4, 0)
	}
	close(stop)
	all := <-revoked
	follow(0, all[len(all)-1])
	for _, sequence := range all {
		if !seen[sequence] {
			t.Errorf("%d of %d is lost", sequence, len(all))
		}
	}
	t.Logf("%d cuts, %d revocations", cuts, len(all))
}

// A sequence that is lower than what the caller knows is never sent: an edge that
// is behind says so.
func TestEdgeThatIsBehind(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	c := e.dial()
	f := watch(t.Context(), t, c, &trustv1.WatchRequest{Service: "orders", Sequence: e.state.Sequence() + 1000})
	_, err := f.Receive()
	wantCode(t, "behind", err, connect.CodeUnavailable)
	// One that gets there in time serves.
	next := e.state.Sequence() + 1
	revoked := make(chan uint64, 1)
	go func() { revoked <- e.revoke(session(1)) }()
	waiting := watch(t.Context(), t, c, &trustv1.WatchRequest{Service: "orders", Sequence: next})
	if got := waiting.next().GetEvent(); got.GetSequence() < next || <-revoked > got.GetSequence() {
		t.Error(got, next)
	}
}

// R04: an edge that has not heard from its store for long stops pretending.
func TestStaleEdge(t *testing.T) {
	t.Parallel()
	e := newEdge(t, func(e *edge, _ *feed.Options) { e.store.external.Store(true) })
	c := e.dial()
	if _, err := c.Confirm(t.Context(), &trustv1.ConfirmRequest{}); err != nil {
		t.Fatal(err)
	}
	f := watch(t.Context(), t, c, &trustv1.WatchRequest{Service: "orders"})
	f.snapshot()
	var at uint64
	e.store.broken.Store(true)
	_, err := c.Confirm(t.Context(), &trustv1.ConfirmRequest{})
	wantCode(t, "confirm without a quorum", err, connect.CodeUnavailable)
	e.advance(time.Minute)
	for {
		if beat := f.next().GetEvent(); beat.GetAge().AsDuration() >= time.Minute {
			at = beat.GetSequence()
			break
		}
	}
	e.advance(10 * time.Minute)
	late := watch(t.Context(), t, c, &trustv1.WatchRequest{Service: "orders"})
	_, err = late.Receive()
	wantCode(t, "a new watcher", err, connect.CodeUnavailable)
	// Nothing is said to be fresh any more, but events are told.
	e.store.external.Store(false) // is fresh again
	e.store.broken.Store(false)
	sequence := e.revoke(session(1))
	event := f.event(at)
	if event.GetRevocations()[0].GetSequence() != sequence || event.GetPrevious() != at {
		t.Error(event)
	}
}

// A consumer that reads nothing has itself to wait for, and is given up in time.
func TestSlowConsumer(t *testing.T) {
	t.Parallel()
	e := newEdge(t, func(_ *edge, o *feed.Options) { o.SendTimeout = 300 * time.Millisecond; o.Heartbeat = time.Minute })
	slow, quick := watch(t.Context(), t, e.dialSmall(), &trustv1.WatchRequest{Service: "slow"}), watch(t.Context(), t, e.dial(), &trustv1.WatchRequest{Service: "quick"})
	at := quick.snapshot().GetSequence()
	slow.snapshot()
	if n := len(e.Services()); n != 2 {
		t.Fatal(n)
	}
	var worst time.Duration
	reason := strings.Repeat("x", 256)
	for i := 0; len(e.Services()) == 2; i++ { // until nothing more fits on the way
		if i == 20_000 {
			t.Fatal("the slow one is still there")
		}
		id := session(i)
		id.GetSession().Issuer = issuer + "/" + reason[:200]
		begun := time.Now()
		sequence := e.revoke(id)
		for at < sequence {
			at = quick.event(at).GetSequence()
		}
		worst = max(worst, time.Since(begun))
	}
	t.Logf("the slowest of the quick one: %v", worst)
	if worst > time.Second {
		t.Error("the quick one was held up:", worst)
	}
}

func TestReplacedWatch(t *testing.T) {
	t.Parallel()
	e := newEdge(t, func(_ *edge, o *feed.Options) { o.MaxWatchers = 2 })
	c, id := e.dial(), instance()
	old := watch(t.Context(), t, c, &trustv1.WatchRequest{Service: "orders", Instance: id})
	old.snapshot()
	other := watch(t.Context(), t, c, &trustv1.WatchRequest{Service: "ledger", Instance: id}) // the same id, of another service
	other.snapshot()
	full := watch(t.Context(), t, c, &trustv1.WatchRequest{Service: "payments"})
	_, err := full.Receive()
	wantCode(t, "one too many", err, connect.CodeResourceExhausted)
	again := watch(t.Context(), t, c, &trustv1.WatchRequest{Service: "orders", Instance: id})
	again.snapshot()
	for err = nil; err == nil; {
		_, err = old.Receive()
	}
	wantCode(t, "the older one", err, connect.CodeAborted)
	if list := e.Services(); len(list) != 2 {
		t.Error(list)
	}
	again.next()
}

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	c := e.dial()
	long := strings.Repeat("x", 257)
	for name, r := range map[string]*trustv1.WatchRequest{
		"no service":         {},
		"no service name":    {Service: "Orders"},
		"a long name":        {Service: strings.Repeat("a", 64)},
		"short instance":     {Service: "orders", Instance: []byte("short")},
		"long instance":      {Service: "orders", Instance: make([]byte, 17)},
		"long version":       {Service: "orders", Version: long},
		"version, a newline": {Service: "orders", Version: "a\nb"},
		"settings, escapes":  {Service: "orders", Settings: []string{"\x1b[2J"}},
		"long setting":       {Service: "orders", Settings: []string{long}},
		"many settings":      {Service: "orders", Settings: make([]string, 33)},
	} {
		f := watch(t.Context(), t, c, r)
		_, err := f.Receive()
		wantCode(t, name, err, connect.CodeInvalidArgument)
	}
	_, err := c.Report(t.Context(), &trustv1.ReportRequest{Service: "orders", Instance: instance()})
	wantCode(t, "a report of nobody", err, connect.CodeNotFound)
	_, err = c.Report(t.Context(), &trustv1.ReportRequest{Service: "orders"})
	wantCode(t, "a report without an instance", err, connect.CodeInvalidArgument)
	if len(e.Services()) != 0 {
		t.Error(e.Services())
	}
	resp, err := http.Post(e.url+"/onbehalf.trust.v1.TrustFeedService/Report", "application/json", strings.NewReader(strings.Repeat(" ", 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		t.Error("a mebibyte was read")
	}
}

// Who follows, and how far they are.
func TestTracker(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	c := e.dial()
	ids := [][]byte{instance(), instance()}
	var streams []following
	for _, id := range ids {
		f := watch(t.Context(), t, c, &trustv1.WatchRequest{Service: "orders", Instance: id, Version: "v1", Settings: []string{"audience=orders"}})
		f.snapshot()
		streams = append(streams, f)
	}
	report := func(id []byte, sequence uint64) {
		t.Helper()
		if _, err := c.Report(t.Context(), &trustv1.ReportRequest{Service: "orders", Instance: id, Sequence: sequence}); err != nil {
			t.Error(err)
		}
	}
	start := e.state.Sequence()
	sequence := e.revoke(session(1))
	if n := e.Missing(sequence); n != 2 {
		t.Error(n)
	}
	for i, id := range ids {
		streams[i].event(start)
		report(id, sequence+1000) // more than it was sent
		if n := e.Missing(sequence + 1); i == 1 && n == 0 {
			t.Error("knows what has not happened")
		}
		report(id, 1) // no way back
		if n := e.Missing(sequence); n != 1-i {
			t.Error(n, "are missing")
		}
	}
	list := e.Services()
	if len(list) != 2 || list[0].GetService() != "orders" || list[0].GetSequence() < sequence || list[0].GetBehind() != nil ||
		list[0].GetVersion() != "v1" || list[0].GetSettings()[0] != "audience=orders" || list[0].GetVerified() || list[0].GetAddress() == "" {
		t.Error(list)
	}
	quiet, err := e.state.Pulse(t.Context())
	if err != nil || e.Missing(quiet) != 0 || e.Missing(e.state.Sequence()) != 0 {
		t.Error("what concerns nobody is missing", err)
	}
	// Who has gone is not waited for.
	next := e.revoke(session(2))
	streams[0].Close()
	streams[1].event(sequence)
	report(ids[1], next)
	allHave(t, e, next)
	if e.Missing(e.revoke(session(3))) != 1 {
		t.Error("nobody has it")
	}
	if list := e.Services(); list[len(list)-1].GetBehind().AsDuration() <= 0 {
		t.Error(list)
	}
}

// allHave waits until all who follow know everything up to a sequence, or are
// gone.
func allHave(t *testing.T, e *edge, sequence uint64) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); e.Missing(sequence) > 0; {
		if time.Now().After(deadline) {
			t.Fatal(e.Missing(sequence), "are missing")
		}
		<-time.After(time.Millisecond)
	}
}

// R01: a thousand watchers hear of a revocation.
func TestThousandWatchers(t *testing.T) { //nolint:paralleltest // it measures time
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	e := newEdge(t, func(_ *edge, o *feed.Options) { o.Heartbeat = 2 * time.Second })
	const connections, each, rounds = 10, 100, 20
	heard := make(chan time.Time, connections*each)
	var ready sync.WaitGroup
	ready.Add(connections * each)
	for range connections {
		c := e.dial()
		for range each {
			go func() {
				f := watch(t.Context(), t, c, &trustv1.WatchRequest{Service: "orders"})
				f.snapshot()
				ready.Done()
				for range rounds {
					for {
						m, err := f.Receive()
						if err != nil {
							return
						}
						if len(m.GetEvent().GetRevocations()) > 0 {
							break
						}
					}
					heard <- time.Now()
				}
			}()
		}
	}
	ready.Wait()
	var took []time.Duration
	for i := range rounds {
		e.revoke(session(i))
		acknowledged := time.Now()
		for range connections * each {
			took = append(took, max(0, (<-heard).Sub(acknowledged)))
		}
	}
	slices.Sort(took)
	p99, worst := took[len(took)*99/100], took[len(took)-1]
	t.Logf("from the acknowledgement to %d watchers, %d times: p50 %v, p99 %v, max %v", connections*each, rounds, took[len(took)/2], p99, worst)
	if p99 > 2*time.Second || worst > 5*time.Second {
		t.Error("too slow")
	}
}

// A JSON client sees the same names as the contract has.
func TestPlainJSON(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	resp, err := http.Post(e.url+"/onbehalf.trust.v1.TrustFeedService/Confirm", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Sequence string `json:"sequence"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		t.Error(resp.Status, answer, err)
	}
}
