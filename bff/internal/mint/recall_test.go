package mint_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/internal/mint"
)

// What was verified is known until it ends; nothing is verified to find out.
func TestRecall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 100)
	recall := func(what string, h http.Header, present, known bool) {
		t.Helper()
		before := w.verified.Load()
		if p, k := w.Recall(h); p != present || k != known {
			t.Errorf("%s: present %t, known %t", what, p, k)
		}
		if w.verified.Load() != before {
			t.Errorf("%s: verified", what)
		}
	}
	alice := http.Header{"Authorization": {"Bearer alice"}}
	recall("nothing", http.Header{"Accept": {"x"}}, false, false)
	recall("not yet verified", alice, true, false)
	if _, err := w.Mint(t.Context(), alice, relay); err != nil {
		t.Fatal(err)
	}
	recall("verified", alice, true, true)
	recall("another", http.Header{"Authorization": {"Bearer bob"}}, true, false)
	w.advance(2 * time.Minute)
	recall("after the window", alice, true, true)
	w.advance(-time.Hour)
	recall("before it was verified", alice, true, false)
	w.advance(time.Hour)
	w.authenticate = func(context.Context, http.Header) (*authn.Result, error) {
		return nil, &authn.Error{Reason: authn.ReasonRevoked}
	}
	if _, err := w.Mint(t.Context(), alice, relay); err == nil {
		t.Fatal("minted")
	}
	recall("taken back by its issuer", alice, true, false)
}

func TestRecallEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 100)
	alice := http.Header{"Authorization": {"Bearer alice"}}
	if _, err := w.Mint(t.Context(), alice, relay); err != nil {
		t.Fatal(err)
	}
	w.advance(w.life)
	if _, known := w.Recall(alice); known {
		t.Error("known after its end")
	}
}

// After a reload who was known still is, also after the next one; but nothing that
// was signed before is used, and what ends or is revoked ends there too.
func TestAcquaint(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 100)
	alice, before := credential("alice"), w.mint("alice", relay)
	w.mint("bob", relay)
	for range 2 {
		next := mint.New(w.Settings)
		next.Acquaint(w.Minter)
		w.Minter = next
	}
	for _, h := range []http.Header{alice, credential("bob")} {
		if _, known := w.Recall(h); !known {
			t.Error("not known any more: ", h)
		}
	}
	if _, known := w.Recall(credential("carol")); known {
		t.Error("a stranger is known")
	}
	verified := w.verified.Load()
	if again := w.mint("alice", relay); again == before || w.verified.Load() != verified+1 {
		t.Error("a principal from before the reload is used")
	}
	w.authenticate = func(context.Context, http.Header) (*authn.Result, error) {
		return nil, &authn.Error{Reason: authn.ReasonAudience}
	}
	if _, err := w.Mint(t.Context(), credential("bob"), relay); err == nil {
		t.Fatal("minted")
	}
	if _, known := w.Recall(credential("bob")); known {
		t.Error("known though it was refused since")
	}
	next := mint.New(w.Settings)
	next.Acquaint(w.Minter)
	id, err := principal.IdentityFromProto(&principalv1.Identity{
		Issuer: "https://edge.test", Id: before.Principal.GetSubject().GetId(),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.revocations.revoke(revocation.Identity(id), w.now())
	if _, known := next.Recall(alice); known {
		t.Error("known though it was revoked since")
	}
	w.advance(w.life)
	if _, known := next.Recall(alice); known {
		t.Error("known after its end")
	}
}
