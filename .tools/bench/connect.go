package main

import (
	"context"
	"net"
	"net/http"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/otelconnect"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// connectFigures are those of a unary call of Connect v2, in Connect's own
// protocol over HTTP/2 and a connection in memory, as with grpc-go.
func connectFigures(w *world, _ setting) ([]figure, error) {
	ways := []way{{name: "bare", start: func() (func() error, error) {
		return serveConnect(context.Background(), checkNothing, nil, nil)
	}}}
	for _, m := range modes {
		ways = append(ways, way{name: string(m) + ", cached", bound: 1.1, start: func() (func() error, error) {
			h, err := w.hop(m)
			if err != nil {
				return nil, err
			}
			return serveConnect(h.ctx, checkPrincipal(m),
				[]connect.ServerInterceptor{principalconnect.NewServerInterceptor(h.guard)},
				[]connect.ClientInterceptor{principalconnect.NewClientInterceptor(h.propagator, path[1])})
		}})
	}
	return callFigures(w, "connect v2", append(ways,
		way{name: "the relay header that nobody reads", bound: none, start: func() (func() error, error) {
			header, err := w.sign(relay)
			if err != nil {
				return nil, err
			}
			return serveConnect(context.Background(), checkNothing, nil, []connect.ClientInterceptor{sendConnect(principal.HeaderName, principal.EncodeHeader(header))})
		}},
		way{name: "otelconnect, no-op", bound: none, start: func() (func() error, error) {
			options := []otelconnect.Option{
				otelconnect.WithTracerProvider(tracenoop.NewTracerProvider()),
				otelconnect.WithMeterProvider(metricnoop.NewMeterProvider()),
				otelconnect.WithPropagator(propagation.TraceContext{}),
			}
			server, err := otelconnect.NewServerInterceptor(options...)
			if err != nil {
				return nil, err
			}
			client, err := otelconnect.NewClientInterceptor(options...)
			if err != nil {
				return nil, err
			}
			return serveConnect(context.Background(), checkNothing, []connect.ServerInterceptor{server}, []connect.ClientInterceptor{client})
		}},
		way{name: "golang-jwt ES256", bound: none, start: func() (func() error, error) {
			peer, token, err := newCallToken()
			if err != nil {
				return nil, err
			}
			return serveConnect(context.Background(), checkClaims,
				[]connect.ServerInterceptor{verifyTokenConnect(peer)}, []connect.ClientInterceptor{sendConnect("Authorization", "Bearer "+token)})
		}},
	))
}

// compressFrom keeps connect from compressing an answer of two bytes, as it
// would do unasked: beside gzip all else is fast.
const compressFrom = 1 << 10

// serveConnect serves the method until the process ends, and returns a call of
// it.
func serveConnect(ctx context.Context, check func(context.Context) error, server []connect.ServerInterceptor, client []connect.ClientInterceptor) (call func() error, err error) {
	spec := connect.Spec{
		StreamType: connect.StreamTypeUnary, Procedure: method,
		Schema: grpc_health_v1.File_grpc_health_v1_health_proto.Services().ByName("Health").Methods().ByName("Check"),
	}
	srv := connect.NewServer(server...)
	srv.Register(connect.Method{Spec: spec, Handler: handler{check: check}.serve})
	mux := http.NewServeMux()
	connecthttp.Mount(mux, srv, connecthttp.WithCompressMinBytes(compressFrom))

	h2 := new(http.Protocols)
	h2.SetUnencryptedHTTP2(true)
	listener := bufconn.Listen(1 << 16)
	httpServer := &http.Server{Handler: mux, Protocols: h2} //nolint:gosec // there is nobody who could be slow on purpose
	go func() { _ = httpServer.Serve(listener) }()
	transport := &http.Transport{Protocols: h2, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return listener.DialContext(ctx) }}
	c := connect.NewClient(principalconnect.NewTransport(&http.Client{Transport: transport}, "http://bench"), client...)

	request := &grpc_health_v1.HealthCheckRequest{Service: "orders"}
	return func() error {
		var response grpc_health_v1.HealthCheckResponse
		err := c.CallUnary(ctx, spec, request, &response)
		if err == nil && response.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			err = errResponse
		}
		return err
	}, nil
}

// serve is what generated code does with a handler.
func (h handler) serve(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
	var request grpc_health_v1.HealthCheckRequest
	if err := stream.Receive(&request); err != nil {
		return err
	}
	response, err := h.Check(ctx, &request)
	if err != nil {
		return err
	}
	return stream.Send(response)
}

func verifyTokenConnect(peer *jwtPeer) connect.ServerInterceptor {
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			info, ok := connect.CallInfoForServerContext(ctx)
			if !ok {
				return errJWT
			}
			c, err := peer.verifyBearer(info.RequestHeader().Values("Authorization"))
			if err != nil {
				return err
			}
			return next(withClaims(ctx, c), spec, stream)
		}
	}
}

func sendConnect(name, value string) connect.ClientInterceptor {
	return func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			info, ok := connect.CallInfoForClientContext(ctx)
			if !ok {
				return nil, errJWT
			}
			info.RequestHeader().Set(name, value)
			return next(ctx, spec)
		}
	}
}
