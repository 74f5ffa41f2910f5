package contract_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalgrpc"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

// A bench is what a benchmark measures: calls, or the messages of one stream.
type bench func() error

// compare runs a benchmark without principals, and with the standard principal
// verified from the cache and passed on from the cache of links. It takes turns,
// so that what else the machine does falls on all alike, and reports medians:
// nanoseconds without, and how much longer it takes with.
func compare(b *testing.B, start func(b *testing.B, ctx context.Context, guard *principal.Guard, propagator *principal.Propagator) bench) {
	b.Helper()
	iss := principaltest.NewIssuer(b)
	guard := guardOf(b, iss.Verifier("next", principal.AcceptRelay(principaltest.TrustDomain)), rules(anyKind()))
	propagator := iss.Propagator("s2")
	benches := []bench{start(b, b.Context(), nil, nil)}
	for _, audience := range []string{principaltest.TrustDomain, "s2"} {
		ctx := iss.ContextOf("s2", iss.Header(audience, principaltest.Standard()))
		benches = append(benches, start(b, ctx, guard, propagator))
	}
	const turn = 20
	times := make([][]time.Duration, len(benches))
	for b.Loop() {
		for i, step := range benches {
			begin := time.Now()
			for range turn {
				if err := step(); err != nil {
					b.Fatal(err)
				}
			}
			times[i] = append(times[i], time.Since(begin)/turn)
		}
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2])
	}
	bare := median(times[0])
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(bare, "bare-ns")
	b.ReportMetric(median(times[1])/bare, "relay/bare")
	b.ReportMetric(median(times[2])/bare, "linked/bare")
}

// plain is a service that answers and does nothing else.
var plain = grpc.ServiceDesc{
	ServiceName: serviceName,
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: unary.String(),
		Handler: func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			in := new(value)
			if err := decode(in); err != nil {
				return nil, err
			}
			handler := func(_ context.Context, req any) (any, error) { return req, nil }
			if interceptor == nil {
				return handler(ctx, in)
			}
			return interceptor(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: unary.procedure()}, handler)
		},
	}},
	Streams: []grpc.StreamDesc{{StreamName: bidi.String(), ServerStreams: true, ClientStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
		return echo(bidi, grpcMessages{stream})
	}}},
}

func BenchmarkGRPC(b *testing.B) {
	start := func(b *testing.B, guard *principal.Guard, propagator *principal.Propagator) *grpc.ClientConn {
		b.Helper()
		var serving []grpc.ServerOption
		var dialling []grpc.DialOption
		if guard != nil {
			serving, dialling = principalgrpc.ServerOptions(guard), principalgrpc.DialOptions(propagator, "next")
		}
		srv := grpc.NewServer(serving...)
		srv.RegisterService(&plain, nil)
		l := bufconn.Listen(1 << 16)
		go func() { _ = srv.Serve(l) }()
		b.Cleanup(srv.Stop)
		return connTo(b, &server{listener: l}, dialling...)
	}
	b.Run("unary", func(b *testing.B) {
		compare(b, func(b *testing.B, ctx context.Context, guard *principal.Guard, propagator *principal.Propagator) bench {
			conn, in, out := start(b, guard, propagator), wrapperspb.String("one"), new(value)
			return func() error { return conn.Invoke(ctx, unary.procedure(), in, out) }
		})
	})
	b.Run("message", func(b *testing.B) {
		compare(b, func(b *testing.B, ctx context.Context, guard *principal.Guard, propagator *principal.Propagator) bench {
			stream, err := start(b, guard, propagator).NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, bidi.procedure())
			if err != nil {
				b.Fatal(err)
			}
			in, out := wrapperspb.String("one"), new(value)
			return func() error { return errors.Join(stream.SendMsg(in), stream.RecvMsg(out)) }
		})
	})
}

func BenchmarkConnect(b *testing.B) {
	start := func(b *testing.B, guard *principal.Guard, propagator *principal.Propagator, options ...connecthttp.Option) *connect.Client {
		b.Helper()
		var serving []connect.ServerInterceptor
		var calling []connect.ClientInterceptor
		if guard != nil {
			serving = append(serving, principalconnect.NewServerInterceptor(guard))
			calling = append(calling, principalconnect.NewClientInterceptor(propagator, "next"))
		}
		srv := connect.NewServer(serving...)
		srv.Register(
			connect.Method{Spec: spec(unary), Handler: func(_ context.Context, _ connect.Spec, stream connect.ServerStream) error {
				m := new(value)
				if err := stream.Receive(m); err != nil {
					return err
				}
				return stream.Send(m)
			}},
			connect.Method{Spec: spec(bidi), Handler: func(_ context.Context, _ connect.Spec, stream connect.ServerStream) error {
				return echo(bidi, connectMessages{stream})
			}})
		mux := http.NewServeMux()
		connecthttp.Mount(mux, srv)
		s := &server{listener: bufconn.Listen(1 << 16)}
		httpServer := &http.Server{Handler: mux, Protocols: new(http.Protocols)}
		httpServer.Protocols.SetUnencryptedHTTP2(true)
		go func() { _ = httpServer.Serve(s.listener) }()
		b.Cleanup(func() { _ = httpServer.Close() })
		transport := principalconnect.NewTransport(&http.Client{Transport: httpTransport(b, s)}, nextURL, options...)
		return connect.NewClient(transport, calling...)
	}
	for _, protocol := range []struct {
		name   string
		option connecthttp.Option
	}{{"connect", nil}, {"grpc", connecthttp.WithGRPC()}} {
		var options []connecthttp.Option
		if protocol.option != nil {
			options = append(options, protocol.option)
		}
		b.Run(protocol.name+"/unary", func(b *testing.B) {
			compare(b, func(b *testing.B, ctx context.Context, guard *principal.Guard, propagator *principal.Propagator) bench {
				client, in, out := start(b, guard, propagator, options...), wrapperspb.String("one"), new(value)
				return func() error { return client.CallUnary(ctx, spec(unary), in, out) }
			})
		})
		b.Run(protocol.name+"/message", func(b *testing.B) {
			compare(b, func(b *testing.B, ctx context.Context, guard *principal.Guard, propagator *principal.Propagator) bench {
				client, in, out := start(b, guard, propagator, options...), wrapperspb.String("one"), new(value)
				stream, err := client.CallClientStream(ctx, spec(bidi))
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = stream.Close() })
				return func() error { return errors.Join(stream.Send(in), stream.Receive(out)) }
			})
		})
	}
}
