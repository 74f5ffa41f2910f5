package trust_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/trust"
)

const method = "/shop.orders.v1.OrderService/Refund"

// online returns how a method that demands an online check answers a header.
func online(t testing.TB, node *trust.Node) func(header string) error {
	t.Helper()
	rules := (&principal.Rules{}).WithMethod(method, &principalv1.AccessRule{OnlineCheck: true})
	guard, err := principal.NewGuard(node.Verifier(), rules)
	if err != nil {
		t.Fatal(err)
	}
	return func(header string) error {
		_, err := guard.Admit(t.Context(), principal.Call{Procedure: method, Values: []string{header}})
		return err
	}
}

// A call under an online check waits until its own feed has what the edge knows.
func TestOnlineCheckWaitsForTheFeed(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	release := make(chan struct{})
	e.onWatch = func(ctx context.Context, _ int, send func(*trustv1.WatchResponse) error) error {
		s := e.snapshot()
		if err := send(snapshotOf(s)); err != nil {
			return err
		}
		select {
		case <-release:
		case <-ctx.Done():
			return ctx.Err()
		}
		return e.follow(ctx, time.Now(), s.GetSequence(), send)
	}
	node := join(t, e.server.URL, trust.WithoutLinkKey())
	admit := online(t, node)
	good, bad := e.header("orders", human(1)), e.header("orders", human(2))
	if err := admit(good); err != nil {
		t.Fatal(err)
	}
	e.revoke(sessionOf(2))
	if reason(t, node, bad) != 0 {
		t.Fatal("the event came too early for this test")
	}
	answer := make(chan error)
	go func() { answer <- admit(bad) }()
	await(t, "the edge was asked", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return e.confirms == 2 })
	close(release)
	if err := <-answer; principal.ReasonOf(err) != principal.ReasonRevoked {
		t.Error(err)
	}
}

// One question serves all who came before it was asked, and nobody who came later.
func TestOnlineChecksAreShared(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	asked, release := make(chan struct{}, 10), make(chan struct{})
	e.onConfirm = func(ctx context.Context) error {
		asked <- struct{}{}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	node := join(t, e.server.URL, trust.WithoutLinkKey())
	admit, header := online(t, node), e.header("orders", human(1))
	var wg sync.WaitGroup
	var begun sync.WaitGroup
	call := func() {
		begun.Add(1)
		wg.Go(func() {
			begun.Done()
			if err := admit(header); err != nil {
				t.Error(err)
			}
		})
	}
	call()
	<-asked
	for range 50 {
		call()
	}
	begun.Wait()
	close(release)
	wg.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	t.Logf("51 calls, %d questions", e.confirms)
	if e.confirms < 2 || e.confirms > 10 {
		t.Errorf("%d questions", e.confirms)
	}
}

// What is not confirmed within 200 ms, or at all, is refused as unavailable.
func TestOnlineCheckFails(t *testing.T) {
	t.Parallel()
	slow := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, c := range map[string]struct {
		confirm func(context.Context) error
		ahead   bool // the edge confirms what its feed never tells
		want    string
	}{
		"slow":      {confirm: slow, want: "did not confirm in time"},
		"behind":    {ahead: true, want: "did not confirm in time"},
		"no quorum": {confirm: func(context.Context) error { return connect.NewError(connect.CodeUnavailable, "no quorum") }, want: "no quorum"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t)
			e.onConfirm = c.confirm
			node := join(t, e.server.URL, trust.WithoutLinkKey(), trust.PatientForTest(200*time.Millisecond))
			header := e.header("orders", human(1))
			if c.ahead {
				e.do(func() { e.sequence++ })
			}
			began := time.Now()
			err := online(t, node)(header)
			took := time.Since(began)
			if principal.ReasonOf(err) != principal.ReasonOnline || took > 5*time.Second {
				t.Errorf("%v after %v", err, took)
			}
			if code := principal.ReasonOf(err).Code(); code != principal.CodeUnavailable || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: %v", code, err)
			}
		})
	}
}
