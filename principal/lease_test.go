package principal_test

import (
	"context"
	"encoding/base64"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
)

const watch = "/shop.Orders/Watch"

// ender notes why a call ended.
type ender struct{ reason atomic.Uint32 }

func (e *ender) Terminate(reason principal.Reason) { e.reason.Store(uint32(reason)) }

// leaseGuard returns a guard of the service orders that follows an index.
func leaseGuard(t *testing.T, iss *principaltest.Issuer) (*principal.Guard, *principal.Verifier, *revocation.Index) {
	t.Helper()
	index, err := revocation.NewIndex(principaltest.IssuerName)
	if err != nil {
		t.Fatal(err)
	}
	if err := index.Apply(time.Now(), revocation.Update{Sent: time.Now()}); err != nil {
		t.Fatal(err)
	}
	v := iss.Verifier("orders", principal.WithRevocations(index), principal.WithStaleness(time.Hour))
	rules := (&principal.Rules{}).WithMethod(watch, &principalv1.AccessRule{
		Kinds: []principalv1.Kind{principalv1.Kind_KIND_HUMAN, principalv1.Kind_KIND_AGENT, principalv1.Kind_KIND_SERVICE},
	})
	g, err := principal.NewGuard(v, rules)
	if err != nil {
		t.Fatal(err)
	}
	return g, v, index
}

// What is remembered of calls goes with them, however they end and whoever
// renews or revokes meanwhile.
func TestHoldsLeaveNothing(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	g, v, index := leaseGuard(t, iss)
	header := iss.Header("orders", principaltest.Standard())
	var all sync.WaitGroup
	for n := range 64 {
		all.Go(func() {
			a, err := g.Admit(t.Context(), principal.Call{Procedure: watch, Values: []string{header}, Lease: []string{principal.LeaseWanted}})
			if err != nil {
				t.Error(err)
				return
			}
			var h principal.Hold
			if !a.Hold(&h, new(ender)) {
				t.Error("the call is not held")
			}
			if n%2 == 0 {
				id := h.Lease()
				renewal, err := g.Admit(t.Context(), principal.Call{Procedure: watch, Values: []string{header}, Lease: []string{id}})
				if err != nil || !renewal.Renewal {
					t.Errorf("%v", err)
				}
			}
			_ = index.Apply(time.Now(), revocation.Update{Sequence: 0, Events: nil, Sent: time.Now()})
			h.Release(t.Context(), 0)
			h.Release(t.Context(), 0)
		})
	}
	all.Wait()
	if calls, streams := principal.HeldForTest(v); calls != 0 || streams != 0 {
		t.Errorf("%d calls and %d leases are still there", calls, streams)
	}
}

// A service that acts for itself has no session, and renews its streams all the
// same; nobody else does without one.
func TestLeaseWithoutSession(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		p    *principalv1.Principal
		by   *principalv1.Principal
		want principal.Reason
	}{
		{"a service", principaltest.Service("cron"), principaltest.Service("cron"), 0},
		{"another service", principaltest.Service("cron"), principaltest.Service("jobs"), principal.ReasonCaller},
		{"a human", principaltest.Human(), principaltest.Human(), principal.ReasonCaller},
		{"a service for a human", principaltest.Human(), principaltest.Service("cron"), principal.ReasonCaller},
	} {
		iss := principaltest.NewIssuer(t)
		g, _, _ := leaseGuard(t, iss)
		a, err := g.Admit(t.Context(), principal.Call{Procedure: watch, Values: []string{iss.Header("orders", c.p)}, Lease: []string{principal.LeaseWanted}})
		if err != nil {
			t.Fatal(err)
		}
		var h principal.Hold
		a.Hold(&h, new(ender))
		_, err = g.Admit(t.Context(), principal.Call{Procedure: watch, Values: []string{iss.Header("orders", c.by)}, Lease: []string{h.Lease()}})
		if got := principal.ReasonOf(err); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		h.Release(t.Context(), 0)
	}
}

// A guard with other rules, or of other circumstances, renews nothing of this
// one.
func TestLeaseOfAnotherGuard(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	_, v, _ := leaseGuard(t, iss)
	lenient, err := principal.NewGuard(v, (&principal.Rules{}).WithMethod(watch, principal.AllowAnonymous()))
	if err != nil {
		t.Fatal(err)
	}
	header := iss.Header("orders", principaltest.Standard())
	call := principal.Call{Procedure: watch, Values: []string{header}, Lease: []string{principal.LeaseWanted}}
	rules := (&principal.Rules{}).WithMethod(watch, &principalv1.AccessRule{Kinds: []principalv1.Kind{principalv1.Kind_KIND_AGENT}})
	g, err := principal.NewGuard(v, rules)
	if err != nil {
		t.Fatal(err)
	}
	a, err := g.Admit(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	var h principal.Hold
	a.Hold(&h, new(ender))
	call.Lease = []string{h.Lease()}
	if _, err := lenient.Admit(t.Context(), call); principal.ReasonOf(err) != principal.ReasonCaller {
		t.Error(err)
	}
	if _, err := g.Admit(t.Context(), call); err != nil {
		t.Error(err)
	}
	h.Release(t.Context(), 0)
}

// A method that is observed only lets everything through; a renewal of nothing
// is still not handled.
func TestLeaseWhileObserved(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	g, err := principal.NewGuard(iss.Verifier("orders"), &principal.Rules{}, principal.ObserveOnly(watch))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ header, lease string }{
		{iss.Header("orders", principaltest.Standard()), "AAAAAAAAAAAAAAAAAAAAAA"},
		{"garbage", "AAAAAAAAAAAAAAAAAAAAAA"},
	} {
		if _, err := g.Admit(t.Context(), principal.Call{Procedure: watch, Values: []string{c.header}, Lease: []string{c.lease}}); err == nil {
			t.Error("a renewal of nothing was let in")
		}
	}
	a, err := g.Admit(t.Context(), principal.Call{Procedure: watch, Values: []string{iss.Header("orders", principaltest.Standard())}, Lease: []string{principal.LeaseWanted}})
	var h principal.Hold
	if err != nil || a.Hold(&h, new(ender)) {
		t.Errorf("a call that nothing ends is held: %v", err)
	}
}

// A source that hands out what is not fresher, or is no header, or never
// answers, renews nothing and does not keep the propagator busy.
func TestUselessSource(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]func(iss *principaltest.Issuer, opened, passed string) (string, error){
		"the same":  func(_ *principaltest.Issuer, opened, _ string) (string, error) { return opened, nil },
		"garbage":   func(*principaltest.Issuer, string, string) (string, error) { return "garbage", nil },
		"nothing":   func(*principaltest.Issuer, string, string) (string, error) { return "", nil },
		"an error":  func(*principaltest.Issuer, string, string) (string, error) { return "", errors.New("no") },
		"passed on": func(_ *principaltest.Issuer, _, passed string) (string, error) { return passed, nil },
		"not its turn": func(iss *principaltest.Issuer, _, _ string) (string, error) {
			return iss.Header("stock", principaltest.Standard()), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				iss := principaltest.NewIssuer(t)
				opened := iss.Header("orders", principaltest.Standard())
				passed := iss.Pass(opened, "orders", "x")
				asked := 0
				_ = iss.Propagator("orders")
				p, err := principal.NewPropagator(principal.WithLinkKey("orders", iss.LinkKey("orders"), ""),
					principal.WithRenewal(func(context.Context, string) (string, error) {
						asked++
						return source(iss, opened, passed)
					}))
				if err != nil {
					t.Fatal(err)
				}
				ctx := iss.ContextOf("orders", opened)
				if p.Renewer(ctx) != nil || p.Leasing().Renewer(t.Context()) != nil {
					t.Error("a lease is asked for where it is not wanted")
				}
				start := time.Now()
				p.Leasing().Renewer(ctx).Run(ctx, func(ctx context.Context) error {
					header, err := p.Header(ctx, "stock", "")
					if err == nil && header.Binary() != "" {
						t.Error("something was sent")
					}
					return err
				})
				if took := time.Since(start); took < 330*time.Second || took > 360*time.Second {
					t.Errorf("it gave up after %v", took)
				}
				if asked < 5 || asked > 60 {
					t.Errorf("the source was asked %d times", asked)
				}
			})
		})
	}
	if _, err := principal.NewPropagator(principal.WithRenewal(nil)); err == nil {
		t.Error("a nil source was taken")
	}
}

func FuzzLease(f *testing.F) {
	for _, s := range []string{"", "new", "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAB", "AAAAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAA\r\n", "++++++++++++++++++++++"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		wanted, renewal, id, bad := principal.ParseLeaseForTest([]string{value})
		if n := b2i(wanted) + b2i(renewal) + b2i(bad != 0); n != 1 {
			t.Errorf("%q means %d things", value, n)
		}
		if wanted != (value == "new") || renewal && base64.RawURLEncoding.EncodeToString(id[:]) != value {
			t.Errorf("%q has another spelling", value)
		}
	})
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
