package principal_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

// A link that is held is not sent any more when its key has been replaced, and
// nothing is when it was taken away.
func TestLinkKeySource(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	ctx := iss.Context("orders", principaltest.Human("a"))
	var source principal.LinkKeySource
	p, err := principal.NewPropagator(principal.WithLinkKeySource("orders", &source))
	if err != nil {
		t.Fatal(err)
	}
	refused := func() bool {
		_, err := p.Header(ctx, "payments", "")
		_, ok := p.Key()
		return err != nil && !ok && principal.SendCode(err) == principal.CodeFailedPrecondition
	}
	if !refused() {
		t.Error("signed without a key")
	}
	key := func() ed25519.PrivateKey {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := source.Set(key, ""); err != nil {
			t.Fatal(err)
		}
		return key
	}
	key()
	first := send(t, p, ctx, "payments")
	if send(t, p, ctx, "payments") != first {
		t.Error("a link was not held")
	}
	key()
	if send(t, p, ctx, "payments") == first {
		t.Error("a link of the key before was sent")
	}
	var last string
	for range 2 {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := source.Set(key, "current"); err != nil {
			t.Fatal(err)
		}
		now := send(t, p, ctx, "payments")
		if now == last {
			t.Error("a link of the key that had this id before was sent")
		}
		last = now
	}
	if err := source.Set(nil, ""); err == nil {
		t.Error("no key was taken for a key")
	}
	source.Clear()
	if !refused() {
		t.Error("signed with a key that was taken away")
	}
	if text := fmt.Sprintf("%v %+v %#v %s", &source, &source, &source, p); strings.Contains(text, "0x") {
		t.Error(text)
	}
	for _, o := range []principal.PropagatorOption{principal.WithLinkKeySource("Orders", &source), principal.WithLinkKeySource("orders", nil)} {
		if _, err := principal.NewPropagator(o); err == nil {
			t.Error("a bad source was taken")
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 50 {
			key()
		}
	})
	wg.Go(func() {
		for range 50 {
			_, _ = p.Header(ctx, "payments", "")
		}
	})
	wg.Wait()
}
