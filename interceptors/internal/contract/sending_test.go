package contract_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// forged are spellings of our headers that a caller has set by itself, each
// with a value that must not arrive.
var forged = map[string]string{
	"x-principal-bin": "forged", "x_principal_bin": "forged", "x.principal.bin": "forged",
	"grpc-metadata-x-principal": "forged", "x-request-id": "forged",
}

// eachCaller runs a test for every client and shape, against the service "next"
// of the same stack.
func eachCaller(t *testing.T, rules *principal.Rules, test func(t *testing.T, call call, s shape, next *server)) {
	t.Helper()
	for _, c := range callers {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			keys := newKeySet()
			next := c.of.start(t, guardOf(t, verifierOf(t, "next", keys), rules), new(app), nil)
			call := c.connect(t, next, propagatorOf(t, s2))
			for _, s := range shapes {
				t.Run(s.String(), func(t *testing.T) { test(t, call, s, next) })
			}
		})
	}
}

// What a handler passes on arrives once, in relay mode unchanged to the byte.
func TestPassesOn(t *testing.T) {
	t.Parallel()
	for _, extra := range []map[string]string{nil, forged} {
		eachCaller(t, rules(anyKind()), func(t *testing.T, call call, s shape, next *server) {
			relayed, linked := authority(alice(mesh, delegated)), via()
			for _, c := range []struct {
				mode    string
				chain   chain
				opening string
			}{{"relay", relayed, ""}, {"linked", linked, "B"}} {
				header := c.chain.header(c.opening)
				ctx := contextOf(t, "s2", header)
				if echoed, err := call(ctx, s, extra); err != nil || echoed != "one" {
					t.Errorf("%s: %q, %v", c.mode, echoed, err)
				}
				contexts, headers, ids := next.app.take()
				if len(contexts) != 1 || len(headers) != 1 || len(headers[0]) != 1 {
					t.Fatalf("%s: %d calls with the headers %q", c.mode, len(contexts), headers)
				}
				plant(headers[0][0])
				if diff := cmp.Diff([][]string{{"req_1"}}, ids); diff != "" {
					t.Errorf("%s: request id (-want +got):\n%s", c.mode, diff)
				}
				got, _ := principal.FromContext(contexts[0])
				want := expected(c.chain)
				if c.mode == "relay" && headers[0][0] != text(header) {
					t.Error("relay: the header was changed")
				}
				if c.mode == "linked" {
					want.Path = append(want.Path, "s2")
				}
				if diff := cmp.Diff(want, factsOf(got), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s: principal (-want +got):\n%s", c.mode, diff)
				}
			}
		})
	}
}

func TestNarrowedCall(t *testing.T) {
	t.Parallel()
	eachCaller(t, rules(anyKind()), func(t *testing.T, call call, s shape, next *server) {
		ctx, err := principal.Narrow(contextOf(t, "s2", via().header("B")), "orders:read")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := call(ctx, s, nil); err != nil {
			t.Fatal(err)
		}
		contexts, _, _ := next.app.take()
		if p, ok := principal.FromContext(contexts[0]); !ok || !p.HasScope("orders:read") || p.HasScope("orders:write") || p.HasRole("buyer") {
			t.Errorf("next got %v", p)
		}
	})
}

// An anonymous call says nothing of a principal, whatever its caller has set.
func TestAnonymousPassesOnNothing(t *testing.T) {
	t.Parallel()
	g := guardOf(t, verifierOf(t, "s2", newKeySet()), rulesFor("/any/Thing", principal.AllowAnonymous()))
	// What was in the context before must not come back to life.
	a, err := g.Admit(contextOf(t, "s2", relayed()), principal.Call{Procedure: "/any/Thing"})
	if err != nil {
		t.Fatal(err)
	}
	eachCaller(t, rules(principal.AllowAnonymous()), func(t *testing.T, call call, s shape, next *server) {
		if _, err := call(a.Context, s, forged); err != nil {
			t.Fatal(err)
		}
		contexts, headers, _ := next.app.take()
		if len(contexts) != 1 || len(headers) != 1 || len(headers[0]) != 0 {
			t.Errorf("%d calls with the headers %q", len(contexts), headers)
		}
	})
}

// I06: work that no guard has seen sends nothing, and never acts as the service.
func TestBackgroundWork(t *testing.T) {
	t.Parallel()
	eachCaller(t, rules(principal.AllowAnonymous()), func(t *testing.T, call call, s shape, next *server) {
		_, err := call(t.Context(), s, nil)
		if !errors.Is(err, principal.ErrNoPrincipal) || codeOf(err) != principal.CodeFailedPrecondition {
			t.Errorf("%v, code %d", err, codeOf(err))
		}
		if contexts, headers, _ := next.app.take(); len(contexts)+len(headers) != 0 {
			t.Error("something was sent")
		}
	})
}

// I06: the context of a handler keeps its principal when the handler has
// returned, and loses it with the principal's life.
func TestWorkThatOutlivesItsPrincipal(t *testing.T) {
	t.Parallel()
	for _, c := range callers {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				next := c.of.start(t, guardOf(t, verifierOf(t, "next", newKeySet()), rules(anyKind())), new(app), nil)
				call := c.connect(t, next, propagatorOf(t, s2))
				ctx := context.WithoutCancel(contextOf(t, "s2", via().header("B")))
				pass(life - 1e9)
				if _, err := call(ctx, unary, nil); err != nil {
					t.Error(err)
				}
				next.app.take()
				pass(1e9)
				for _, s := range shapes {
					if _, err := call(ctx, s, nil); codeOf(err) != principal.CodeUnauthenticated || principal.ReasonOf(err) != principal.ReasonTime {
						t.Errorf("%s: %v, code %d", s, err, codeOf(err))
					}
				}
				if contexts, headers, _ := next.app.take(); len(contexts)+len(headers) != 0 {
					t.Error("something was sent")
				}
			})
		})
	}
}

// A handler that returns the error of a call that could not be sent tells its
// own caller no more than the code.
func TestErrorOfCallIsNotShown(t *testing.T) {
	t.Parallel()
	for _, c := range callers[:len(callers)-1] {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			next := c.of.start(t, guardOf(t, verifierOf(t, "next", newKeySet()), rules(anyKind())), new(app), nil)
			call := c.connect(t, next, propagatorOf(t, s2))
			calling := &app{handle: func(_ context.Context, s shape, _ messages) error {
				_, err := call(t.Context(), s, nil)
				return err
			}}
			srv := c.of.start(t, guardOf(t, verifierOf(t, "s2", newKeySet()), rules(anyKind())), calling, nil)
			for _, p := range c.of.protocols {
				client := newPeer(t, srv, p, nil)
				for _, s := range shapes {
					_, o, err := client.call(t.Context(), s, http.Header{"X-Principal-Bin": {text(relayed())}})
					if want := (outcome{principal.CodeFailedPrecondition, "failed precondition", ""}); o != want || err != nil {
						t.Errorf("%s %s: %+v, %v", p, s, o, err)
					}
				}
			}
		})
	}
}
