package trust_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
	"github.com/onbehalf-dev/onbehalf/principal/trust"
)

func TestSnapshotIsBounded(t *testing.T) {
	t.Parallel()
	long := &trustv1.Target{Target: &trustv1.Target_Service{Service: strings.Repeat("a", 1<<20)}}
	part := &trustv1.Snapshot{Issuer: issuer, Sequence: 7, More: true, Revocations: []*trustv1.Revocation{{Sequence: 1, Target: long}}}
	parts := make([]*trustv1.WatchResponse, 64)
	for i := range parts {
		parts[i] = snapshotOf(part)
	}
	if _, err := trust.ReadForTest(parts...); err == nil || !strings.Contains(err.Error(), "64 MiB") {
		t.Error(err)
	}
}

func TestSnapshotInParts(t *testing.T) {
	t.Parallel()
	first := &trustv1.Snapshot{Issuer: issuer, Sequence: 7, More: true}
	last := &trustv1.Snapshot{Issuer: issuer, Sequence: 7}
	whole, err := trust.ReadForTest(snapshotOf(first), snapshotOf(first), snapshotOf(last), snapshotOf(last), eventOf(&trustv1.Event{Previous: 7, Sequence: 8}))
	if whole != 3 || err != nil {
		t.Errorf("%d %v", whole, err)
	}
}

// FuzzMessages reads two messages as a feed: whatever they are, there is no panic,
// and nothing is whole that has no issuer.
func FuzzMessages(f *testing.F) {
	seed := func(a, b *trustv1.WatchResponse) {
		x, err := proto.Marshal(a)
		if err != nil {
			f.Fatal(err)
		}
		y, err := proto.Marshal(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(x, y)
	}
	jwks, err := keyset.Marshal([]principal.Key{keyOf(f, principal.RoleLink, "payments", "one", newKey(f))})
	if err != nil {
		f.Fatal(err)
	}
	target := &trustv1.Revocation{Sequence: 7, Target: sessionOf(1).Proto()}
	key := &trustv1.Revocation{Sequence: 7, Target: &trustv1.Target{Target: &trustv1.Target_Key{Key: &trustv1.KeyRef{Role: 2, Owner: "orders", Id: "x"}}}}
	snapshot := &trustv1.Snapshot{Issuer: issuer, Sequence: 7, Keys: jwks, Revocations: []*trustv1.Revocation{target, key}, More: true}
	seed(snapshotOf(snapshot), snapshotOf(&trustv1.Snapshot{Issuer: issuer, Sequence: 7}))
	seed(eventOf(&trustv1.Event{Previous: 7, Sequence: 8, Keys: jwks}), eventOf(&trustv1.Event{Previous: 8, Sequence: 8}))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var first, second trustv1.WatchResponse
		if proto.Unmarshal(a, &first) != nil || proto.Unmarshal(b, &second) != nil {
			return
		}
		whole, err := trust.ReadForTest(&first, &second)
		if err == nil && whole > 0 && first.GetSnapshot() != nil && first.GetSnapshot().GetIssuer() == "" {
			t.Error("a snapshot without an issuer")
		}
	})
}
