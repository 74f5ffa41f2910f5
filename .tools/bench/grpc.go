package main

import (
	"context"
	"errors"
	"net"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalgrpc"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// grpcFigures are those of a unary call of grpc-go over a connection in memory
// that has made the same call before, so that HPACK sends an index in place of
// a header.
func grpcFigures(w *world, _ setting) ([]figure, error) {
	ways := []way{{name: "bare", start: func() (func() error, error) {
		return serveGRPC(context.Background(), checkNothing, nil, nil)
	}}}
	for _, m := range modes {
		const cause = "about half is what grpc-go takes to carry a -bin header of this size, base64 in every call: see the row of the header that nobody reads"
		ways = append(ways, way{name: string(m) + ", cached", bound: 1.1, cause: cause, start: func() (func() error, error) {
			h, err := w.hop(m)
			if err != nil {
				return nil, err
			}
			return serveGRPC(h.ctx, checkPrincipal(m), principalgrpc.ServerOptions(h.guard), principalgrpc.DialOptions(h.propagator, path[1]))
		}})
	}
	return callFigures(w, "grpc-go", append(ways,
		way{name: "the relay header that nobody reads", bound: none, start: func() (func() error, error) {
			header, err := w.sign(relay)
			if err != nil {
				return nil, err
			}
			ctx := metadata.AppendToOutgoingContext(context.Background(), principal.HeaderName, header)
			return serveGRPC(ctx, checkNothing, nil, nil)
		}},
		way{name: "otelgrpc, no-op", bound: none, start: func() (func() error, error) {
			options := []otelgrpc.Option{
				otelgrpc.WithTracerProvider(tracenoop.NewTracerProvider()),
				otelgrpc.WithMeterProvider(metricnoop.NewMeterProvider()),
				otelgrpc.WithPropagators(propagation.TraceContext{}),
			}
			return serveGRPC(context.Background(), checkNothing,
				[]grpc.ServerOption{grpc.StatsHandler(otelgrpc.NewServerHandler(options...))},
				[]grpc.DialOption{grpc.WithStatsHandler(otelgrpc.NewClientHandler(options...))})
		}},
		way{name: "golang-jwt ES256", bound: none, start: func() (func() error, error) {
			peer, token, err := newCallToken()
			if err != nil {
				return nil, err
			}
			ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+token)
			return serveGRPC(ctx, checkClaims, []grpc.ServerOption{grpc.UnaryInterceptor(verifyTokenGRPC(peer))}, nil)
		}},
	))
}

// serveGRPC serves the method until the process ends, and returns a call of it.
func serveGRPC(ctx context.Context, check func(context.Context) error, server []grpc.ServerOption, client []grpc.DialOption) (call func() error, err error) {
	listener := bufconn.Listen(1 << 16)
	srv := grpc.NewServer(server...)
	grpc_health_v1.RegisterHealthServer(srv, handler{check: check})
	go func() { _ = srv.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///bench", append(client,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
	)...)
	if err != nil {
		return nil, err
	}
	health := grpc_health_v1.NewHealthClient(conn)
	request := &grpc_health_v1.HealthCheckRequest{Service: "orders"}
	return func() error {
		response, err := health.Check(ctx, request)
		if err == nil && response.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			err = errResponse
		}
		return err
	}, nil
}

var errResponse = errors.New("the response is not what the handler sent")

func verifyTokenGRPC(peer *jwtPeer) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		c, err := peer.verifyBearer(metadata.ValueFromIncomingContext(ctx, "authorization"))
		if err != nil {
			return nil, err
		}
		return next(withClaims(ctx, c), req)
	}
}
