package contract_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	connectv1rpc "connectrpc.com/connect"
	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect/connectv1"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalgrpc"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalhttp"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// stack is a server that a guard stands before.
type stack struct {
	name string
	// protocols are the ones it speaks.
	protocols []protocol
	serve     func(l net.Listener, g *principal.Guard, a *app, config *tls.Config) (stop func())
}

var stacks = []stack{
	{"grpc-go", []protocol{grpcProtocol}, serveGRPC},
	{"connect-v2", rpcProtocols, serveConnect(connectV2)},
	{"connect-v1", rpcProtocols, serveConnect(connectV1)},
	{"net-http", []protocol{plainProtocol}, serveConnect(plainHTTP)},
}

// server is a stack that runs, in memory or, with an address, over TCP.
type server struct {
	listener *bufconn.Listener
	address  string
	app      *app
	stop     func()
}

func (s stack) start(t testing.TB, g *principal.Guard, a *app, config *tls.Config) *server {
	t.Helper()
	srv := &server{listener: bufconn.Listen(1 << 16), app: a}
	srv.stop = s.serve(srv.listener, g, a, config)
	t.Cleanup(srv.stop)
	return srv
}

// startTCP is start over a loopback address.
func (s stack) startTCP(t testing.TB, g *principal.Guard, a *app) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &server{address: l.Addr().String(), app: a}
	srv.stop = s.serve(l, g, a, nil)
	t.Cleanup(srv.stop)
	return srv
}

func (s *server) dial(ctx context.Context) (net.Conn, error) {
	if s.address != "" {
		return new(net.Dialer).DialContext(ctx, "tcp", s.address)
	}
	return s.listener.DialContext(ctx)
}

// grpc-go

var grpcDesc = grpc.ServiceDesc{
	ServiceName: serviceName,
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: unary.String(), Handler: grpcUnary(unary.procedure())},
		{MethodName: "Once", Handler: grpcUnary(onceMethod)},
	},
	Streams: []grpc.StreamDesc{
		{StreamName: serverStream.String(), ServerStreams: true, Handler: grpcHandler(serverStream)},
		{StreamName: clientStream.String(), ClientStreams: true, Handler: grpcHandler(clientStream)},
		{StreamName: bidi.String(), ServerStreams: true, ClientStreams: true, Handler: grpcHandler(bidi)},
	},
}

func grpcUnary(method string) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.StringValue)
		if err := decode(in); err != nil {
			return nil, err
		}
		info := &grpc.UnaryServerInfo{Server: srv, FullMethod: method}
		return interceptor(ctx, in, info, func(ctx context.Context, req any) (any, error) {
			one := &once{request: &req.(*wrapperspb.StringValue).Value}
			err := srv.(*app).serve(ctx, unary, one)
			return wrapperspb.String(one.response), err
		})
	}
}

func grpcHandler(s shape) grpc.StreamHandler {
	return func(srv any, stream grpc.ServerStream) error {
		return srv.(*app).serve(stream.Context(), s, grpcMessages{stream})
	}
}

type grpcMessages struct{ grpc.ServerStream }

func (m grpcMessages) receive() (string, error) {
	var v wrapperspb.StringValue
	if err := m.RecvMsg(&v); err != nil {
		return "", err
	}
	return v.GetValue(), nil
}

func (m grpcMessages) send(s string) error { return m.SendMsg(wrapperspb.String(s)) }

func serveGRPC(l net.Listener, g *principal.Guard, a *app, config *tls.Config) func() {
	var options []grpc.ServerOption
	arrive := func(ctx context.Context) context.Context {
		md, _ := metadata.FromIncomingContext(ctx) // a copy
		for i, v := range md[principal.HeaderName] {
			md[principal.HeaderName][i] = principal.EncodeHeader(v)
		}
		a.arrived(md)
		if a.around != nil {
			ctx = a.around(ctx)
		}
		return ctx
	}
	options = append(options,
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			return next(arrive(ctx), req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			return next(srv, contextStream{ss, arrive(ss.Context())})
		}))
	options = append(options, principalgrpc.ServerOptions(g)...)
	if config != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	srv := grpc.NewServer(options...)
	srv.RegisterService(&grpcDesc, a)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	return func() {
		srv.Stop()
		<-done
	}
}

type contextStream struct {
	grpc.ServerStream

	ctx context.Context
}

func (s contextStream) Context() context.Context { return s.ctx }

// net/http and what stands on it

// serveConnect serves a handler over HTTP/1.1 and HTTP/2, with TLS or without.
func serveConnect(handler func(*principal.Guard, *app) http.Handler) func(net.Listener, *principal.Guard, *app, *tls.Config) func() {
	return func(l net.Listener, g *principal.Guard, a *app, config *tls.Config) func() {
		inner := handler(g, a)
		srv := &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				a.arrived(r.Header)
				if a.around != nil {
					r = r.WithContext(a.around(r.Context()))
				}
				inner.ServeHTTP(w, r)
			}),
			TLSConfig:      config,
			MaxHeaderBytes: 16 << 10,
			ErrorLog:       slog.NewLogLogger(slog.Default().Handler(), slog.LevelError),
			Protocols:      new(http.Protocols),
		}
		srv.Protocols.SetHTTP1(true)
		done := make(chan struct{})
		if config == nil {
			srv.Protocols.SetUnencryptedHTTP2(true)
		} else {
			srv.Protocols.SetHTTP2(true)
		}
		go func() {
			defer close(done)
			if config == nil {
				_ = srv.Serve(l)
			} else {
				_ = srv.ServeTLS(l, "", "")
			}
		}()
		return func() {
			_ = srv.Close()
			<-done
		}
	}
}

// connect v2

func spec(s shape) connect.Spec {
	types := [...]connect.StreamType{connect.StreamTypeUnary, connect.StreamTypeServer, connect.StreamTypeClient, connect.StreamTypeBidi}
	return connect.Spec{StreamType: types[s], Procedure: s.procedure()}
}

func connectServer(g *principal.Guard, a *app) *connect.Server {
	srv := connect.NewServer(principalconnect.NewServerInterceptor(g))
	for _, s := range shapes {
		srv.Register(connect.Method{Spec: spec(s), Handler: func(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
			return a.serve(ctx, s, connectMessages{stream})
		}})
	}
	return srv
}

func connectV2(g *principal.Guard, a *app) http.Handler {
	mux := http.NewServeMux()
	connecthttp.Mount(mux, connectServer(g, a))
	return mux
}

type connectMessages struct{ connect.ServerStream }

func (m connectMessages) receive() (string, error) {
	var v wrapperspb.StringValue
	if err := m.Receive(&v); err != nil {
		return "", err
	}
	return v.GetValue(), nil
}

func (m connectMessages) send(s string) error { return m.Send(wrapperspb.String(s)) }

// connect v1

func connectV1(g *principal.Guard, a *app) http.Handler {
	type value = wrapperspb.StringValue
	mux := http.NewServeMux()
	mux.Handle(unary.procedure(), connectv1rpc.NewUnaryHandler(unary.procedure(), func(ctx context.Context, r *connectv1rpc.Request[value]) (*connectv1rpc.Response[value], error) {
		one := &once{request: &r.Msg.Value}
		err := a.serve(ctx, unary, one)
		return connectv1rpc.NewResponse(wrapperspb.String(one.response)), err
	}))
	mux.Handle(serverStream.procedure(), connectv1rpc.NewServerStreamHandler(serverStream.procedure(), func(ctx context.Context, r *connectv1rpc.Request[value], s *connectv1rpc.ServerStream[value]) error {
		one := &once{request: &r.Msg.Value}
		return a.serve(ctx, serverStream, functions{one.receive, func(m string) error { return s.Send(wrapperspb.String(m)) }})
	}))
	mux.Handle(clientStream.procedure(), connectv1rpc.NewClientStreamHandler(clientStream.procedure(), func(ctx context.Context, s *connectv1rpc.ClientStream[value]) (*connectv1rpc.Response[value], error) {
		one := &once{}
		receive := func() (string, error) {
			if s.Receive() {
				return s.Msg().GetValue(), nil
			}
			if err := s.Err(); err != nil {
				return "", err
			}
			return "", io.EOF
		}
		err := a.serve(ctx, clientStream, functions{receive, one.send})
		return connectv1rpc.NewResponse(wrapperspb.String(one.response)), err
	}))
	mux.Handle(bidi.procedure(), connectv1rpc.NewBidiStreamHandler(bidi.procedure(), func(ctx context.Context, s *connectv1rpc.BidiStream[value, value]) error {
		receive := func() (string, error) {
			m, err := s.Receive()
			return m.GetValue(), err
		}
		return a.serve(ctx, bidi, functions{receive, func(m string) error { return s.Send(wrapperspb.String(m)) }})
	}))
	return connectv1.NewMiddleware(g).Wrap(mux)
}

type functions struct {
	in  func() (string, error)
	out func(string) error
}

func (f functions) receive() (string, error) { return f.in() }
func (f functions) send(m string) error      { return f.out(m) }

// net/http: a message is a line

func plainHTTP(g *principal.Guard, a *app) http.Handler {
	mux := http.NewServeMux()
	for _, s := range shapes {
		mux.HandleFunc(s.pattern(), func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex() // of HTTP/1.1; HTTP/2 always is
			lines := bufio.NewReader(r.Body)
			receive := func() (string, error) {
				line, err := lines.ReadString('\n')
				if err != nil {
					return "", err
				}
				return line[:len(line)-1], nil
			}
			send := func(m string) error {
				if _, err := fmt.Fprintln(w, m); err != nil {
					return err
				}
				return http.NewResponseController(w).Flush()
			}
			if err := a.serve(r.Context(), s, functions{receive, send}); err != nil {
				http.Error(w, "handler failed", http.StatusInternalServerError)
			}
		})
	}
	return principalhttp.NewMiddleware(g).Wrap(mux)
}
