package contract_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
)

func TestZZSharedGuard(t *testing.T) {
	t.Parallel()
	for _, other := range stacks[2:3] {
		r := rules(anyKind())
		g := guardOf(t, verifierOf(t, "s2", newKeySet()), r)
		granting := stacks[0].start(t, g, new(app), nil)
		_, id := openLeased(t, newPeer(t, granting, grpcProtocol, nil), bidi, signed())
		srv := other.start(t, g, new(app), nil)
		for _, p := range other.protocols {
			o, err := renewWith(t.Context(), newPeer(t, srv, p, nil), bidi, signed(), id)
			contexts, _, _ := srv.app.take()
			t.Logf("%s %s: %+v %v handlers %d", other.name, p, o, err, len(contexts))
			if len(contexts) > 0 {
				t.Errorf("%s %s: a renewal was handled", other.name, p)
			}
		}
	}
}

func TestZZSlowReader(t *testing.T) {
	t.Parallel()
	for _, s := range stacks {
		for _, p := range s.protocols {
			t.Run(s.name+"/"+string(p), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					var returned atomic.Bool
					a := &app{handle: func(ctx context.Context, _ shape, stream messages) error {
						defer returned.Store(true)
						for {
							if err := stream.send(strings.Repeat("x", 1<<20)); err != nil {
								return err
							}
						}
					}}
					f := newFeed(t)
					v := verifierOf(t, "s2", newKeySet(), principal.WithRevocations(f))
					srv := s.start(t, guardOf(t, v, rules(anyKind())), a, nil)
					client := newPeer(t, srv, p, nil)
					e, err := client.open(t.Context(), serverStream, http.Header{"X-Principal-Bin": {text(authority(alice("s2", sequenced)).header("A"))}})
					if err != nil {
						t.Fatal(err)
					}
					if err := e.send("one"); err != nil {
						t.Fatal(err)
					}
					e.closeSend()
					synctest.Wait()
					f.revoke(sessionOf("session-of-alice"))
					pass(time.Hour)
					if !returned.Load() {
						t.Error("an hour after the revocation the handler is still in Send")
					}
					e.close()
				})
			})
		}
	}
}
