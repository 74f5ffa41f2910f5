package contract_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// I09: a handler that panics is answered, says nothing of why, and leaves the
// process and the connection alive.
func TestPanicInHandler(t *testing.T) {
	t.Parallel()
	for _, s := range stacks {
		for _, after := range []int{0, 1} {
			t.Run(s.name+"/"+[]string{"at once", "after a message"}[after], func(t *testing.T) {
				t.Parallel()
				secret := text(relayed())
				a := &app{handle: func(_ context.Context, _ shape, stream messages) error {
					if after == 1 {
						if m, _ := stream.receive(); m == "calm" {
							return stream.send("calm")
						}
						_ = stream.send("one")
					}
					if s.name == "net-http" {
						panic(http.ErrAbortHandler) // any other value is for net/http to log
					}
					panic("while looking at " + secret)
				}}
				srv := s.start(t, guardOf(t, verifierOf(t, "s2", newKeySet()), rules(anyKind())), a, nil)
				for _, p := range s.protocols {
					client := newPeer(t, srv, p, nil)
					for _, sh := range shapes {
						_, o, err := client.call(t.Context(), sh, http.Header{"X-Principal-Bin": {secret}})
						if s.name == "net-http" {
							if err == nil {
								t.Errorf("%s: the response looks complete: %+v", sh, o)
							}
							continue
						}
						if sh == unary && after == 1 {
							continue // there is nothing to send before the answer
						}
						if want := (outcome{principal.CodeInternal, "internal error", ""}); o != want || err != nil {
							t.Errorf("%s %s: %+v, %v", p, sh, o, err)
						}
					}
				}
				if n := len(a.contexts); n != len(shapes)*len(s.protocols) {
					t.Errorf("%d handlers ran", n)
				}
			})
		}
	}
	t.Cleanup(func() {
		if log := logs.String(); !strings.Contains(log, "panic in handler") || !strings.Contains(log, "faults_test.go") {
			t.Error("the panics left no trace")
		}
	})
}

// faulty is a key set with a defect.
type faulty struct {
	*keySet

	find func() *principal.Key
}

func (f faulty) Find(context.Context, principal.KeyRef) (*principal.Key, error) { return f.find(), nil }

type observerFunc func()

func (f observerFunc) Observe(context.Context, *principal.Event) { f() }

// I09: a defect in what a guard calls out to refuses the call; one in an
// observer changes nothing.
func TestPanicInGuard(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		find   func() *principal.Key
		reason principal.Reason
	}{
		{"key set panics", func() *principal.Key { panic("find") }, principal.ReasonInternal},
		{"no key", func() *principal.Key { return nil }, principal.ReasonUnknownKey},
		{"key without a public key", func() *principal.Key { return &principal.Key{KeyRef: i1.KeyRef} }, principal.ReasonUnknownKey},
		{"key of another", b1.public, principal.ReasonUnknownKey},
		{"observer panics", i1.public, 0},
	} {
		for _, s := range stacks {
			t.Run(c.name+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				events := new(record)
				g := guardOf(t, verifierOf(t, "s2", faulty{newKeySet(), c.find}), rules(anyKind()),
					principal.WithObserver(observerFunc(func() { panic("observe") })), principal.WithObserver(events))
				srv := s.start(t, g, new(app), nil)
				for _, p := range s.protocols {
					client := newPeer(t, srv, p, nil)
					for _, sh := range shapes {
						echoed, o, err := client.call(t.Context(), sh, http.Header{"X-Principal-Bin": {text(relayed())}})
						contexts, _, _ := srv.app.take()
						if err != nil {
							t.Error(err)
						}
						if c.reason == 0 {
							accepted(t, sh.String(), o, events.take(), len(contexts), len(echoed))
						} else {
							refused(t, sh.String(), c.reason, o, events.take(), len(contexts))
						}
					}
				}
			})
		}
	}
}

// What a context carried before a call reached its guard is not the call's, and
// an anonymous call has nobody's principal.
func TestContextOfAnotherCall(t *testing.T) {
	t.Parallel()
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			ofBob, _ := principal.FromContext(contextOf(t, "s2", relayed(bob)))
			carrier := contextOf(t, "s2", relayed(bob))
			a := &app{around: func(ctx context.Context) context.Context { return carried{ctx, carrier} }}
			srv := s.start(t, guardOf(t, verifierOf(t, "s2", newKeySet()), rules(principal.AllowAnonymous())), a, nil)
			for _, p := range s.protocols {
				client := newPeer(t, srv, p, nil)
				for _, sh := range shapes {
					for _, header := range []http.Header{nil, {"X-Principal-Bin": {text(relayed())}}} {
						if _, o, err := client.call(t.Context(), sh, header); o != (outcome{}) || err != nil {
							t.Fatalf("%+v, %v", o, err)
						}
						contexts, _, _ := a.take()
						got, ok := principal.FromContext(contexts[0])
						if ok != (header != nil) || ok && got.Subject() == ofBob.Subject() || principal.RequestID(contexts[0]) != "" {
							t.Errorf("%s %s: the handler saw %v", p, sh, got)
						}
					}
				}
			}
		})
	}
}

// carried is a context that has the values of another one too.
type carried struct {
	context.Context
	values context.Context
}

func (c carried) Value(key any) any {
	if v := c.values.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}

// In a process a server gets the context of its caller, who has a principal of
// its own.
func TestInProcess(t *testing.T) {
	t.Parallel()
	for _, s := range shapes {
		for _, anonymous := range []bool{true, false} {
			a := new(app)
			rule := anyKind()
			if anonymous {
				rule = principal.AllowAnonymous()
			}
			srv := connectServer(guardOf(t, verifierOf(t, "next", newKeySet()), rules(rule)), a)
			var interceptors []connect.ClientInterceptor
			if !anonymous {
				interceptors = append(interceptors, principalconnect.NewClientInterceptor(propagatorOf(t, s2), "next"))
			}
			client := connect.NewClient(connectinprocess.New(srv), interceptors...)
			ctx, info := connect.NewClientContext(contextOf(t, "s2", via().header("B")))
			if _, err := invokeConnect(ctx, client, s); err != nil && s != serverStream {
				t.Fatalf("%s: %v", s, err)
			}
			contexts, _, _ := a.take()
			if len(contexts) != 1 {
				t.Fatalf("%s: %d calls", s, len(contexts))
			}
			got, ok := principal.FromContext(contexts[0])
			if ok == anonymous {
				t.Errorf("%s: the handler saw %v", s, got)
			}
			if !anonymous {
				want := expected(via())
				want.Path = append(want.Path, "s2")
				want.IssuedAt, want.ExpiresAt = got.IssuedAt().Unix(), got.ExpiresAt().Unix()
				if diff := cmp.Diff(want, factsOf(got), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s: principal (-want +got):\n%s", s, diff)
				}
			}
			if info.RequestHeader().Has(principal.HeaderName) {
				t.Errorf("%s: the header stays in what the caller may use again", s)
			}
		}
	}
}

// I02: a principal in a message is data, and one in a trailer is not read.
func TestPrincipalElsewhere(t *testing.T) {
	t.Parallel()
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			events := new(record)
			srv := s.start(t, guardOf(t, verifierOf(t, "s2", newKeySet()), rules(anyKind()), principal.WithObserver(events)), new(app), nil)
			for _, p := range s.protocols {
				client := newPeer(t, srv, p, nil)
				for _, header := range []http.Header{{}, {"X-Principal-Bin": {text(relayed())}}} {
					for _, sh := range streams {
						if s.name != "grpc-go" || sh == bidi && len(header) > 0 { // it closes the connection, which takes its time
							other := newPeer(t, srv, p, nil)
							other.trailer = http.Header{"X-Principal-Bin": {text(relayed(bob))}}
							_, _, _ = other.call(t.Context(), sh, header)
						}
						contexts, _, _ := srv.app.take()
						if len(header) == 0 && len(contexts) != 0 {
							t.Errorf("%s: the handler ran", sh)
						}
						for _, ctx := range contexts {
							if got, ok := principal.FromContext(ctx); !ok || got.Subject().String() != "hm-alice" {
								t.Errorf("%s: the handler saw %v", sh, got)
							}
						}
						for _, e := range events.take() {
							if e.Principal != nil && e.Principal.Subject().String() != "hm-alice" {
								t.Errorf("%s: the guard saw %v", sh, e.Principal)
							}
						}
						e, err := client.open(t.Context(), sh, nil)
						if err != nil {
							t.Fatal(err)
						}
						go func() {
							_ = e.send(text(relayed()))
							e.closeSend()
						}()
						_, o, err := e.finish()
						if err != nil {
							t.Error(err)
						}
						contexts, _, _ = srv.app.take()
						refused(t, sh.String(), principal.ReasonMissing, o, events.take(), len(contexts))
						e.close()
					}
				}
			}
		})
	}
}
