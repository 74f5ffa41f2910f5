package contract_test

import (
	"context"
	"sync"
	"testing"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
)

// feed is edge A's feed of revocations, which the test plays.
type feed struct {
	*revocation.Index

	t        testing.TB
	mu       sync.Mutex
	sequence uint64
}

// issuedAt is the sequence at which the principals of these tests were issued.
const issuedAt = 5

func newFeed(t testing.TB) *feed {
	t.Helper()
	index, err := revocation.NewIndex(edgeA)
	if err != nil {
		t.Fatal(err)
	}
	f := &feed{Index: index, t: t}
	f.send(issuedAt)
	return f
}

// send tells of targets that are revoked at the next sequences.
func (f *feed) send(steps uint64, targets ...revocation.Target) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := revocation.Update{Previous: f.sequence, Sequence: f.sequence + steps, Sent: time.Now()}
	for _, target := range targets {
		u.Events = append(u.Events, revocation.Event{Sequence: u.Sequence, Target: target})
	}
	f.sequence = u.Sequence
	if err := f.Apply(time.Now(), u); err != nil {
		f.t.Error(err)
	}
}

func (f *feed) revoke(targets ...revocation.Target) { f.send(1, targets...) }

// beat keeps the feed live until ctx ends.
func (f *feed) beat(ctx context.Context) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.send(0)
		case <-ctx.Done():
			return
		}
	}
}

func sequenced(p *principalv1.Principal) { p.RevocationSequence = issuedAt }

func sessionOf(name string) revocation.Target {
	return revocation.Session(edgeA, principal.ID([]byte(name)))
}

func principalOf(id string) revocation.Target {
	return revocation.Principal(edgeA, principal.ID([]byte(id)))
}
