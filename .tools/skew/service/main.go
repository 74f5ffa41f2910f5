// Command service is a service that joins an edge, in the few lines that such a
// service has. It is built against two versions of this project, so it uses only
// what both have.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalgrpc"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalhttp"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/trust"
)

// settings are what the test says to the service, as JSON, on its standard input: a
// token is seen in the list of processes.
type settings struct {
	Mesh, Name, Token, TrustDomain string
	// HTTP and GRPC are the addresses to listen on.
	HTTP, GRPC string
	// Next are the addresses of services that are called, and their names.
	Next map[string]string
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "service:", err)
		os.Exit(1)
	}
}

func run() error {
	var s settings
	if err := json.NewDecoder(os.Stdin).Decode(&s); err != nil {
		return err
	}
	node, err := join(s)
	if err != nil {
		return err
	}
	guard, err := principal.NewGuard(node.Verifier(), rules())
	if err != nil {
		return err
	}
	site := &site{node: node, next: s.Next, client: &http.Client{
		Transport: principalhttp.NewTransport(new(http.Transport), node.Propagator(), s.Next),
	}}
	web, err := new(net.ListenConfig).Listen(context.Background(), "tcp", s.HTTP)
	if err != nil {
		return err
	}
	rpc, err := new(net.ListenConfig).Listen(context.Background(), "tcp", s.GRPC)
	if err != nil {
		return err
	}
	srv := grpc.NewServer(principalgrpc.ServerOptions(guard)...)
	healthv1.RegisterHealthServer(srv, health.NewServer())
	go func() { _ = srv.Serve(rpc) }()
	fmt.Fprintln(os.Stderr, "ready")
	handler := principalhttp.NewMiddleware(guard).Wrap(site.mux())
	return (&http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}).Serve(web)
}

// join returns when the service has signed with its second link key. A key is
// replaced at half of its life, minutes later: the clock of the service jumps
// ahead when its first key is in use, and back with the second.
func join(s settings) (*trust.Node, error) {
	c := &clock{renewed: make(chan struct{})}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	node, err := trust.Join(ctx, s.Mesh, s.Name, trust.WithEnrollmentToken(s.Token), trust.WithClock(c.now),
		trust.WithLogger(slog.New(&keyWatch{Handler: slog.NewJSONHandler(os.Stderr, nil), clock: c})),
		trust.WithVerifierOptions(principal.AcceptRelay(s.TrustDomain)))
	if err != nil {
		return nil, err
	}
	select {
	case <-c.renewed:
		return node, nil
	case <-ctx.Done():
		return nil, errors.New("the link key was not renewed")
	}
}

// ahead is when a link key of 10 minutes is replaced at the latest; and less than
// the six minutes after which a service forgets what was revoked.
const ahead = 5*time.Minute + 31*time.Second

// clock can be ahead.
type clock struct {
	ahead   atomic.Int64
	keys    atomic.Int64
	renewed chan struct{}
}

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// keyInUse sets the clock ahead for the first key, and back for the second.
func (c *clock) keyInUse() {
	switch c.keys.Add(1) {
	case 1:
		c.ahead.Store(int64(ahead))
	case 2:
		c.ahead.Store(0)
		close(c.renewed)
	}
}

// keyWatch is a log in which the clock sees that a key is in use.
type keyWatch struct {
	slog.Handler

	clock *clock
}

// Handle implements [slog.Handler].
func (h *keyWatch) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "link key in use" {
		h.clock.keyInUse()
	}
	return h.Handler.Handle(ctx, r)
}

func rules() *principal.Rules {
	anybody := []principalv1.Kind{principalv1.Kind_KIND_HUMAN, principalv1.Kind_KIND_AGENT}
	human := []principalv1.Kind{principalv1.Kind_KIND_HUMAN}
	read := &principalv1.AccessRule{Kinds: anybody, AllScopes: []string{"orders:read"}}
	r := (&principal.Rules{}).
		WithMethod("GET /open", principal.AllowAnonymous()).
		WithMethod("GET /human", &principalv1.AccessRule{Kinds: human}).
		WithMethod("GET /write", &principalv1.AccessRule{Kinds: anybody, AllScopes: []string{"orders:write"}}).
		WithService("grpc.health.v1.Health", read)
	for _, pattern := range []string{"GET /who", "GET /call", "GET /narrow", "GET /rpc", "GET /stream"} {
		r = r.WithMethod(pattern, read)
	}
	return r
}

// site are the handlers.
type site struct {
	node   *trust.Node
	next   map[string]string
	client *http.Client
}

func (s *site) mux() *http.ServeMux {
	mux := http.NewServeMux()
	for _, pattern := range []string{"GET /open", "GET /human", "GET /write", "GET /who"} {
		mux.HandleFunc(pattern, s.who)
	}
	mux.HandleFunc("GET /call", s.call)
	mux.HandleFunc("GET /narrow", s.narrow)
	mux.HandleFunc("GET /rpc", s.rpc)
	mux.HandleFunc("GET /stream", s.stream)
	return mux
}

// who says who calls: kind, scopes and path, and in headers what can be revoked.
func (*site) who(w http.ResponseWriter, r *http.Request) {
	p, ok := principal.FromContext(r.Context())
	if !ok {
		fmt.Fprint(w, "anonymous")
		return
	}
	session, _ := p.SessionID()
	w.Header().Set("Skew-Session", session.String())
	fmt.Fprintf(w, "%s[%s] by %s", p.Kind(), strings.Join(p.Scopes(), " "), strings.Join(p.Path(), ">"))
}

// call calls the URL in next and tells what that answers, as a status, a reason
// and a body.
func (s *site) call(w http.ResponseWriter, r *http.Request) {
	s.forward(r.Context(), w, r.FormValue("next"))
}

// narrow is call with fewer rights.
func (s *site) narrow(w http.ResponseWriter, r *http.Request) {
	ctx, err := principal.Narrow(r.Context(), "orders:read")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.forward(ctx, w, r.FormValue("next"))
}

func (s *site) forward(ctx context.Context, w io.Writer, url string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		fmt.Fprint(w, err)
		return
	}
	res, err := s.client.Do(r)
	if err != nil {
		fmt.Fprint(w, err)
		return
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	fmt.Fprintf(w, "%d %s %s", res.StatusCode, res.Header.Get(principal.ReasonHeaderName), strings.TrimSpace(string(body)))
}

// rpc calls the gRPC server at the address in next.
func (s *site) rpc(w http.ResponseWriter, r *http.Request) {
	next := r.FormValue("next")
	options := append(principalgrpc.DialOptions(s.node.Propagator(), s.next[next]), grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient(next, options...)
	if err != nil {
		fmt.Fprint(w, err)
		return
	}
	defer conn.Close()
	_, err = healthv1.NewHealthClient(conn).Check(r.Context(), &healthv1.HealthCheckRequest{})
	fmt.Fprint(w, status.Code(err))
}

// stream goes on until it is ended.
func (*site) stream(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, "begun")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}
