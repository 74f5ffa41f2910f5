package trust_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/trust"
)

// A key is replaced at about half of its life, on the strength of itself. Links
// that were held are signed anew, and those of the old key still verify (G01).
func TestG01Renewal(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.life = 4 * time.Second
	node := join(t, e.server.URL, trust.WithEnrollmentToken(token))
	payments, err := principal.NewVerifier("payments", node)
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := node.Verifier().Context(t.Context(), e.header("orders", human(1)))
	if err != nil {
		t.Fatal(err)
	}
	link := func() (*principal.Principal, string) {
		h, err := node.Propagator().Header(ctx, "payments", "")
		if err != nil {
			t.Fatal(err)
		}
		p, err := payments.Verify(t.Context(), h.Binary())
		if err != nil {
			t.Fatal(err)
		}
		return p, h.Binary()
	}
	p, first := link()
	old := p.SigningKeys()[1]
	if again, header := link(); header != first || again.SigningKeys()[1] != old {
		t.Error("the link was not held")
	}
	await(t, "the next key signs", func() bool { p, _ := link(); return p.SigningKeys()[1] != old })
	if _, err := payments.Verify(t.Context(), first); err != nil {
		t.Errorf("a link of the old key: %v", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	last := e.enrolled[len(e.enrolled)-1]
	if last.GetRenewal().GetKeyId() != old.ID || last.GetToken() != "" {
		t.Errorf("renewed by %v", last.GetCredential())
	}
}

// A token is sent until the edge has answered, and never after that.
func TestTokenIsUsedOnce(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.life = 2 * time.Second
	var calls atomic.Int32
	e.onEnroll = func(*trustv1.EnrollKeyRequest) error {
		if calls.Add(1) < 3 {
			return connect.NewError(connect.CodeUnavailable, "no quorum")
		}
		return nil
	}
	node := join(t, e.server.URL, trust.WithEnrollmentToken(token))
	first, _ := node.Propagator().Key()
	await(t, "the next key signs", func() bool { k, ok := node.Propagator().Key(); return ok && k.ID != first.ID })
	e.mu.Lock()
	defer e.mu.Unlock()
	var tokens []string
	for _, r := range e.enrolled {
		tokens = append(tokens, r.GetToken())
	}
	if !slices.Equal(tokens[:4], []string{token, token, token, ""}) {
		t.Errorf("%q", tokens)
	}
	if !slices.Equal(e.enrolled[0].GetPublicKey(), e.enrolled[2].GetPublicKey()) {
		t.Error("another key for each attempt")
	}
}

// Where the answer is lost, the token is used and the key enrolled: the feed shows
// it.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.onAnswer = func() error { return connect.NewError(connect.CodeUnavailable, "lost") }
	node := join(t, e.server.URL, trust.WithEnrollmentToken(token))
	if key, ok := node.Propagator().Key(); !ok || len(e.keys) != 2 {
		t.Errorf("%v %v", key, e.keys)
	}
}

// The edge answers for a key before the feed shows it: it is not used before.
func TestKeyIsNotUsedBeforeItIsPublished(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.life = 4 * time.Second
	node := join(t, e.server.URL, trust.WithEnrollmentToken(token))
	await(t, "a few keys have signed", func() bool {
		key, ok := node.Propagator().Key()
		if !ok {
			t.Fatal("without a key")
		}
		shown, err := node.Find(t.Context(), key.KeyRef)
		if err != nil || shown == nil || !shown.Public.Equal(key.Public) {
			t.Fatalf("signs with %v, which is not published: %v", key.KeyRef, err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.enrolled) >= 3
	})
}

// A key that the feed does not show any more, revoked or not, signs nothing.
func TestOwnKeyRemoved(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	node := join(t, e.server.URL, trust.WithEnrollmentToken(token))
	key, _ := node.Propagator().Key()
	e.removeKey(key.KeyRef)
	await(t, "it signs nothing", func() bool { _, ok := node.Propagator().Key(); return !ok })
	await(t, "health says so", func() bool { err := node.Health(); return err != nil && containsAll(err.Error(), "not published") })
}

// Without an edge a key ends with its life.
func TestOwnKeyExpires(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.life = 2 * time.Second
	node := join(t, e.server.URL, trust.WithEnrollmentToken(token))
	e.do(func() {
		e.onEnroll = func(*trustv1.EnrollKeyRequest) error { return connect.NewError(connect.CodeUnavailable, "no quorum") }
	})
	await(t, "it signs nothing", func() bool { _, ok := node.Propagator().Key(); return !ok })
	await(t, "health says so", func() bool { err := node.Health(); return err != nil && containsAll(err.Error(), "expired") })
}
