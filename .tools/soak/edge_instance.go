package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/grpc"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalgrpc"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalhttp"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/trust"
)

// drainTime is how long an instance that is to end answers on the connections that
// it has, and asks for no more requests on them.
const drainTime = 1500 * time.Millisecond

// instance is one of a service that says whom it sees.
type instance struct {
	node  *trust.Node
	guard *principal.Guard
	rpc   *grpc.Server
	web   []*webServer
}

// instanceMain serves until it is told to end; then it drains first.
func instanceMain(mesh, token, name, addresses string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	joining, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	node, err := trust.Join(joining, mesh, echoAudience, trust.WithEnrollmentToken(token),
		trust.WithVerifierOptions(principal.AcceptRelay(trustDomain)),
		trust.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))))
	if err != nil {
		return err
	}
	defer node.Close()
	x := &instance{node: node}
	if x.guard, err = principal.NewGuard(node.Verifier(), echoRules()); err != nil {
		return err
	}
	at := strings.Split(addresses, ",")
	if len(at) != ports {
		return fmt.Errorf("%d addresses", len(at))
	}
	if err := x.serve(at); err != nil {
		return err
	}
	fmt.Println("http://" + name)
	<-ctx.Done()
	return x.drain()
}

func (x *instance) serve(at []string) error {
	rpc, err := listenAgain(at[grpcPort])
	if err != nil {
		return err
	}
	x.rpc = grpc.NewServer(principalgrpc.ServerOptions(x.guard)...)
	x.rpc.RegisterService(&echoGRPC, nil)
	if err := principalgrpc.Check(x.rpc, x.guard); err != nil {
		return err
	}
	go func() { _ = x.rpc.Serve(rpc) }()

	calls := connect.NewServer(principalconnect.NewServerInterceptor(x.guard))
	calls.Register(echoConnect...)
	mux := http.NewServeMux()
	connecthttp.Mount(mux, calls)
	for address, h := range map[string]http.Handler{
		at[plainPort]:   principalhttp.NewMiddleware(x.guard).Wrap(echoPlain()),
		at[connectPort]: mux,
	} {
		w, err := newWebServer(address, h)
		if err != nil {
			return err
		}
		x.web = append(x.web, w)
	}
	return nil
}

// drain ends as a service does that is replaced: it takes no new connections,
// then has those that it has end one request later, then ends what is left.
func (x *instance) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime+10*time.Second)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		x.rpc.GracefulStop()
		close(ended)
	}()
	for _, w := range x.web {
		w.leave()
	}
	time.Sleep(drainTime)
	var errs []error
	for _, w := range x.web {
		errs = append(errs, w.server.Shutdown(ctx))
	}
	select {
	case <-ended:
	case <-ctx.Done():
		errs = append(errs, errors.New("calls of gRPC did not end"))
	}
	return errors.Join(errs...)
}

// webServer is a server that can ask clients to leave.
type webServer struct {
	listener net.Listener
	server   *http.Server
	leaving  atomic.Bool
}

func newWebServer(address string, h http.Handler) (*webServer, error) {
	l, err := listenAgain(address)
	if err != nil {
		return nil, err
	}
	w := &webServer{listener: l}
	w.server = &http.Server{Protocols: both(), ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if w.leaving.Load() {
			out.Header().Set("Connection", "close") // over HTTP/2 it is sent as GOAWAY
		}
		h.ServeHTTP(out, r)
	})}
	go func() { _ = w.server.Serve(l) }()
	return w, nil
}

func (w *webServer) leave() {
	_ = w.listener.Close()
	w.leaving.Store(true)
}

// listenAgain waits for the port that a process before may still have.
func listenAgain(address string) (net.Listener, error) {
	for try := 0; ; try++ {
		l, err := net.Listen("tcp", address)
		if err == nil || try == 50 {
			return l, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}
