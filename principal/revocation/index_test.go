package revocation_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
)

type world struct {
	now   time.Time
	iss   *principaltest.Issuer
	index *revocation.Index
	v     *principal.Verifier
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{now: time.Unix(1_800_000_000, 0)}
	clock := func() time.Time { return w.now }
	var err error
	if w.index, err = revocation.NewIndex(principaltest.IssuerName); err != nil {
		t.Fatal(err)
	}
	if err := w.index.Load(w.now, revocation.Update{Sent: w.now}); err != nil {
		t.Fatal(err)
	}
	w.iss = principaltest.NewIssuerAt(t, clock)
	w.v = w.iss.Verifier("payments", principal.WithRevocations(w.index))
	return w
}

// header is that of a human in a session, acted for by an agent and a sub-agent,
// passed on by orders.
func (w *world) header(sequence uint64) string {
	p := principaltest.Delegate(principaltest.Delegate(principaltest.Human("a"), "assistant"), "helper")
	p.SessionId, p.RevocationSequence = make([]byte, 16), sequence
	return w.iss.Pass(w.iss.Header("orders", p), "orders", "payments")
}

func (w *world) verify(t *testing.T, header string) *principal.Principal {
	t.Helper()
	p, err := w.v.Verify(t.Context(), header)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (w *world) apply(t *testing.T, sequence uint64, targets ...revocation.Target) {
	t.Helper()
	u := update(w.now, sequence, targets...)
	u.Previous = w.index.Sequence()
	if err := w.index.Apply(w.now, u); err != nil {
		t.Fatal(err)
	}
}

// update is what the feed says at a time about the last event.
func update(now time.Time, sequence uint64, targets ...revocation.Target) revocation.Update {
	u := revocation.Update{Previous: sequence - 1, Sequence: sequence, Sent: now}
	for _, target := range targets {
		u.Events = append(u.Events, revocation.Event{Sequence: sequence, Target: target})
	}
	return u
}

// heartbeat says that nothing has happened.
func (w *world) heartbeat(t *testing.T) {
	t.Helper()
	s := w.index.Sequence()
	if err := w.index.Apply(w.now, revocation.Update{Previous: s, Sequence: s, Sent: w.now}); err != nil {
		t.Fatal(err)
	}
}

// Each thing that can be revoked ends a principal that has been verified and is
// cached (R01, R07, G06), and only identities and services come back.
func TestApply(t *testing.T) {
	t.Parallel()
	session := func(p *principal.Principal) principal.ID { id, _ := p.SessionID(); return id }
	for name, test := range map[string]struct {
		target  func(p *principal.Principal) revocation.Target
		returns bool
	}{
		"principal": {func(p *principal.Principal) revocation.Target { return revocation.Principal(p.Issuer(), p.ID()) }, true}, // a later one has another id
		"session":   {func(p *principal.Principal) revocation.Target { return revocation.Session(p.Issuer(), session(p)) }, false},
		"subject":   {func(p *principal.Principal) revocation.Target { return revocation.Identity(p.Subject()) }, true},
		"actor":     {func(p *principal.Principal) revocation.Target { return revocation.Identity(p.Actor()) }, true},
		"middle":    {func(p *principal.Principal) revocation.Target { return revocation.Identity(p.Delegations()[0].Actor) }, true},
		"service":   {func(*principal.Principal) revocation.Target { return revocation.Service("orders") }, true},
		"authority": {func(p *principal.Principal) revocation.Target { return revocation.Key(p.SigningKeys()[0]) }, false},
		"link key":  {func(p *principal.Principal) revocation.Target { return revocation.Key(p.SigningKeys()[1]) }, false},
		"grant": {func(p *principal.Principal) revocation.Target {
			return revocation.Grant(p.Issuer(), p.Delegations()[0].GrantID)
		}, false},
		"last grant": {func(p *principal.Principal) revocation.Target {
			return revocation.Grant(p.Issuer(), p.Delegations()[1].GrantID)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			header := w.header(6)
			p := w.verify(t, header)
			w.apply(t, 7, revocation.Session("https://other.example", session(p)), revocation.Service("ledger"))
			w.verify(t, header)
			w.apply(t, 8, test.target(p))
			if _, err := w.v.Verify(t.Context(), header); principal.ReasonOf(err) != principal.ReasonRevoked {
				t.Errorf("after its revocation: %v", err)
			}
			_, err := w.v.Verify(t.Context(), w.header(8))
			if returned := err == nil; returned != test.returns {
				t.Errorf("what was issued after it: %v", err)
			}
		})
	}
}

// What is forgotten leaves a floor, which stands from the moment on at which the
// event itself is gone (R10).
func TestForget(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, 5, revocation.Service("ledger"))
	old := w.header(4)
	w.verify(t, old)
	for range 23 {
		w.now = w.now.Add(15 * time.Second)
		w.heartbeat(t)
	}
	w.verify(t, w.header(4)) // 5 min 45 s: still remembered, and not revoked
	w.now = w.now.Add(15 * time.Second)
	w.heartbeat(t)
	if _, err := w.v.Verify(t.Context(), w.header(4)); principal.ReasonOf(err) != principal.ReasonFloor {
		t.Errorf("below the floor: %v", err)
	}
	if _, err := w.v.Verify(t.Context(), w.header(0)); principal.ReasonOf(err) != principal.ReasonFloor {
		t.Errorf("without a feed: %v", err)
	}
	w.verify(t, w.header(5))
}

func TestKeysAreNotForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.verify(t, w.header(1)).SigningKeys()[0]
	w.apply(t, 2, revocation.Key(key))
	w.now = w.now.Add(24 * time.Hour)
	w.apply(t, 3)
	if _, err := w.v.Verify(t.Context(), w.header(99)); principal.ReasonOf(err) != principal.ReasonRevoked {
		t.Error(err)
	}
}

// The sequence never goes back, and what is refused changes nothing.
func TestWrongUpdates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	silent, err := revocation.NewIndex(principaltest.IssuerName)
	if err != nil {
		t.Fatal(err)
	}
	if unheard, age := silent.Age(w.now); unheard != math.MaxInt64 || age != math.MaxInt64 {
		t.Errorf("an index that has heard nothing: %v, %v", unheard, age)
	}
	if err := w.index.Load(w.now, revocation.Update{Sequence: 5, Sent: w.now, Age: time.Second}); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Second)
	generation := w.index.Generation()
	service := []revocation.Event{{Sequence: 6, Target: revocation.Service("orders")}}
	for name, err := range map[string]error{
		"lower":       w.index.Apply(w.now, revocation.Update{Previous: 3, Sequence: 4, Sent: w.now, Events: []revocation.Event{{Sequence: 4, Target: revocation.Service("orders")}}}),
		"lower, all":  w.index.Load(w.now, revocation.Update{Sequence: 4, Sent: w.now}),
		"no target":   w.index.Apply(w.now, revocation.Update{Previous: 5, Sequence: 6, Sent: w.now, Events: []revocation.Event{{Sequence: 6}}}),
		"from beyond": w.index.Apply(w.now, revocation.Update{Previous: 5, Sequence: 5, Sent: w.now, Events: service}),
		"gap":         w.index.Apply(w.now, revocation.Update{Previous: 6, Sequence: 7, Sent: w.now, Events: service}),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if errors.Is(err, revocation.ErrGap) != (name == "gap") {
			t.Errorf("%s: %v", name, err)
		}
	}
	unheard, age := w.index.Age(w.now)
	if w.index.Generation() != generation || w.index.Sequence() != 5 || unheard != time.Second || age != 2*time.Second {
		t.Error("what was refused has changed something")
	}
	w.verify(t, w.header(1))
	if _, err := revocation.NewIndex(""); err == nil {
		t.Error("an index of no issuer")
	}
}

// R02: a snapshot tells of what happened in a gap, and its floor of what nobody
// can tell any more. A call that was open before the gap ends only if that
// could have been about it.
func TestSnapshotAfterGap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(t, 10)
	before := w.verify(t, w.header(10))
	w.now = w.now.Add(time.Minute)
	if err := w.index.Load(w.now, revocation.Update{
		Sequence: 40, Floor: 10, Sent: w.now,
		Events: []revocation.Event{{Sequence: 30, Target: revocation.Service("ledger")}},
	}); err != nil {
		t.Fatal(err)
	}
	if r := w.index.Check(w.verify(t, w.header(10)), true); r != 0 {
		t.Errorf("what was issued at the floor: %v", r)
	}
	w.now = w.now.Add(time.Minute)
	if err := w.index.Load(w.now, revocation.Update{Sequence: 90, Floor: 50, Sent: w.now}); err != nil {
		t.Fatal(err)
	}
	for _, open := range []bool{false, true} {
		if r := w.index.Check(before, open); r != principal.ReasonFloor {
			t.Errorf("open %t: %v", open, r)
		}
	}
	fresh := w.verify(t, w.header(90))
	w.now = w.now.Add(3 * time.Minute)
	w.apply(t, 91)
	w.apply(t, 92, revocation.Service("ledger"))
	for range 30 {
		w.now = w.now.Add(15 * time.Second)
		w.heartbeat(t)
	}
	if closed, open := w.index.Check(fresh, false), w.index.Check(fresh, true); closed != principal.ReasonFloor || open != 0 {
		t.Errorf("after six minutes: %v, and for an open call %v", closed, open)
	}
}

func TestTargetsAsMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.verify(t, w.header(1))
	session, _ := p.SessionID()
	for _, target := range []revocation.Target{
		revocation.Principal(p.Issuer(), p.ID()), revocation.Session(p.Issuer(), session),
		revocation.Grant(p.Issuer(), p.Delegations()[0].GrantID), revocation.Identity(p.Subject()), revocation.Identity(p.Actor()),
		revocation.Service("orders"), revocation.Key(p.SigningKeys()[0]), revocation.Key(p.SigningKeys()[1]),
	} {
		if got, err := revocation.FromProto(target.Proto()); err != nil || got != target {
			t.Errorf("%v: %v, %v", target.Proto(), got, err)
		}
	}
	if (revocation.Target{}).Proto() != nil {
		t.Error("nothing has a message")
	}
	for name, m := range map[string]*trustv1.Target{
		"nothing":        {},
		"short id":       {Target: &trustv1.Target_Session{Session: &trustv1.IssuedId{Issuer: "i", Id: []byte{1}}}},
		"no issuer":      {Target: &trustv1.Target_Grant{Grant: &trustv1.IssuedId{Id: make([]byte, 16)}}},
		"nobody":         {Target: &trustv1.Target_Identity{}},
		"nobody's human": {Target: &trustv1.Target_Identity{Identity: &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: "alice"}}}},
		"two spellings": {Target: &trustv1.Target_Identity{Identity: &principalv1.Identity{
			Issuer: "i", Id: &principalv1.Identity_HumanName{HumanName: "6ba7b810-9dad-11d1-80b4-00c04fd430c8"},
		}}},
		"no service": {Target: &trustv1.Target_Service{}},
		"other role": {Target: &trustv1.Target_Key{Key: &trustv1.KeyRef{Role: 3, Owner: "o", Id: "k"}}},
		"far role":   {Target: &trustv1.Target_Key{Key: &trustv1.KeyRef{Role: 257, Owner: "o", Id: "k"}}},
	} {
		if got, err := revocation.FromProto(m); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A call that begins after Apply has returned is refused, whatever else goes on.
func TestRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all sync.WaitGroup
	headers := make(chan string)
	done, stop := context.WithCancel(t.Context())
	for range 4 {
		all.Go(func() {
			for done.Err() == nil {
				select {
				case h := <-headers:
					_, _ = w.v.Verify(done, h)
				case <-done.Done():
				}
			}
		})
	}
	for sequence := uint64(1); sequence <= 200; sequence++ {
		h := w.header(sequence - 1)
		p := w.verify(t, h)
		headers <- h
		headers <- h
		w.apply(t, sequence, revocation.Principal(p.Issuer(), p.ID()))
		if _, err := w.v.Verify(t.Context(), h); principal.ReasonOf(err) != principal.ReasonRevoked {
			t.Fatalf("accepted after revocation %d: %v", sequence, err)
		}
	}
	stop()
	all.Wait()
}

// A million live events take at most 64 MiB.
func TestMemory(t *testing.T) { //nolint:paralleltest // it measures the process
	if testing.Short() {
		t.Skip("fills a million events")
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	index := filled(t, 1_000_000)
	runtime.GC()
	runtime.ReadMemStats(&after)
	used := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%.1f MiB", float64(used)/(1<<20))
	if used > 64<<20 {
		t.Errorf("%d bytes", used)
	}
	runtime.KeepAlive(index)
}

func filled(tb testing.TB, events int) *revocation.Index {
	tb.Helper()
	index, err := revocation.NewIndex(principaltest.IssuerName)
	if err != nil {
		tb.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	for i := range events {
		var id principal.ID
		rand.Read(id[:])
		if err := index.Apply(now, update(now, uint64(i)+1, revocation.Session(principaltest.IssuerName, id))); err != nil {
			tb.Fatal(err)
		}
	}
	return index
}

// The first hit after a change asks the index: at most 2 µs.
func BenchmarkCheck(b *testing.B) {
	now := time.Now()
	iss := principaltest.NewIssuerAt(b, func() time.Time { return now })
	p := principaltest.Standard()
	p.Issuer = ""
	p.RevocationSequence = 1 << 40
	got, ok := principal.FromContext(iss.Context("orders", p))
	if !ok {
		b.Fatal("no principal")
	}
	index := filled(b, 1_000_000)
	b.ReportAllocs()
	for b.Loop() {
		if r := index.Check(got, false); r != 0 {
			b.Fatal(r)
		}
	}
}

func ExampleIndex() {
	index, err := revocation.NewIndex("https://edge.example")
	if err != nil {
		panic(err)
	}
	// The verifier of the service asks the index: principal.WithRevocations(index).
	ended := principal.ID{0x01}
	now := time.Now()
	_ = index.Load(now, revocation.Update{Sequence: 42, Sent: now, Events: []revocation.Event{
		{Sequence: 42, Target: revocation.Session("https://edge.example", ended)},
	}})
	fmt.Println(index.Sequence())
	// Output: 42
}
