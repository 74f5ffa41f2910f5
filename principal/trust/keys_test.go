package trust_test

import (
	"crypto"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
	"github.com/onbehalf-dev/onbehalf/principal/trust"
)

func keyOf(t testing.TB, role principal.KeyRole, owner, id string, signer crypto.Signer) principal.Key {
	t.Helper()
	public, err := principal.NewPublicKey(signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	return principal.Key{KeyRef: principal.KeyRef{Role: role, Owner: owner, ID: id}, Public: public}
}

func found(t testing.TB, node *trust.Node, ref principal.KeyRef) bool {
	t.Helper()
	key, err := node.Find(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return key != nil
}

// The version changes exactly when a key that was there has changed or gone: one
// that is new has verified nothing yet.
func TestKeysFollowTheFeed(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	node := join(t, e.server.URL, trust.WithoutLinkKey())
	key := keyOf(t, principal.RoleLink, "payments", "one", newKey(t))
	version := node.Version()
	step := func(what string, sequence uint64, changes, there bool) {
		t.Helper()
		// Not all that is applied is reported at once; what revokes something is.
		caughtUp(t, e, e.revoke(sessionOf(byte(sequence))))
		if (node.Version() != version) != changes {
			t.Errorf("%s: version %d, was %d", what, node.Version(), version)
		}
		version = node.Version()
		if found(t, node, key.KeyRef) != there {
			t.Errorf("%s: found %v", what, !there)
		}
	}
	step("nothing", e.publish(new(trustv1.Event)), false, false)
	step("added", e.addKey(key), false, true)
	step("added again", e.addKey(key), false, true)
	key.NotAfter = time.Now().Add(time.Hour).Truncate(time.Second)
	step("changed", e.addKey(key), true, true)
	step("removed", e.removeKey(key.KeyRef), true, false)
	step("removed again", e.removeKey(key.KeyRef), false, false)
	step("added anew", e.addKey(key), false, true)
	step("revoked", e.revoke(revocation.Key(key.KeyRef)), true, false)
	step("added after it was revoked", e.addKey(key), false, false)
}

// What the feed should not say is left out: a key of another issuer's authority, a
// public key that has another record, a key that is none. The others are taken.
func TestKeysThatAreNotTaken(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	var out logs
	node := join(t, e.server.URL, trust.WithoutLinkKey(), out.option())
	one, two := keyOf(t, principal.RoleLink, "payments", "one", newKey(t)), keyOf(t, principal.RoleLink, "payments", "two", newKey(t))
	e.addKey(one)
	twin := one
	twin.Owner = "ledger"
	foreign := keyOf(t, principal.RoleAuthority, "https://other.test", "foreign", newKey(t))
	data, err := keyset.Marshal([]principal.Key{twin, foreign, two})
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	document.Keys = append(document.Keys, map[string]any{"kid": "broken", "kty": "oct", "k": "canary-secret"})
	if data, err = json.Marshal(document); err != nil {
		t.Fatal(err)
	}
	e.publish(&trustv1.Event{Keys: data})
	caughtUp(t, e, e.revoke(sessionOf(1)))
	for ref, want := range map[principal.KeyRef]bool{one.KeyRef: true, two.KeyRef: true, twin.KeyRef: false, foreign.KeyRef: false} {
		if found(t, node, ref) != want {
			t.Errorf("%v: found %v", ref, !want)
		}
	}
	if text := out.String(); !containsAll(text, "broken", "foreign", "has the same public key") || strings.Contains(text, "canary") {
		t.Error(text)
	}
}

// G02: a key that the feed has not told of is fetched, once for all who wait, and
// then not again for ten seconds; what the feed has revoked is not.
func TestG02UnknownKeyIsPulled(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	var clock shiftedClock
	node := join(t, e.server.URL, trust.WithoutLinkKey(), trust.WithClock(clock.now))
	key := keyOf(t, principal.RoleLink, "payments", "late", newKey(t))
	bad := keyOf(t, principal.RoleLink, "payments", "revoked", newKey(t))
	caughtUp(t, e, e.revoke(revocation.Key(bad.KeyRef)))
	e.do(func() { e.keys[key.KeyRef], e.keys[bad.KeyRef] = key, bad }) // without an event
	version := node.Version()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if !found(t, node, key.KeyRef) {
				t.Error("not found")
			}
		})
	}
	wg.Wait()
	if node.Version() != version {
		t.Error("what was verified before is verified again, for a key that is new")
	}
	missing := key.KeyRef
	missing.ID = "made-up"
	for _, ref := range []principal.KeyRef{missing, bad.KeyRef, {Role: principal.RoleAuthority, Owner: "https://other.test", ID: "x"}} {
		if found(t, node, ref) {
			t.Errorf("found %v", ref)
		}
	}
	pulls := func() int { e.mu.Lock(); defer e.mu.Unlock(); return e.pulls }
	if n := pulls(); n != 1 {
		t.Errorf("%d fetches", n)
	}
	clock.by.Store(int64(10 * time.Second))
	found(t, node, missing)
	found(t, node, missing)
	if n := pulls(); n != 2 {
		t.Errorf("%d fetches", n)
	}
	// The feed takes it away.
	if err := trust.AppliedForTest(t.Context(), node, e.removeKey(key.KeyRef)); err != nil { // nobody waits for a report of it
		t.Fatal(err)
	}
	if found(t, node, key.KeyRef) {
		t.Error("found after it was removed")
	}
}

// What a pull has found is forgotten when the feed has said everything.
func TestPulledKeysAreSettled(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	node := join(t, e.server.URL, trust.WithoutLinkKey())
	key := keyOf(t, principal.RoleLink, "payments", "gone", newKey(t))
	e.do(func() { e.keys[key.KeyRef] = key })
	if !found(t, node, key.KeyRef) {
		t.Fatal("not found")
	}
	version := node.Version()
	await(t, "it is forgotten", func() bool { return node.Version() != version })
	if found(t, node, key.KeyRef) {
		t.Error("found, though the feed does not know it")
	}
}
