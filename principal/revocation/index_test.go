package revocation_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
	"time"

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
	if err := w.index.Apply(w.now, sequence, targets...); err != nil {
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
		if err := w.index.Heard(w.now, 5); err != nil {
			t.Fatal(err)
		}
	}
	w.verify(t, w.header(4)) // 5 min 45 s: still remembered, and not revoked
	w.now = w.now.Add(15 * time.Second)
	if err := w.index.Heard(w.now, 5); err != nil {
		t.Fatal(err)
	}
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
func TestWrongEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if age := w.index.Age(w.now); age != math.MaxInt64 {
		t.Errorf("an index that has heard nothing is %v old", age)
	}
	w.apply(t, 5)
	w.now = w.now.Add(time.Second)
	generation := w.index.Generation()
	for name, err := range map[string]error{
		"again":     w.index.Apply(w.now, 5, revocation.Service("orders")),
		"lower":     w.index.Apply(w.now, 4, revocation.Service("orders")),
		"zero":      w.index.Apply(w.now, 6, revocation.Target{}),
		"gap":       w.index.Heard(w.now, 6),
		"went back": w.index.Heard(w.now, 4),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if w.index.Generation() != generation || w.index.Sequence() != 5 || w.index.Age(w.now) != time.Second {
		t.Error("what was refused has changed something")
	}
	w.verify(t, w.header(1))
	if _, err := revocation.NewIndex(""); err == nil {
		t.Error("an index of no issuer")
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
		if err := index.Apply(now, uint64(i)+1, revocation.Session(principaltest.IssuerName, id)); err != nil {
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
		if r := index.Check(got); r != 0 {
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
	_ = index.Apply(time.Now(), 42, revocation.Session("https://edge.example", ended))
	fmt.Println(index.Sequence())
	// Output: 42
}
