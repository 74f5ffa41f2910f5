package bff_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"google.golang.org/protobuf/types/known/durationpb"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
	"github.com/onbehalf-dev/onbehalf/principal/trust"
)

// cluster is three NATS servers that keep everything three times.
type cluster struct {
	t       *testing.T
	options []*natsserver.Options
	servers []*natsserver.Server
	url     string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, servers: make([]*natsserver.Server, 3)}
	var listeners [6]net.Listener
	var routes []*url.URL
	var urls []string
	for i := range listeners {
		listeners[i] = listen(t)
	}
	port := func(i int) int { return listeners[i].Addr().(*net.TCPAddr).Port }
	for i := range 3 {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprint("127.0.0.1:", port(3+i))})
		urls = append(urls, fmt.Sprint("nats://127.0.0.1:", port(i)))
	}
	c.url = strings.Join(urls, ",")
	for i := range 3 {
		c.options = append(c.options, &natsserver.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: port(i), JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, NoSigs: true, NoLog: true,
			Cluster: natsserver.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port(3 + i)}, Routes: routes,
		})
	}
	for i := range listeners {
		listeners[i].Close()
	}
	for i := range 3 {
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range 3 {
			c.stop(i)
		}
	})
	eventually(t, "the cluster has a leader that sees all servers", func() bool {
		for _, s := range c.servers {
			if s.JetStreamIsLeader() {
				return len(s.JetStreamClusterPeers()) == len(c.servers)
			}
		}
		return false
	})
	return c
}

func (c *cluster) start(i int) {
	c.t.Helper()
	own := c.options[i].Clone()
	s, err := natsserver.NewServer(own)
	if err != nil {
		c.t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		c.t.Fatal("a server does not start")
	}
	c.servers[i] = s
}

func (c *cluster) stop(i int) {
	if s := c.servers[i]; s != nil {
		s.Shutdown()
		s.WaitForShutdown()
		c.servers[i] = nil
	}
}

// balancer is one address for several: each connection goes to the next that can
// be reached.
type balancer struct {
	net.Listener

	mu   sync.Mutex
	to   []string
	next int
}

func newBalancer(t *testing.T, to ...string) *balancer {
	t.Helper()
	b := &balancer{Listener: listen(t)}
	for _, u := range to {
		b.to = append(b.to, strings.TrimPrefix(u, "http://"))
	}
	t.Cleanup(func() { b.Close() })
	go func() {
		for {
			in, err := b.Accept()
			if err != nil {
				return
			}
			go b.pass(in)
		}
	}()
	return b
}

func (b *balancer) pass(in net.Conn) {
	defer in.Close()
	for range b.to {
		b.mu.Lock()
		to := b.to[b.next%len(b.to)]
		b.next++
		b.mu.Unlock()
		out, err := net.Dial("tcp", to)
		if err != nil {
			continue
		}
		go func() {
			_, _ = io.Copy(out, in)
			out.Close()
		}()
		_, _ = io.Copy(in, out)
		out.Close()
		return
	}
}

// Two edges behind one address are one edge: what one has minted is verified, and
// revoked through the other, and when either goes no call is lost that is made
// again.
func TestTwoReplicas(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	store := "store: {url: '" + c.url + "'}\n"
	a := start(t, setup{extra: store})
	b := start(t, setup{extra: store, provider: a.provider})
	mesh, public := newBalancer(t, a.mesh, b.mesh), newBalancer(t, a.public, b.public)
	made, err := a.operator().CreateEnrollmentToken(t.Context(), &bffv1.CreateEnrollmentTokenRequest{Service: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	orders, err := trust.Join(ctx, base(mesh), "orders", trust.WithEnrollmentToken(made.GetToken()), trust.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer orders.Close()

	one := a.header(a.get("/once", a.provider.token("alice", map[string]any{"sid": "s1"})))
	two := b.header(b.get("/once", a.provider.token("alice", map[string]any{"sid": "s1"})))
	p, err := orders.Verifier().Verify(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := orders.Verifier().Verify(t.Context(), two); err != nil {
		t.Fatal("minted by the other edge:", err)
	}
	session, _ := p.SessionID()
	b.revoke(revocation.Session(edgeIssuer, session))
	for _, header := range []string{one, two} {
		eventually(t, "refused by the service", func() bool {
			_, err := orders.Verifier().Verify(t.Context(), header)
			return principal.ReasonOf(err) == principal.ReasonRevoked
		})
	}
	eventually(t, "refused by the edge through which it was not revoked", func() bool {
		return a.do(http.MethodGet, "/once", a.provider.token("alice", map[string]any{"sid": "s1"}), nil).StatusCode == http.StatusUnauthorized
	})

	for _, gone := range []*edge{a, b} {
		if gone == a {
			a.client.CloseIdleConnections()
			if err := a.stop(); err != nil {
				t.Fatal(err)
			}
		}
		lost := 0
		for i := range 50 {
			if !answered(t, base(public)+"/once", a.provider.token(fmt.Sprint("user", i), nil)) {
				lost++
			}
		}
		if lost > 0 {
			t.Errorf("%d of 50 calls were lost", lost)
		}
		eventually(t, "the service follows again", func() bool { return orders.Health() == nil })
		if gone == a {
			a.restart(setup{extra: store})
			public.mu.Lock()
			public.to[0] = strings.TrimPrefix(a.public, "http://")
			public.mu.Unlock()
			mesh.mu.Lock()
			mesh.to[0] = strings.TrimPrefix(a.mesh, "http://")
			mesh.mu.Unlock()
		}
	}
}

// answered reports whether a request is answered, if it is made three times.
func answered(t *testing.T, url, token string) bool {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	for range 3 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := client.Do(req)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return true
			}
		}
	}
	return false
}

// Without a quorum of the store what is cached goes on, nothing new is promised,
// freshness that a method demands cannot be had, and when the quorum is back
// nobody has to do anything.
func TestNoQuorum(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	e := start(t, setup{extra: "store: {url: '" + c.url + "'}\n", realTime: true})
	orders := e.join("orders")
	rules := (&principal.Rules{}).
		WithMethod("/x/Plain", &principalv1.AccessRule{}).
		WithMethod("/x/Fresh", &principalv1.AccessRule{MaxRevocationAge: durationpb.New(6 * time.Second)}).
		WithMethod("/x/Online", &principalv1.AccessRule{OnlineCheck: true})
	guard, err := principal.NewGuard(orders.Verifier(), rules)
	if err != nil {
		t.Fatal(err)
	}
	header := e.header(e.get("/linked", e.provider.token("alice", nil)))
	admit := func(method string) principal.Reason {
		_, err := guard.Admit(t.Context(), principal.Call{Procedure: method, Values: []string{header}})
		return principal.ReasonOf(err)
	}
	for _, method := range []string{"/x/Plain", "/x/Fresh", "/x/Online"} {
		eventually(t, method+" with a quorum", func() bool { return admit(method) == 0 })
	}
	c.stop(1)
	c.stop(2)
	_, err = e.operator().Revoke(t.Context(), &bffv1.RevokeRequest{Target: revocation.Service("x").Proto()})
	if connect.CodeOf(err) != connect.CodeUnavailable {
		t.Error("revoked without a quorum:", err)
	}
	if r := admit("/x/Plain"); r != 0 {
		t.Error("cached verification has ended:", r)
	}
	if res := e.do(http.MethodGet, "/linked", e.provider.token("bob", nil), nil); res.StatusCode != http.StatusOK {
		t.Error("the edge has ended:", res.Status)
	}
	if r := admit("/x/Online"); r != principal.ReasonOnline {
		t.Error("checked online:", r)
	}
	eventually(t, "demanded freshness cannot be had", func() bool { return admit("/x/Fresh") == principal.ReasonStale })
	if r := admit("/x/Plain"); r != 0 {
		t.Error("cached verification has ended:", r)
	}
	c.start(1)
	c.start(2)
	eventuallyWithin(t, time.Minute, "revoked again", func() bool {
		_, err := e.operator().Revoke(t.Context(), &bffv1.RevokeRequest{Target: revocation.Service("x").Proto()})
		return err == nil
	})
	for _, method := range []string{"/x/Plain", "/x/Fresh", "/x/Online"} {
		eventually(t, method+" with a quorum again", func() bool { return admit(method) == 0 })
	}
}
