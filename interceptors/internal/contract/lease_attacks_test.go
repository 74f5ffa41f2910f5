package contract_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalhttp"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
)

// leaseStacks grant leases.
var leaseStacks = stacks[:2]

// openLeased opens a stream with a lease and returns its id.
func openLeased(t *testing.T, client *peer, s shape, header string) (*exchange, string) {
	t.Helper()
	e, err := client.open(t.Context(), s, http.Header{"X-Principal-Bin": {text(header)}, "X-Principal-Lease": {"new"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	if err := e.send("one"); err != nil {
		t.Fatal(err)
	}
	if s == serverStream {
		e.closeSend()
	}
	if err := e.wait(); err != nil { // the header comes at once
		t.Fatal(err)
	}
	id := e.got.Header.Get("X-Principal-Lease")
	if raw, err := base64.RawURLEncoding.DecodeString(id); err != nil || len(raw) != 16 {
		t.Fatalf("the server answered with the lease %q", id)
	}
	return e, id
}

// renewWith makes a call that is to renew a stream.
func renewWith(ctx context.Context, client *peer, s shape, header string, leases ...string) (outcome, error) {
	h := http.Header{"X-Principal-Lease": leases}
	if header != "" {
		h.Set("X-Principal-Bin", text(header))
	}
	e, err := client.open(ctx, s, h)
	if err != nil {
		return outcome{}, err
	}
	defer e.close()
	e.closeSend()
	messages, o, err := e.finish()
	if len(messages) > 0 {
		return o, fmt.Errorf("it was answered with %q", messages)
	}
	return o, err
}

func signed(edit ...func(*principalv1.Principal)) string {
	return authority(alice("s2", append([]func(*principalv1.Principal){sequenced}, edit...)...)).header("A")
}

// Only the session that a stream was opened for can renew it, from where it was
// opened, with the same agents and no more rights. What is refused runs no
// handler and changes nothing.
func TestAttacksOnLease(t *testing.T) {
	t.Parallel()
	grants := func(p *principalv1.Principal) {
		delegated(p)
		p.Delegations[1].GrantId = []byte("another grant id")
	}
	aged := func(p *principalv1.Principal) { p.IssuedAt -= 10; p.ExpiresAt -= 10 }
	attacks := []struct {
		name   string
		header func() string
		lease  func(id string) []string
		shape  shape
		want   principal.Reason
	}{
		{name: "the same session", header: func() string { return signed(delegated) }},
		{name: "another user", header: func() string { return signed(delegated, bob) }, want: principal.ReasonCaller},
		{name: "another tenant", header: func() string {
			return signed(delegated, func(p *principalv1.Principal) { p.Tenant = "other" })
		}, want: principal.ReasonCaller},
		{name: "another session", header: func() string {
			return signed(delegated, func(p *principalv1.Principal) { p.SessionId = []byte("session-2-alice-") })
		}, want: principal.ReasonCaller},
		{name: "no session", header: func() string {
			return signed(delegated, func(p *principalv1.Principal) { p.SessionId = nil })
		}, want: principal.ReasonCaller},
		{name: "another client", header: func() string {
			return signed(delegated, func(p *principalv1.Principal) { p.ClientId = "other" })
		}, want: principal.ReasonCaller},
		{name: "without the agents", header: func() string { return signed() }, want: principal.ReasonCaller},
		{name: "one more agent", header: func() string {
			return signed(delegated, func(p *principalv1.Principal) {
				p.Delegations = append(p.Delegations, &principalv1.Delegation{GrantId: []byte("grant of another"), Actor: &principalv1.Identity{Id: &principalv1.Identity_AgentName{AgentName: "third"}}})
			})
		}, want: principal.ReasonCaller},
		{name: "another grant", header: func() string { return signed(grants) }, want: principal.ReasonCaller},
		{name: "by another service", header: func() string { return via(delegated, sequenced).header("B") }, want: principal.ReasonCaller},
		{name: "of another issuer", header: func() string {
			return chain{}.with(b1, canonical(alice("s2", delegated, func(p *principalv1.Principal) { p.Issuer = edgeB }))).header("A")
		}, want: principal.ReasonCaller},
		{name: "relayed", header: func() string { return relayed(delegated, sequenced) }, want: principal.ReasonCaller},
		{name: "wider scopes", header: func() string {
			return signed(delegated, func(p *principalv1.Principal) { p.Scopes = append(p.Scopes, "payments:write") })
		}, want: principal.ReasonScope},
		{name: "another role", header: func() string {
			return signed(delegated, func(p *principalv1.Principal) { p.Roles = []string{"admin", "buyer"} })
		}, want: principal.ReasonRole},
		{name: "fewer than the rule needs", header: func() string {
			return signed(delegated, func(p *principalv1.Principal) { p.Scopes = []string{"orders:write"} })
		}, want: principal.ReasonScope},
		{name: "an older principal", header: func() string { return signed(delegated, aged) }, want: principal.ReasonTime},
		{name: "a principal that is over", header: func() string {
			return signed(delegated, func(p *principalv1.Principal) { p.IssuedAt -= 400; p.ExpiresAt -= 400 })
		}, want: principal.ReasonTime},
		{name: "a forged principal", header: func() string {
			return chain{}.with(x.as("i1"), canonical(alice("s2", delegated))).header("A")
		}, want: principal.ReasonSignature},
		{name: "no principal", header: func() string { return "" }, want: principal.ReasonMissing},
		{name: "another method", shape: clientStream, header: func() string { return signed(delegated) }, want: principal.ReasonCaller},
		{name: "a guessed id", lease: func(string) []string { return []string{base64.RawURLEncoding.EncodeToString(make([]byte, 16))} }, want: principal.ReasonCaller},
		{name: "an id with padding", lease: func(id string) []string { return []string{id + "=="} }, want: principal.ReasonMalformed},
		{name: "half an id", lease: func(id string) []string { return []string{id[:11]} }, want: principal.ReasonMalformed},
		{name: "an id with stray bits", lease: func(id string) []string { return []string{id[:21] + "B"} }, want: principal.ReasonMalformed},
		{name: "an id of 10 KiB", lease: func(id string) []string { return []string{strings.Repeat(id, 470)} }, want: principal.ReasonMalformed},
		{name: "an empty id", lease: func(string) []string { return []string{""} }, want: principal.ReasonMalformed},
		{name: "NEW", lease: func(string) []string { return []string{"NEW"} }, want: principal.ReasonMalformed},
		{name: "two ids", lease: func(id string) []string { return []string{id, id} }, want: principal.ReasonMultiple},
		{name: "two ids in one", lease: func(id string) []string { return []string{id + "," + id} }, want: principal.ReasonMalformed},
		{name: "once more", header: func() string { return signed(delegated) }},
	}
	for _, s := range leaseStacks {
		for _, p := range s.protocols {
			t.Run(s.name+"/"+string(p), func(t *testing.T) {
				t.Parallel()
				events := new(record)
				rule := anyKind()
				rule.AllScopes = []string{"orders:read"}
				v := verifierOf(t, "s2", newKeySet(), principal.WithRevocations(newFeed(t)), principal.WithStaleness(time.Hour))
				srv := s.start(t, guardOf(t, v, rules(rule), principal.WithObserver(events)), new(app), nil)
				client := newPeer(t, srv, p, nil)
				e, id := openLeased(t, client, bidi, signed(delegated))
				if m, err := e.receive(); m != "one" || err != nil {
					t.Fatal(m, err)
				}
				contexts, _, _ := srv.app.take()
				before, _ := principal.FromContext(contexts[0])
				events.take()
				for _, a := range attacks {
					values, header, sh := []string{id}, signed(delegated), bidi
					if a.lease != nil {
						values = a.lease(id)
					}
					if a.header != nil {
						header = a.header()
					}
					if a.shape != 0 {
						sh = a.shape
					}
					o, err := renewWith(t.Context(), client, sh, header, values...)
					if err != nil {
						t.Errorf("%s: %v", a.name, err)
						continue
					}
					handled, _, _ := srv.app.take()
					now, _ := principal.FromContext(contexts[0])
					if a.want != 0 {
						refused(t, a.name, a.want, o, events.take(), len(handled))
						if now != before {
							t.Errorf("%s: the stream has another principal", a.name)
						}
						continue
					}
					if got := events.take(); o != (outcome{}) || len(handled) != 0 || len(got) != 1 || !got[0].Renewal || got[0].Decision != principal.Allowed {
						t.Errorf("%s: %+v, %d handlers ran, events %+v", a.name, o, len(handled), got)
					}
					before = now
				}
				if err := e.send("still here"); err != nil {
					t.Fatal(err)
				}
				if m, err := e.receive(); m != "still here" || err != nil {
					t.Errorf("%q, %v", m, err)
				}
				e.closeSend()
				if _, o, err := e.finish(); o != (outcome{}) || err != nil {
					t.Errorf("%+v, %v", o, err)
				}
				o, err := renewWith(t.Context(), client, bidi, signed(delegated), id)
				if err != nil || o.reason != "caller" {
					t.Errorf("when the stream has ended: %+v, %v", o, err)
				}
			})
		}
	}
}

// The rights of a stream shrink with what it is renewed with, also what its
// handler passes on, and never come back.
func TestLeaseNarrows(t *testing.T) {
	t.Parallel()
	for _, s := range leaseStacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			srv := s.start(t, guardOf(t, verifierOf(t, "s2", newKeySet()), rules(anyKind())), new(app), nil)
			client := newPeer(t, srv, s.protocols[0], nil)
			e, id := openLeased(t, client, bidi, signed())
			if m, err := e.receive(); m != "one" || err != nil {
				t.Fatal(m, err)
			}
			contexts, _, _ := srv.app.take()
			narrowed, err := principal.Narrow(contexts[0], "orders:write")
			if err != nil {
				t.Fatal(err)
			}
			fewer := func(p *principalv1.Principal) { p.Scopes, p.Roles = []string{"orders:read"}, nil }
			for _, c := range []struct {
				header string
				want   string
			}{{signed(fewer), ""}, {signed(), "scope"}, {signed(func(p *principalv1.Principal) { p.Scopes = []string{"orders:read"} }), "role"}} {
				if o, err := renewWith(t.Context(), client, bidi, c.header, id); err != nil || o.reason != c.want {
					t.Errorf("%+v, %v; want %q", o, err, c.want)
				}
				if p, _ := principal.FromContext(contexts[0]); p.HasScope("orders:write") || p.HasRole("buyer") || !p.HasScope("orders:read") {
					t.Errorf("the handler sees %v", p.Scopes())
				}
				for ctx, want := range map[context.Context]int{contexts[0]: 1, narrowed: 0} {
					header, err := propagatorOf(t, s2).Header(context.WithoutCancel(ctx), "s3", "")
					if err != nil {
						t.Fatal(err)
					}
					text(header.Binary())
					p, err := verifierOf(t, "s3", newKeySet()).Verify(t.Context(), header.Binary())
					if err != nil || len(p.Scopes()) != want {
						t.Errorf("passed on: %v, %v", p, err)
					}
				}
			}
		})
	}
}

// With mTLS the same workload renews a stream that opened it: a relayed header
// may be presented by every member of the mesh.
func TestLeaseOfAnotherPeer(t *testing.T) {
	t.Parallel()
	for _, s := range leaseStacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			v := verifierOf(t, "s2", newKeySet(), principal.WithMTLS(trustDomain, nil))
			srv := s.start(t, guardOf(t, v, rules(anyKind())), new(app), serverTLS(t))
			as := func(service string) *peer {
				return newPeer(t, srv, s.protocols[0], clientTLS(t, spiffe(service)...))
			}
			_, id := openLeased(t, as("s1"), bidi, relayed())
			for service, want := range map[string]string{"s3": "caller", "s1": ""} {
				if o, err := renewWith(t.Context(), as(service), bidi, relayed(), id); err != nil || o.reason != want {
					t.Errorf("by %s: %+v, %v", service, o, err)
				}
			}
		})
	}
}

// R05: a revocation ends a stream with a lease as any other, and nothing renews
// it; so does one that concerns only what it was renewed with, and no longer one
// of what it was opened with.
func TestRevocationOfLease(t *testing.T) {
	t.Parallel()
	named := func(id string) func(*principalv1.Principal) {
		return func(p *principalv1.Principal) { p.Id = []byte(id) }
	}
	eachScene(t, anyKind(), func() *app { return new(app) }, func(t *testing.T, s *scene) {
		if s.shape != bidi || s.stack.name == "connect-v1" || s.protocol == plainProtocol {
			return
		}
		for n, c := range []struct {
			target revocation.Target
			ends   bool
		}{
			{principalOf("opened with 0..."), false},
			{principalOf("renewed with 1.."), true},
			{sessionOf("session-of-alice"), true},
		} {
			e, id := openLeased(t, s.client, bidi, signed(named(fmt.Sprintf("opened with %d...", n))))
			renewed := signed(named(fmt.Sprintf("renewed with %d..", n)))
			if o, err := renewWith(t.Context(), s.client, bidi, renewed, id); err != nil || o != (outcome{}) {
				t.Fatalf("%+v, %v", o, err)
			}
			s.feed.revoke(c.target)
			if !c.ends {
				e.closeSend()
			}
			if _, o, err := e.finish(); err != nil || o.reason != map[bool]string{true: "revoked"}[c.ends] {
				t.Errorf("%d: %+v, %v", n, o, err)
			}
			if o, err := renewWith(t.Context(), s.client, bidi, renewed, id); err != nil || o.code == principal.CodeOK {
				t.Errorf("%d, afterwards: %+v, %v", n, o, err)
			}
		}
	})
}

// Nothing is granted to calls that cannot be renewed, and nobody waits for it.
func TestNoLease(t *testing.T) {
	t.Parallel()
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			guessed := base64.RawURLEncoding.EncodeToString(make([]byte, 16))
			for _, p := range s.protocols {
				for _, sh := range shapes {
					for _, c := range []struct {
						name   string
						rule   *principalv1.AccessRule
						header string
						lease  string
						id     bool
						reason string
					}{
						{"wanted", anyKind(), signed(), "new", sh != unary && s.name != "connect-v1" && s.name != "net-http", ""},
						{"not wanted", anyKind(), signed(), "", false, ""},
						{"anonymous", principal.AllowAnonymous(), "", "new", false, ""},
						{"anonymous renewal", principal.AllowAnonymous(), "", guessed, false, "missing"},
						{"guessed", anyKind(), signed(), guessed, false, "caller"},
					} {
						srv := s.start(t, guardOf(t, verifierOf(t, "s2", newKeySet()), rules(c.rule)), new(app), nil)
						client := newPeer(t, srv, p, nil)
						h := http.Header{}
						if c.header != "" {
							h.Set("X-Principal-Bin", text(c.header))
						}
						if c.lease != "" {
							h.Set("X-Principal-Lease", c.lease)
						}
						e, err := client.open(t.Context(), sh, h)
						if err != nil {
							t.Fatal(err)
						}
						go func() {
							_ = e.send("one")
							e.closeSend()
						}()
						messages, o, err := e.finish()
						want := c.reason
						if sh == unary && (s.name == "grpc-go" || s.name == "connect-v2") {
							want = "" // its headers are not even looked at
						}
						if err != nil || o.reason != want || want == "" && len(messages) != 1 {
							t.Errorf("%s %s %s: %q, %+v, %v", p, sh, c.name, messages, o, err)
						}
						if got := e.got.Header.Get("X-Principal-Lease") != ""; got != c.id {
							t.Errorf("%s %s %s: a lease was granted: %v", p, sh, c.name, got)
						}
						srv.app.take()
						e.close()
						srv.stop()
					}
				}
			}
		})
	}
}

// Transports that grant no leases renew none either, also where they share the
// guard of one that does: they would run a handler for it.
func TestLeaseOverAnotherTransport(t *testing.T) {
	t.Parallel()
	for _, s := range stacks[2:] {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			// A ServeMux may have the procedure of an RPC as its pattern.
			g := guardOf(t, verifierOf(t, "s2", newKeySet()), rules(anyKind()))
			_, id := openLeased(t, newPeer(t, leaseStacks[0].start(t, g, new(app), nil), grpcProtocol, nil), bidi, signed())
			var ran atomic.Int64
			srv := &server{listener: bufconn.Listen(1 << 16), app: new(app)}
			if s.name == "net-http" {
				srv.stop = serveConnect(func(g *principal.Guard, _ *app) http.Handler {
					mux := http.NewServeMux()
					mux.HandleFunc(bidi.procedure(), func(http.ResponseWriter, *http.Request) { ran.Add(1) })
					return principalhttp.NewMiddleware(g).Wrap(mux)
				})(srv.listener, g, srv.app, nil)
			} else {
				srv.stop = s.serve(srv.listener, g, srv.app, nil)
			}
			t.Cleanup(srv.stop)
			for _, p := range s.protocols {
				o, err := renewWith(t.Context(), newPeer(t, srv, p, nil), bidi, signed(), id)
				contexts, _, _ := srv.app.take()
				if err != nil || o.reason != "caller" || len(contexts) != 0 || ran.Load() != 0 {
					t.Errorf("%s: %+v, %v, handlers ran: %d", p, o, err, len(contexts)+int(ran.Load()))
				}
			}
		})
	}
}

// A flood of renewals, while streams come and go and end, is answered call by
// call, and every stream ends for its own reason.
func TestFloodOfRenewals(t *testing.T) {
	t.Parallel()
	for _, s := range leaseStacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			f := newFeed(t)
			v := verifierOf(t, "s2", newKeySet(), principal.WithRevocations(f), principal.WithStaleness(time.Hour))
			srv := s.start(t, guardOf(t, v, rules(anyKind())), new(app), nil)
			client := newPeer(t, srv, s.protocols[0], nil)
			for n := range 8 {
				session := fmt.Sprintf("session %08d", n)
				of := func(p *principalv1.Principal) { p.SessionId = []byte(session) }
				header := signed(of)
				e, id := openLeased(t, client, bidi, header)
				var flood sync.WaitGroup
				var mu sync.Mutex
				answers := map[string]int{}
				for range 40 {
					flood.Go(func() {
						o, err := renewWith(t.Context(), client, bidi, header, id)
						mu.Lock()
						defer mu.Unlock()
						if err != nil {
							t.Error(err)
						}
						answers[o.reason]++
					})
				}
				if n%2 == 0 {
					f.revoke(sessionOf(session))
				} else {
					e.closeSend()
				}
				flood.Wait()
				_, o, err := e.finish()
				if want := map[bool]string{true: "revoked"}[n%2 == 0]; err != nil || o.reason != want {
					t.Errorf("%+v, %v", o, err)
				}
				delete(answers, "")
				delete(answers, "revoked")
				delete(answers, "caller")
				if len(answers) > 0 {
					t.Errorf("renewals were answered with %v", answers)
				}
			}
		})
	}
}

// A stream that was opened in the handler of a leased stream is renewed with it,
// from service to service.
func TestLeasesInARow(t *testing.T) {
	t.Parallel()
	for _, l := range leasers {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				seen := new(witness)
				last := l.of.start(t, guardOf(t, verifierOf(t, "next", newKeySet()), rules(anyKind())), seen.app(), nil)
				// The service s3 has no source of its own, and is called by s2.
				onward := l.connect(t, last, propagatorOf(t, s3).Leasing(), "next")
				middle := &app{handle: func(ctx context.Context, _ shape, stream messages) error {
					next, err := onward(ctx, bidi)
					if err != nil {
						return err
					}
					for {
						m, err := stream.receive()
						if err != nil {
							return errors.Join(err, next.closeSend())
						}
						if err := errors.Join(next.ask(bidi, m), stream.send(m)); err != nil {
							return err
						}
					}
				}}
				srv := l.of.start(t, guardOf(t, verifierOf(t, "s3", newKeySet()), rules(anyKind())), middle, nil)
				e := &edge{audience: "s2"}
				first := l.connect(t, srv, e.propagator(t).Leasing(), "s3")
				ctx, cancel := context.WithCancel(contextOf(t, "s2", e.header()))
				stream, err := first(ctx, bidi)
				if err != nil {
					t.Fatal(err)
				}
				for n := range 60 {
					if err := stream.ask(bidi, "tick"); err != nil {
						t.Fatalf("after %d minutes: %v", n, err)
					}
					pass(time.Minute)
				}
				if path := fmt.Sprint(seen.last().Path()); path != "[bff s2 s3]" || seen.count() < 20 {
					t.Errorf("the last service saw %d principals by %s", seen.count(), path)
				}
				cancel()
			})
		})
	}
}
