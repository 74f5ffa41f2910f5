package state_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/internal/state"
	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

func TestRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, test := range map[string]struct {
		target  revocation.Target
		returns bool
	}{
		"principal": {revocation.Principal(issuer, principal.ID{1}), false},
		"session":   {revocation.Session(issuer, principal.ID{1}), false},
		"grant":     {revocation.Grant(issuer, principal.ID{1}), false},
		"identity":  {human(t, "alice"), true},
		"service":   {revocation.Service("orders"), true},
		"key":       {revocation.Key(principal.KeyRef{Role: principal.RoleLink, Owner: "orders", ID: "k1"}), false},
	} {
		changes := make(chan uint64, 2)
		w.OnChange(func() {
			select {
			case changes <- w.Generation():
			default:
			}
		})
		before := w.Generation()
		if w.Revoked(test.target, time.Time{}) {
			t.Errorf("%s is revoked from the start", name)
		}
		w.revoke(test.target)
		if after := <-changes; after == before {
			t.Errorf("%s: the generation is still %d", name, after)
		}
		for issued, want := range map[time.Duration]bool{-time.Hour: true, 0: true, 25 * time.Second: true, 40 * time.Second: !test.returns} {
			if got := w.Revoked(test.target, w.now().Add(issued)); got != want {
				t.Errorf("%s, issued %v after its revocation: %v", name, issued, got)
			}
		}
		if !w.Revoked(test.target, time.Time{}) {
			t.Errorf("%s, issued at an unknown time, is not revoked", name)
		}
	}
	if w.Revoked(revocation.Session("https://other.test", principal.ID{1}), time.Time{}) {
		t.Error("a session of another issuer")
	}
}

// R07: what an edge has issued is compared by sequence.
func TestCheck(t *testing.T) {
	t.Parallel()
	script := newScript()
	script.base = 5
	s := state.New(script, state.Options{Issuer: principaltest.IssuerName})
	run := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { run <- s.Run(ctx) }()
	defer func() { cancel(); <-run }()
	at := uint64(10)
	script.batches <- store.Batch{Reset: true, Sequence: at}

	iss := principaltest.NewIssuer(t)
	verified := func(sequence uint64) *principal.Principal {
		m := principaltest.Delegate(principaltest.Human("a"), "assistant")
		m.SessionId, m.RevocationSequence = make([]byte, 16), sequence
		p, err := iss.Verifier("payments").Verify(t.Context(), iss.Pass(iss.Header("orders", m), "orders", "payments"))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if r := s.Check(verified(4)); r != principal.ReasonFloor {
		t.Errorf("issued before the store was restored: %v", r)
	}
	for name, target := range map[string]func(p *principal.Principal) revocation.Target{
		"principal": func(p *principal.Principal) revocation.Target { return revocation.Principal(p.Issuer(), p.ID()) },
		"subject":   func(p *principal.Principal) revocation.Target { return revocation.Identity(p.Subject()) },
		"agent":     func(p *principal.Principal) revocation.Target { return revocation.Identity(p.Actor()) },
		"service":   func(*principal.Principal) revocation.Target { return revocation.Service("orders") },
		"session": func(p *principal.Principal) revocation.Target {
			id, _ := p.SessionID()
			return revocation.Session(p.Issuer(), id)
		},
		"grant": func(p *principal.Principal) revocation.Target {
			return revocation.Grant(p.Issuer(), p.Delegations()[0].GrantID)
		},
		"key": func(p *principal.Principal) revocation.Target { return revocation.Key(p.SigningKeys()[0]) },
	} {
		p := verified(at)
		if r := s.Check(p); r != 0 && name != "key" {
			t.Errorf("%s: %v before it is revoked", name, r)
		}
		target := target(p)
		e := entry(t, state.RevocationName(target), at+1, &bffv1.RevocationRecord{Target: target.Proto(), Time: time.Now().Unix()})
		script.batches <- store.Batch{Previous: at, Sequence: at + 1, Entries: []store.Entry{e}}
		if at++; s.Wait(t.Context(), at) != nil || s.Check(p) != principal.ReasonRevoked {
			t.Errorf("%s: not revoked", name)
		}
		// What was revoked for good would hide the next one.
		e = store.Entry{Key: e.Key, Sequence: at + 1, Deleted: true}
		script.batches <- store.Batch{Previous: at, Sequence: at + 1, Entries: []store.Entry{e}}
		at++
		if s.Wait(t.Context(), at) != nil {
			t.Fatal("not applied")
		}
		if name == "key" {
			return // never forgotten
		}
		iss = principaltest.NewIssuer(t)
	}
}

func TestRevocationsAreListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 5 {
		w.revoke(session(i))
	}
	again := w.revoke(session(2)) // a new event
	list, total := w.Revocations(3)
	var got []uint64
	for _, i := range list {
		got = append(got, i.Sequence)
	}
	if total != 5 || len(list) != 3 || got[0] != again || list[0].Reason != "lost" || list[1].Target.GetSession().GetId()[0] != 4 || list[2].Target.GetSession().GetId()[0] != 3 {
		t.Error(total, list)
	}
	for _, limit := range []int{-1, 0} {
		if list, _ := w.Revocations(limit); len(list) != 0 {
			t.Error(limit, list)
		}
	}
}

// A record under a name that is not its own, or that is none, changes nothing.
func TestRecordsThatAreWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, secret := newKey(t), "do-not-log-this"
	good := w.enroll("orders", k)
	before := w.published()
	other := newKey(t)
	names := []string{
		state.RevocationName(session(1)), "revocation.00", "revocation." + secret, state.AuthorityName("r1"),
		state.LinkName("ledger", "k1"), state.LinkName("orders", other.id), "token.x", "link.x", "service.x", "unknown.x", "authority.",
	}
	for _, name := range names[:10] {
		if _, err := w.store.Put(t.Context(), name, []byte("\xff"+secret)); err != nil {
			t.Fatal(err)
		}
	}
	w.put(state.RevocationName(session(1)), w.revocation(session(2)))
	w.put(state.RevocationName(session(3)), &bffv1.RevocationRecord{Target: &trustv1.Target{}})
	w.put(state.LinkName("ledger", other.id), other.link("orders", w.now().Add(time.Hour)))
	w.put(state.LinkName("ledger", other.id), &bffv1.LinkKeyRecord{Service: "ledger", Id: other.id, PublicKey: other.der})
	w.put(state.LinkName("ledger", other.id), &bffv1.LinkKeyRecord{Service: "ledger", Id: other.id, PublicKey: []byte(secret), NotAfter: 1})
	foreign := authority("r1", other)
	foreign.Issuer = "https://other.test"
	w.put(state.AuthorityName("r1"), foreign)
	w.put(state.AuthorityName("r2"), authority("r1", other))
	if got := w.published(); len(got) != 1 || got[0] != before[0] {
		t.Error(got)
	}
	for _, target := range []revocation.Target{session(1), session(2), session(3)} {
		if w.Revoked(target, time.Time{}) {
			t.Errorf("%v is revoked", target)
		}
	}
	if keys := w.LinkKeys("orders"); len(keys) != 1 || keys[0].Sequence != good {
		t.Error(keys)
	}
	if text := w.logs.String(); len(text) == 0 || strings.Contains(text, "\\xff"+secret) || !strings.Contains(text, "record=revocation."+secret) {
		t.Errorf("the log: %s", text)
	}
	// What makes a record right again is taken in.
	w.put(state.LinkName("ledger", other.id), other.link("ledger", w.now().Add(time.Hour)))
	if got := w.published(); len(got) != 2 {
		t.Error(got)
	}
}

// A store that starts over does not take a revocation back that it has lost.
func TestStoreThatHasLostRevocations(t *testing.T) {
	t.Parallel()
	script := newScript()
	s := state.New(script, state.Options{Issuer: issuer})
	k := newKey(t)
	lost := principal.KeyRef{Role: principal.RoleLink, Owner: "orders", ID: k.id}
	record := func(sequence uint64, target revocation.Target) store.Entry {
		return entry(t, state.RevocationName(target), sequence, &bffv1.RevocationRecord{Target: target.Proto(), Time: time.Now().Unix()})
	}
	link := entry(t, state.LinkName("orders", k.id), 2, k.link("orders", time.Now().Add(time.Hour)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	script.batches <- store.Batch{Reset: true, Sequence: 9, Entries: []store.Entry{link, record(8, session(1)), record(9, revocation.Key(lost))}}
	script.batches <- store.Batch{Reset: true, Sequence: 100, Entries: []store.Entry{link, record(90, session(2))}}
	if err := s.Wait(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	for _, target := range []revocation.Target{session(1), session(2), revocation.Key(lost)} {
		if !s.Revoked(target, time.Time{}) {
			t.Errorf("%v is not revoked", target)
		}
	}
	if keys := s.Keys(); len(keys) != 0 {
		t.Error(keys)
	}
	// Who knew everything up to 9 does not know what happened since.
	if _, _, _, ok := s.Since(9); ok {
		t.Error("a gap")
	}
	generation := s.Generation()
	script.batches <- store.Batch{Reset: true, Sequence: 101, Entries: []store.Entry{link, record(90, session(2))}}
	if err := s.Wait(t.Context(), 101); err != nil || s.Generation() != generation {
		t.Error(err, "nothing was revoked")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A million revocations are about 100 MB at most, beside up to 100 MiB for those
// of the last minutes: these are told.
func TestMemoryOfMany(t *testing.T) { //nolint:paralleltest // it measures the heap
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	for name, test := range map[string]struct {
		age time.Duration
		n   int
	}{"old": {time.Hour, 200_000}, "of now": {0, 50_000}} {
		age, n := test.age, test.n
		script := newScript()
		s := state.New(script, state.Options{Issuer: issuer})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		before := heap()
		step := 1000
		if age > 0 {
			step = n // in the first batch, with the time at which they were written
		}
		at := time.Now().Add(-age)
		begun := time.Now()
		for i := 0; i < n; i += step {
			b := store.Batch{Reset: i == 0, Previous: uint64(i), Sequence: uint64(i + step)}
			for j := range step {
				e := entry(t, state.RevocationName(session(i+j)), uint64(i+j)+1, &bffv1.RevocationRecord{Target: session(i + j).Proto(), Time: at.Unix()})
				e.Time = at
				b.Entries = append(b.Entries, e)
			}
			script.batches <- b
		}
		if err := s.Wait(t.Context(), uint64(n)); err != nil {
			t.Fatal(err)
		}
		took := time.Since(begun)
		used := int64(heap()) - int64(before)
		if _, total := s.Revocations(1); total != n || !s.Revoked(session(n/2), time.Time{}) || s.Revoked(session(n+1), time.Time{}) {
			t.Error("not all are remembered", total)
		}
		each := used / int64(n)
		t.Logf("%d revocations, %s: %d bytes each, applied in %v", n, name, each, took.Round(time.Millisecond))
		if age > 0 && each > 105 {
			t.Errorf("%d bytes each", each)
		}
		cancel()
		<-ended
		runtime.KeepAlive(s)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
