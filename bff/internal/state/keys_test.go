package state_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/internal/state"
)

func refs(t *testing.T, s *state.State) map[string]time.Time {
	t.Helper()
	found := make(map[string]time.Time)
	for part := range s.Snapshot().Parts() {
		if len(part.GetKeys()) == 0 {
			continue
		}
		keys, skipped, err := keyset.Parse(part.GetKeys())
		if err != nil || len(skipped) > 0 {
			t.Fatal(err, skipped)
		}
		for _, k := range keys {
			found[name(k.KeyRef)] = k.NotAfter
			if key, err := s.Find(t.Context(), k.KeyRef); err != nil || !key.Public.Equal(k.Public) {
				t.Error(key, err)
			}
		}
	}
	return found
}

func (w *world) wantKeys(what string, want ...string) {
	w.t.Helper()
	got := w.published()
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("%s: %s", what, diff)
	}
	if found := refs(w.t, w.State); len(found) != len(want) {
		w.t.Errorf("%s: a snapshot has %v", what, found)
	}
}

func TestKeysArePublished(t *testing.T) {
	t.Parallel()
	static := newKey(t)
	w := newWorld(t, principal.Key{KeyRef: principal.KeyRef{Role: principal.RoleLink, Owner: "legacy", ID: "file"}, Public: static.public})
	a, b, o := newKey(t), newKey(t), newKey(t)
	w.wantKeys("at first", "link legacy file")
	w.put(state.AuthorityName("r1"), authority("r1", a))
	w.enroll("a..b", o) // a service's name may have dots in a row
	versions := map[uint64]bool{w.Version(): true}
	w.wantKeys("one each", "authority "+issuer+" "+a.id, "link a..b "+o.id, "link legacy file")

	two := authority("r1", a, b)
	two.Keys[0].NotAfter = 2_000_000_000
	w.put(state.AuthorityName("r1"), two)
	if key, err := w.Find(t.Context(), principal.KeyRef{Role: principal.RoleAuthority, Owner: issuer, ID: a.id}); err != nil || key.NotAfter.Unix() != 2_000_000_000 || versions[w.Version()] {
		t.Error(key, err)
	}
	versions[w.Version()] = true
	w.put(state.AuthorityName("r1"), two)
	if !versions[w.Version()] {
		t.Error("another version of the same content")
	}
	w.put(state.AuthorityName("r1"), authority("r1", b))
	w.wantKeys("one is retired", "authority "+issuer+" "+b.id, "link a..b "+o.id, "link legacy file")
	if list := w.Authorities(); len(list) != 1 || list[0].Message.GetActive() != b.id || list[0].Sequence == 0 {
		t.Error(list)
	}
	link := w.LinkKeys("a..b")
	if _, err := w.Delete(t.Context(), state.LinkName("a..b", o.id), link[0].Sequence); err != nil {
		t.Fatal(err)
	}
	w.wantKeys("without a link key", "authority "+issuer+" "+b.id, "link legacy file")
}

// C02, G06: a revoked key is never published again, whatever the records say.
func TestRevokedKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, o := newKey(t), newKey(t)
	w.put(state.AuthorityName("r1"), authority("r1", a))
	w.enroll("orders", o)
	w.revoke(revocation.Key(principal.KeyRef{Role: principal.RoleAuthority, Owner: issuer, ID: a.id}))
	w.wantKeys("the authority's is revoked", "link orders "+o.id)
	w.put(state.AuthorityName("r1"), authority("r1", a))
	w.put(state.AuthorityName("r2"), authority("r2", a))
	w.enroll("orders", a)
	w.wantKeys("it comes again", "link orders "+o.id)
	if ref, taken := w.Claimed(a.public); !taken || ref.Role != principal.RoleAuthority {
		t.Error(ref, taken)
	}
	w.revoke(revocation.Key(principal.KeyRef{Role: principal.RoleLink, Owner: "orders", ID: o.id}))
	record := w.LinkKeys("orders")
	for _, r := range record {
		if _, err := w.Delete(t.Context(), state.LinkName("orders", r.Message.GetId()), r.Sequence); err != nil {
			t.Fatal(err)
		}
	}
	if _, taken := w.Claimed(o.public); !taken {
		t.Error("a revoked key without a record could be enrolled")
	}
	w.wantKeys("all are revoked")
}

// Of two who claim a public key, or a name, one has it: the edge before
// services, then who came first.
func TestClaimedTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	shared, other := newKey(t), newKey(t)
	first := w.enroll("orders", shared)
	w.enroll("ledger", shared)
	w.wantKeys("two services", "link orders "+shared.id)
	if _, err := w.Delete(t.Context(), state.LinkName("orders", shared.id), first); err != nil {
		t.Fatal(err)
	}
	w.wantKeys("the first has gone", "link ledger "+shared.id)
	w.put(state.AuthorityName("r1"), authority("r1", shared))
	w.wantKeys("an authority has it", "authority "+issuer+" "+shared.id)

	// Two replicas that share a key file are no conflict; the key ends with the last.
	retired := authority("r0", shared)
	retired.Keys[0].NotAfter = 1_900_000_000
	w.put(state.AuthorityName("r0"), retired)
	w.wantKeys("two replicas", "authority "+issuer+" "+shared.id)
	retired.Keys[0].NotAfter, retired.Replica = 2_000_000_000, "r1"
	w.put(state.AuthorityName("r1"), retired)
	if got := refs(t, w.State)["authority "+issuer+" "+shared.id]; got.Unix() != 2_000_000_000 {
		t.Error(got)
	}
	// One name for two keys.
	clash := authority("r2", other)
	clash.Keys[0].Id = shared.id
	w.put(state.AuthorityName("r2"), clash)
	if key, err := w.Find(t.Context(), principal.KeyRef{Role: principal.RoleAuthority, Owner: issuer, ID: shared.id}); err != nil || !key.Public.Equal(shared.public) {
		t.Error(key, err)
	}
}

// The keys of a revoked service are not trusted, and one that enrols without a
// new token is neither.
func TestRevokedServiceIsNotPublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, late := newKey(t), newKey(t)
	w.enroll("orders", k)
	at := w.put(state.ServiceName("orders"), &bffv1.ServiceRecord{Service: "orders", Revoked: w.now().Unix()})
	w.wantKeys("revoked")
	w.enroll("orders", late)
	w.wantKeys("enrolled after it")
	if r := w.Service("orders"); r.Sequence != at || r.Message.GetRevoked() == 0 {
		t.Error(r)
	}
	if _, err := w.Delete(t.Context(), state.ServiceName("orders"), at); err != nil {
		t.Fatal(err)
	}
	if got := w.published(); len(got) != 2 {
		t.Error(got)
	}
}

func TestNoKeysBeforeTheFirstContent(t *testing.T) {
	t.Parallel()
	s := state.New(newScript(), state.Options{Issuer: issuer})
	if key, err := s.Find(t.Context(), principal.KeyRef{}); key != nil || err == nil {
		t.Error(key, err)
	}
	if age := s.Age(time.Now()); age < time.Hour {
		t.Error(age)
	}
}
