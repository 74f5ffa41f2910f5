package keys_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"

	"github.com/onbehalf-dev/onbehalf/bff/internal/keys"
)

func TestFirstStart(t *testing.T) {
	t.Parallel()
	e := newEdge(t).mustStart()
	e.want("0+1+0")
	for path, want := range map[string]os.FileMode{e.dir: 0o700, filepath.Join(e.dir, "replica"): 0o600, e.files()[0]: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want %v", path, info.Mode(), err, want)
		}
	}
	header, first := e.sign()
	if err := e.verify(header, e.Record()); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(e.dir); err != nil || len(entries) != 2 {
		t.Error(entries, err)
	}
	if _, again := e.mustStart().sign(); again != first {
		t.Error("another key after the second start")
	}
}

func TestConcurrentFirstStarts(t *testing.T) {
	t.Parallel()
	one := newEdge(t)
	all := make([]string, 8)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			e := newReplica(t, one.store, one.dir)
			if err := e.start(); err != nil {
				t.Error(err)
				return
			}
			_, all[i] = e.sign()
		})
	}
	wg.Wait()
	for _, id := range all {
		if id != all[0] {
			t.Fatal("several keys:", all)
		}
	}
	one.mustStart().want("0+1+0")
	one.step()
	if files := one.files(); len(files) != 1 {
		t.Error("left behind:", files)
	}
}

// G01: published at half of its life, active after the lead, retired, and gone.
func TestLifeOfAKey(t *testing.T) {
	t.Parallel()
	e := newEdge(t).mustStart()
	header, first := e.sign()
	e.pass(life/2 - time.Minute)
	e.want("0+1+0")
	e.pass(time.Minute)
	e.want("1+1+0")
	next := nextOf(e.stored())
	if err := e.verify(header, e.Record()); err == nil {
		t.Error("half a day old and accepted")
	}
	e.pass(lead - time.Minute)
	e.want("1+1+0")
	header, id := e.sign()
	if id != first {
		t.Error("signed before the lead has passed")
	}
	e.pass(time.Minute)
	e.want("0+1+1")
	if _, id := e.sign(); id != next {
		t.Error("the next key does not sign")
	}
	e.pass(4 * time.Minute)
	if err := e.verify(header, e.Record()); err != nil {
		t.Error("the old key has gone too early:", err)
	}
	if len(e.files()) != 2 {
		t.Error(e.files())
	}
	e.pass(grace + skew - 5*time.Minute)
	e.want("0+1+1")
	e.pass(2 * time.Minute)
	e.want("0+1+0")
	if files := e.files(); len(files) != 1 || files[0] != e.file(next) {
		t.Error(files)
	}
	if k := e.stored().GetKeys()[0]; k.GetEpoch() != 2 || k.GetActivated()-k.GetPublished() != int64(lead/time.Second) {
		t.Error(k)
	}
}

// G02: a key signs when all who are connected have it; one of them that has not
// got it delays that until the lead has passed.
func TestWaitsForThoseWhoMissIt(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		gets  time.Duration
		wants time.Duration
	}{
		"all have it at once":        {0, time.Second},
		"one needs a while":          {5 * time.Minute, 5 * time.Minute},
		"one is cut off":             {time.Hour, lead},
		"at the moment of the lead ": {lead, lead},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t)
			var at time.Duration
			e.missing = func(sequence uint64) int {
				if sequence == 0 {
					t.Error("asked for nothing")
				}
				if e.clock.since()-at < tt.gets {
					return 1
				}
				return 0
			}
			e.mustStart()
			e.clock.advance(time.Minute)
			if n := e.MissingNext(); n != 0 {
				t.Error("without a next key,", n, "miss it")
			}
			at = e.clock.since()
			next, err := e.Rotate(t.Context())
			if err != nil || next != nextOf(e.Record()) {
				t.Fatal(next, err)
			}
			if again, err := e.Rotate(t.Context()); err != nil || again != next {
				t.Error("another one:", again, err)
			}
			if tt.gets > 0 && e.MissingNext() != 1 {
				t.Error("nobody misses it")
			}
			for e.step(); e.Record().GetActive() != next; e.step() {
				if _, id := e.sign(); id == next {
					t.Fatal("signed before it was active")
				}
				e.clock.advance(time.Second)
			}
			if took := e.clock.since() - at; took != tt.wants {
				t.Error("active after", took)
			}
		})
	}
}

// After a start, nobody is connected yet, so that nobody seems to miss a key.
// Before the very first one nobody was.
func TestSettles(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.missing = func(uint64) int { return 0 }
	e.mustStart()
	if _, err := e.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.clock.advance(time.Second)
	e.step()
	e.want("0+1+1")
	e.clock.advance(time.Hour)
	e.step()
	e.mustStart()
	if _, err := e.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.clock.advance(9 * time.Second)
	e.step()
	e.want("1+1+0")
	e.mustStart()
	e.clock.advance(9 * time.Second)
	e.step()
	e.want("1+1+0")
	e.clock.advance(time.Second)
	e.step()
	e.want("0+1+1")
}

// G01: 50 rotations while others sign. No key signs that is not active, and
// whoever had the keys before verifies everything.
func TestRotatesUnderLoad(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.missing = func(uint64) int { return 0 }
	e.mustStart()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	var signed, used atomic.Int64
	var rounds [3]atomic.Int64
	for i := range rounds {
		wg.Go(func() {
			last := ""
			for ; ctx.Err() == nil; rounds[i].Add(1) {
				runtime.Gosched() // the store runs on the same processors
				before := e.Record()
				header, id := e.sign()
				after := e.Record()
				if id != before.GetActive() && id != after.GetActive() {
					t.Errorf("%s signed between %v and %v", id, before, after)
				}
				if id != last {
					used.Add(1)
				}
				last = id
				if signed.Add(1)%8 == 0 {
					if err := e.verifyAt(issued(t, header), header, before); err != nil {
						t.Error("by the keys of before:", err)
					}
				}
			}
		})
	}
	// Nobody is two steps behind.
	everybody := func() {
		for i := range rounds {
			for target := rounds[i].Load() + 5; rounds[i].Load() < target && !t.Failed(); {
				runtime.Gosched()
			}
		}
	}
	seen := map[string]bool{e.Record().GetActive(): true}
	for range 50 {
		old := e.Record().GetActive()
		e.clock.advance(life / 2)
		e.step()
		e.want("1+1+0")
		next := nextOf(e.stored())
		if seen[next] {
			t.Fatal("a key is used again")
		}
		seen[next] = true
		everybody()
		e.clock.advance(time.Second)
		e.step()
		e.want("0+1+1")
		if r := e.Record(); r.GetActive() != next || old == next {
			t.Fatal(r)
		}
		everybody()
		e.clock.advance(grace + skew)
		e.step()
		e.want("0+1+0")
	}
	stop()
	wg.Wait()
	if epoch := e.Record().GetKeys()[0].GetEpoch(); epoch != 51 {
		t.Error("epoch", epoch)
	}
	if files := e.files(); len(files) != 1 {
		t.Error(files)
	}
	t.Logf("%d signatures, %d changes of key seen", signed.Load(), used.Load())
}

// Each replica has its own keys; both are published.
func TestTwoReplicas(t *testing.T) {
	t.Parallel()
	a := newEdge(t).mustStart()
	b := newReplica(t, a.store, filepath.Join(t.TempDir(), "data")).mustStart()
	if a.Record().GetReplica() == b.Record().GetReplica() {
		t.Fatal("one replica")
	}
	for range 3 {
		for _, e := range []*edge{a, b} {
			e.pass(life/2 + lead)
			e.pass(grace + skew)
			e.want("0+1+0")
			header, _ := e.sign()
			if err := e.verify(header, a.Record(), b.Record()); err != nil {
				t.Error(err)
			}
		}
	}
	for _, id := range []string{a.Record().GetActive(), b.Record().GetActive()} {
		for _, e := range []*edge{a, b} {
			if err := e.Revoked(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			e.want("0+1+0")
		}
	}
	if a.Record().GetKeys()[0].GetEpoch() != 5 || b.Record().GetKeys()[0].GetEpoch() != 5 {
		t.Error("a replica has changed its key for that of the other:", a.Record(), b.Record())
	}
}

func TestRunRotates(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	files, err := keys.NewFiles(e.dir)
	if err != nil {
		t.Fatal(err)
	}
	ticks, asked := make(chan time.Time), make(chan time.Duration, 1)
	e.vault = files
	e.Authority, err = keys.Open(t.Context(), e.store, files, keys.Options{
		Issuer: issuer, Replica: files.Replica(), Life: life, Missing: func(uint64) int { return 0 },
		Now: e.clock.now, Elapsed: e.clock.since,
		After: func(d time.Duration) <-chan time.Time {
			asked <- d
			return ticks
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	wait := func() time.Duration { return <-asked }
	if d := wait(); d != 10*time.Second {
		t.Error("nothing to do, and back after", d)
	}
	e.clock.advance(life / 2)
	ticks <- time.Time{}
	if d := wait(); d != 250*time.Millisecond {
		t.Error("a key waits, and back after", d)
	}
	e.want("1+1+0")
	e.clock.advance(time.Minute)
	ticks <- time.Time{}
	wait()
	e.want("0+1+1")
	if _, err := e.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := wait(); d != 250*time.Millisecond { // roused
		t.Error("back after", d)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*keys.Options){
		"no issuer":     func(o *keys.Options) { o.Issuer = "" },
		"no replica":    func(o *keys.Options) { o.Replica = "a.b" },
		"a life of":     func(o *keys.Options) { o.Life = time.Second },
		"a lead of 31s": func(o *keys.Options) { o.Life, o.Lead = time.Minute, 31*time.Second },
		"a lead of -1s": func(o *keys.Options) { o.Lead = -time.Second },
		"a negative":    func(o *keys.Options) { o.PrincipalLife = -time.Second },
		"another name":  func(o *keys.Options) { o.Static = newSigner(t, "https://other.test") },
	} {
		o := keys.Options{Issuer: issuer, Replica: "r"}
		change(&o)
		if a, err := keys.Open(t.Context(), nil, nil, o); a != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func newSigner(t *testing.T, issuer string) *principal.Signer {
	t.Helper()
	private, err := keyset.CreatePrivateKey(filepath.Join(t.TempDir(), "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := principal.NewSigner(issuer, private, "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A named key signs and is published; it is not rotated. What signed before it
// is retired.
func TestStatic(t *testing.T) {
	t.Parallel()
	e := newEdge(t).mustStart()
	if _, err := e.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, _ := e.sign()
	for i, retired := range []string{"0+1+1", "0+1+2", "0+1+1"} {
		e.static = newSigner(t, issuer)
		e.mustStart().want(retired)
		header, id := e.sign()
		if id != e.static.Key().ID || e.verify(header, e.Record()) != nil || e.verifyAt(issued(t, before), before, e.Record()) != nil {
			t.Error(i, e.Record())
		}
		if e.mustStart(); e.Record().GetActive() != id {
			t.Error("another key after the second start")
		}
		if _, err := e.Rotate(t.Context()); !errors.Is(err, keys.ErrStatic) {
			t.Error(err)
		}
		if i == 1 {
			e.pass(grace + skew - time.Minute)
			e.want("0+1+2")
			e.pass(2 * time.Minute)
			e.want("0+1+0")
			before = header
		}
		e.clock.advance(time.Second)
	}
	e.pass(2 * life)
	e.want("0+1+0")
	if files := e.files(); len(files) != 0 {
		t.Error(files)
	}
	if err := e.Revoked(t.Context(), e.static.Key().ID); err != nil {
		t.Error(err)
	}
	if _, err := e.Sign(facts(e.clock.now())); !errors.Is(err, keys.ErrRevoked) {
		t.Error("a revoked key signs:", err)
	}
	// Its file is named no more: that is for somebody to decide.
	e.static = nil
	if err := e.start(); err == nil || !strings.Contains(err.Error(), "start as a new replica") {
		t.Error(err)
	}
}

func TestStaticFirst(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.static = newSigner(t, issuer)
	first := e.static
	e.mustStart().want("0+1+0")
	e.static = newSigner(t, issuer)
	e.mustStart().want("0+1+1")
	e.static = first // back again while it is still published
	e.mustStart().want("0+1+1")
	e.pass(life)
	e.want("0+1+0")
	if _, id := e.sign(); id != first.Key().ID {
		t.Error(id)
	}
}

func TestIssuerChanges(t *testing.T) {
	t.Parallel()
	e := newEdge(t).mustStart()
	e.issuer = "https://new.test"
	e.mustStart()
	header, _ := e.sign()
	if r := e.stored(); r.GetIssuer() != e.issuer || e.verify(header, r) != nil {
		t.Error(r)
	}
}
