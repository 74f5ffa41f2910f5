package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

const (
	connections = 32
	turn        = 1000 // requests
	idleStreams = 10_000
)

// proxies measures the edge beside a plain reverse proxy, each in a process of its
// own.
type proxies struct {
	plan     plan
	dir      string
	provider *provider
	upstream [2]string // HTTP/1.1, gRPC
	reverse  *gateway
	edge     *gateway
	large    *gateway // with a thousand routes and fifty issuers
}

// gateway is a process that forwards, and connections to it.
type gateway struct {
	*process

	address string
	http    *http.Client
	grpc    []*grpc.ClientConn
}

func runProxies(ctx context.Context, p plan) error {
	dir, err := os.MkdirTemp("", "onbehalf-proxies")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	x := &proxies{plan: p, dir: dir}
	defer x.close()
	if err := x.start(ctx); err != nil {
		return err
	}
	t := &table{out: os.Stdout}
	fmt.Fprintf(t.out, "the edge beside httputil.ReverseProxy, CPU time of the process for each request; %d rounds of %d requests, %d connections\n", p.rounds, turn, connections)
	if err := x.compare(ctx, t, x.known()); err != nil {
		return err
	}
	if err := x.memory(ctx, t); err != nil {
		return err
	}
	if err := x.compare(ctx, t, x.fresh()); err != nil {
		return err
	}
	return x.idle(ctx, t)
}

func (x *proxies) close() {
	for _, g := range []*gateway{x.reverse, x.edge, x.large} {
		if g == nil {
			continue
		}
		for _, c := range g.grpc {
			_ = c.Close()
		}
		g.stop()
	}
}

func (x *proxies) start(ctx context.Context) (err error) {
	if x.provider, err = newProvider(); err != nil {
		return err
	}
	if err := x.startUpstreams(); err != nil {
		return err
	}
	if x.reverse, err = x.startGateway(ctx, "reverse", x.upstream[0], x.upstream[1]); err != nil {
		return err
	}
	if x.edge, err = x.startEdge(ctx, 1, 2); err != nil {
		return err
	}
	x.large, err = x.startEdge(ctx, 50, 1000)
	return err
}

func (x *proxies) startEdge(ctx context.Context, issuers, routes int) (*gateway, error) {
	dir, err := os.MkdirTemp(x.dir, "edge")
	if err != nil {
		return nil, err
	}
	return x.startGateway(ctx, "gateway", dir, x.upstream[0], x.upstream[1], x.provider.url, fmt.Sprint(issuers), fmt.Sprint(routes))
}

func (x *proxies) startGateway(ctx context.Context, role string, args ...string) (*gateway, error) {
	p, err := startProcess(ctx, role, args...)
	if err != nil {
		return nil, err
	}
	_, address, _ := strings.Cut(p.line, " ")
	g := &gateway{process: p, address: address, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections}}}
	for range connections {
		c, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		g.grpc = append(g.grpc, c)
	}
	return g, nil
}

func (x *proxies) startUpstreams() error {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	answer := []byte(strings.Repeat("a hundred bytes of an answer, ", 4)[:100])
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) })}
	go func() { _ = srv.Serve(plain) }()
	rpc, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(rpc) }()
	x.upstream = [2]string{"http://" + plain.Addr().String(), "h2c://" + rpc.Addr().String()}
	return nil
}

// request makes one through a gateway.
type request func(ctx context.Context, g *gateway, worker int, token string) error

func get(ctx context.Context, g *gateway, _ int, token string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.address+"/api/things", http.NoBody)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := g.http.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %w", res.Status, err)
	}
	return nil
}

func call(ctx context.Context, g *gateway, worker int, token string) error {
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	_, err := grpc_health_v1.NewHealthClient(g.grpc[worker]).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	return err
}

// spend returns the CPU time of a turn of requests, each with the next token.
func (g *gateway) spend(ctx context.Context, do request, token func() string) (time.Duration, error) {
	before, err := g.cpu(ctx)
	if err != nil {
		return 0, err
	}
	var next atomic.Int64
	var work sync.WaitGroup
	errs := make([]error, connections)
	tokens := make([]string, turn)
	for i := range tokens {
		tokens[i] = token()
	}
	for worker := range connections {
		work.Go(func() {
			for i := next.Add(1); i <= turn && errs[worker] == nil; i = next.Add(1) {
				errs[worker] = do(ctx, g, worker, tokens[i-1])
			}
		})
	}
	work.Wait()
	after, err := g.cpu(ctx)
	return (after - before) / turn, errors.Join(append(errs, err)...)
}

func (g *gateway) cpu(ctx context.Context) (time.Duration, error) {
	var out struct{ Nanos int64 }
	err := g.call(ctx, "cpu", nil, &out)
	return time.Duration(out.Nanos), err
}

// contender is one way that is measured, and what its ratio may be at most.
type contender struct {
	name    string
	gateway *gateway
	do      request
	token   func() string
	bound   float64 // 0: none
	beside  int     // the index of what it is compared with; itself for none
}

// known are requests with a token that the edge has just seen.
func (x *proxies) known() []contender {
	seen := x.provider.token("RS256")
	token := func() string { return seen }
	return []contender{
		{"HTTP/1.1, httputil.ReverseProxy", x.reverse, get, token, 0, 0},
		{"HTTP/1.1, edge, known token", x.edge, get, token, 1.15, 0},
		{"HTTP/1.1, edge, 1,000 routes and 50 issuers", x.large, get, token, 1.03, 1},
		{"gRPC, httputil.ReverseProxy", x.reverse, call, token, 0, 3},
		{"gRPC, edge, known token", x.edge, call, token, 1.15, 3},
		{"gRPC, edge, 1,000 routes and 50 issuers", x.large, call, token, 1.03, 4},
	}
}

// fresh are requests with a token that the edge has never seen.
func (x *proxies) fresh() []contender {
	of := func(alg string) func() string { return func() string { return x.provider.token(alg) } }
	return []contender{
		{"HTTP/1.1, httputil.ReverseProxy, again", x.reverse, get, of("ES256"), 0, 0},
		{"HTTP/1.1, edge, RS256 never seen before", x.edge, get, of("RS256"), 1.8, 0},
		{"HTTP/1.1, edge, ES256 never seen before", x.edge, get, of("ES256"), 0, 0},
		{"gRPC, httputil.ReverseProxy, again", x.reverse, call, of("ES256"), 0, 3},
		{"gRPC, edge, RS256 never seen before", x.edge, call, of("RS256"), 1.8, 3},
		{"gRPC, edge, ES256 never seen before", x.edge, call, of("ES256"), 0, 3},
	}
}

// compare takes turns, so that what disturbs one disturbs all.
func (x *proxies) compare(ctx context.Context, t *table, all []contender) error {
	took := make([][]time.Duration, len(all))
	for round := range x.plan.rounds + 1 {
		for i, c := range all {
			d, err := c.gateway.spend(ctx, c.do, c.token)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if round > 0 { // the first opens connections and warms up
				took[i] = append(took[i], d)
			}
		}
	}
	for i, c := range all {
		own := fmt.Sprintf("%v", middle(slices.Clone(took[i])).Round(100*time.Nanosecond))
		if c.beside == i {
			t.add(c.name, float64(middle(slices.Clone(took[i])))/1e3, "µs", 0, "")
			continue
		}
		ratios := make([]float64, len(took[i]))
		for n := range ratios {
			ratios[n] = float64(took[i][n]) / float64(took[c.beside][n])
		}
		slices.Sort(ratios)
		t.add(c.name, ratios[len(ratios)/2], "×", c.bound, fmt.Sprintf("%s; %.3g to %.3g ×", own, ratios[len(ratios)/10], ratios[len(ratios)*9/10]))
	}
	return nil
}

func (x *proxies) memory(ctx context.Context, t *table) error {
	rss, err := x.edge.rss(ctx)
	t.add(fmt.Sprintf("RSS of the edge, %d connections of each", connections), float64(rss)/(1<<20), "MiB", 40, "")
	return err
}

// idle opens streams on which nothing comes.
func (x *proxies) idle(ctx context.Context, t *table) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	before, err := x.edge.rss(ctx)
	if err != nil {
		return err
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+x.provider.token("RS256"))
	for i := range idleStreams {
		s, err := grpc_health_v1.NewHealthClient(x.edge.grpc[i%connections]).Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
		if err != nil {
			return err
		}
		if _, err := s.Recv(); err != nil {
			return err
		}
	}
	after, err := x.edge.rss(ctx)
	t.add(fmt.Sprintf("RSS of the edge for an idle gRPC stream, %d open", idleStreams), float64(after-before)/idleStreams/1024, "KiB", 0, fmt.Sprintf("%d MiB in all", after>>20))
	return err
}
