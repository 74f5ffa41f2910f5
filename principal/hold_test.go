package principal_test

import (
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

// flaky revocations revoke everything after their first answer, and panic at some
// of the questions for their generation.
type flaky struct {
	fails            map[int]bool
	asked, generated int
	changed          func()
}

func (f *flaky) Generation() uint64 {
	if f.generated++; f.fails[f.generated] {
		panic("generation")
	}
	return 1
}

func (f *flaky) Check(*principal.Principal, bool) principal.Reason {
	if f.asked++; f.asked == 1 {
		return 0
	}
	return principal.ReasonRevoked
}

func (*flaky) Age(time.Time) (unheard, age time.Duration) { return 0, 0 }

func (f *flaky) OnChange(changed func()) { f.changed = changed }

func admit(t *testing.T, f *flaky) *principal.Admission {
	t.Helper()
	iss := principaltest.NewIssuer(t)
	g := anyoneGuard(t, iss.Verifier("orders", principal.WithRevocations(f)))
	a, err := g.Admit(t.Context(), principal.Call{Procedure: anyMethod, Values: []string{iss.Header("orders", principaltest.Human())}})
	if err != nil {
		t.Fatal(err)
	}
	return &a
}

// I09, R05: revocations that cannot say whether anything has changed, neither
// when a call is let in nor when it is held, are asked for the principal.
func TestHoldWithoutGeneration(t *testing.T) {
	t.Parallel()
	var h principal.Hold
	e := new(ender)
	admit(t, &flaky{fails: map[int]bool{1: true, 3: true}}).Hold(&h, e)
	if got := principal.Reason(e.reason.Load()); got != principal.ReasonRevoked {
		t.Errorf("ended as %v", got)
	}
}

type brokenEnder struct{}

func (brokenEnder) Terminate(principal.Reason) { panic("ender") }

// I09: a call that cannot be ended does not keep the others going.
func TestPanicInEnder(t *testing.T) {
	t.Parallel()
	f := &flaky{}
	a := admit(t, f)
	holds, enders := make([]principal.Hold, 32), make([]ender, 16)
	for i := range holds {
		if i%2 == 0 {
			a.Hold(&holds[i], brokenEnder{})
		} else {
			a.Hold(&holds[i], &enders[i/2])
		}
	}
	f.changed()
	for i := range enders {
		if enders[i].reason.Load() == 0 {
			t.Errorf("call %d goes on", i)
		}
	}
}
