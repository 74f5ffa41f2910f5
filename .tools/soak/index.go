package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"crypto/ed25519"
)

// index measures a service's memory of a million revocations, and how long the
// first call after a change takes with it.
func (w *world) index(ctx context.Context, t *table) error {
	const events = 1_000_000
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	x, err := revocation.NewIndex(issuer)
	if err != nil {
		return err
	}
	now := time.Now()
	target := func() revocation.Target {
		var id principal.ID
		rand.Read(id[:])
		return revocation.Session(issuer, id)
	}
	sequence := uint64(0)
	change := func() error {
		sequence++
		return x.Apply(now, revocation.Update{Previous: sequence - 1, Sequence: sequence, Sent: now, Events: []revocation.Event{{Sequence: sequence, Target: target()}}})
	}
	for range events {
		if err := change(); err != nil {
			return err
		}
	}
	t.add("memory of 1,000,000 revocations in a service", float64(heap()-before)/(1<<20), "MiB", 64, "")

	v, header, err := verifierOf(x)
	if err != nil {
		return err
	}
	var cached, first []time.Duration
	for range 20_000 {
		if _, err := v.Verify(ctx, header); err != nil {
			return err
		}
		start := time.Now()
		_, err := v.Verify(ctx, header)
		cached = append(cached, time.Since(start))
		if err != nil {
			return err
		}
		if err := change(); err != nil {
			return err
		}
		start = time.Now()
		_, err = v.Verify(ctx, header)
		first = append(first, time.Since(start))
		if err != nil {
			return err
		}
	}
	median := func(all []time.Duration) float64 { return float64(middle(all)) / 1e3 }
	t.add("cached verify, nothing has changed, median", median(cached), "µs", 0, "with the cost of two looks at the clock")
	t.add("cached verify, the first after a change, median", median(first), "µs", 2, fmt.Sprintf("among %d live revocations", events))
	runtime.KeepAlive(x)
	return nil
}

// verifierOf returns a verifier that asks x, and a header that it verifies.
func verifierOf(x *revocation.Index) (*principal.Verifier, string, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, "", err
	}
	signer, err := principal.NewSigner(issuer, key, "")
	if err != nil {
		return nil, "", err
	}
	keys, err := keyset.NewStatic(signer.Key())
	if err != nil {
		return nil, "", err
	}
	v, err := principal.NewVerifier("orders", keys, principal.WithRevocations(x))
	if err != nil {
		return nil, "", err
	}
	id := func() []byte { b := make([]byte, 16); rand.Read(b); return b }
	agent := func(name string) *principalv1.Delegation {
		return &principalv1.Delegation{GrantId: id(), Actor: &principalv1.Identity{Id: &principalv1.Identity_AgentName{AgentName: name}}}
	}
	now := time.Now().Unix()
	header, err := signer.Sign(&principalv1.Principal{
		Audience: "orders", IssuedAt: now, ExpiresAt: now + 300, MaxLinks: 6, SessionId: id(), RevocationSequence: 1 << 40,
		Subject:     &principalv1.Identity{Id: &principalv1.Identity_HumanUuid{HumanUuid: id()}},
		Delegations: []*principalv1.Delegation{agent("a"), agent("b"), agent("c")}, Scopes: []string{"orders:read"},
	})
	return v, header, err
}
