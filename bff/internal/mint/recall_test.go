package mint_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
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
