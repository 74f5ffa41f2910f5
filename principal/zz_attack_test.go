package principal_test

import (
	"context"
	"testing"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
)

// flaky revocations fail when they are asked for their generation.
type flaky struct {
	generations, checks int
	fails               map[int]bool
	changed             func()
}

func (f *flaky) Generation() uint64 {
	f.generations++
	if f.fails[f.generations] {
		panic("generation")
	}
	return 1
}

func (f *flaky) Check(*principal.Principal, bool) principal.Reason {
	f.checks++
	if f.checks == 1 {
		return 0
	}
	return principal.ReasonRevoked
}
func (*flaky) Age(time.Time) (unheard, age time.Duration) { return 0, 0 }
func (f *flaky) OnChange(g func())                       { f.changed = g }

func TestZZGenerationZero(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	f := &flaky{fails: map[int]bool{1: true, 3: true}}
	v := iss.Verifier("orders", principal.WithRevocations(f))
	g := anyoneGuard(t, v)
	a, err := g.Admit(t.Context(), principal.Call{Procedure: anyMethod, Values: []string{iss.Header("orders", principaltest.Human())}})
	if err != nil {
		t.Fatal(err)
	}
	var h principal.Hold
	e := new(ender)
	a.Hold(&h, e)
	if e.reason.Load() == 0 {
		t.Error("revoked between check and hold, and not ended")
	}
}

func TestZZObservedRevoked(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	index, _ := revocation.NewIndex(principaltest.IssuerName)
	p := principaltest.Human()
	p.SessionId = []byte("0123456789abcdef")
	_ = index.Apply(time.Now(), revocation.Update{Sent: time.Now()})
	v := iss.Verifier("orders", principal.WithRevocations(index), principal.WithOnlineCheck(func(context.Context) error {
		return index.Apply(time.Now(), revocation.Update{Sequence: 1, Sent: time.Now(), Events: []revocation.Event{{Sequence: 1, Target: revocation.Session(principaltest.IssuerName, principal.ID([]byte("0123456789abcdef")))}}})
	}))
	g, err := principal.NewGuard(v, (&principal.Rules{}).WithMethod(method, &principalv1.AccessRule{OnlineCheck: true}), principal.ObserveOnly(method))
	if err != nil {
		t.Fatal(err)
	}
	a, err := g.Admit(t.Context(), principal.Call{Procedure: method, Values: []string{iss.Header("orders", p)}})
	if err != nil {
		t.Fatal(err)
	}
	if a.Principal != nil {
		t.Error("the handler sees a principal that is revoked")
	}
}

func TestZZObserveSpelling(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	g, err := principal.NewGuard(iss.Verifier("orders"), ruleOf(&principalv1.AccessRule{}), principal.ObserveOnly("shop.v1.Orders"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"/shop.v1.Orders/../shop.v1.Admin/Delete", "/shop.v1.Orders//shop.v1.Admin/Delete", "/shop.v1.Orders/"} {
		if _, err := g.Admit(t.Context(), principal.Call{Procedure: p}); err == nil {
			t.Error(p, "is let through")
		}
	}
}

type panicEnder struct{}

func (panicEnder) Terminate(principal.Reason) { panic("ender") }

func TestZZPanicInEnder(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	f := &flaky{}
	g := anyoneGuard(t, iss.Verifier("orders", principal.WithRevocations(f)))
	a, err := g.Admit(t.Context(), principal.Call{Procedure: anyMethod, Values: []string{iss.Header("orders", principaltest.Human())}})
	if err != nil {
		t.Fatal(err)
	}
	var one, two, three principal.Hold
	e := new(ender)
	a.Hold(&one, panicEnder{})
	a.Hold(&two, e)
	a.Hold(&three, panicEnder{})
	func() {
		defer func() {
			if recover() != nil {
				t.Error("a panic came through")
			}
		}()
		f.changed()
	}()
	if e.reason.Load() == 0 {
		t.Error("others were not ended")
	}
}
