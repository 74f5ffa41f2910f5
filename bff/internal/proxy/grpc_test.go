package proxy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// testService records the metadata of calls and does as it is told.
type testService struct {
	testpb.UnimplementedTestServiceServer
	calls chan metadata.MD
	// ended gets the error with which a bidirectional call's context ended.
	ended chan error
	// bidi replaces the echo of FullDuplexCall.
	bidi func(testpb.TestService_FullDuplexCallServer) error
}

func (s *testService) seen(ctx context.Context) {
	md, _ := metadata.FromIncomingContext(ctx)
	s.calls <- md
}

func (s *testService) UnaryCall(ctx context.Context, req *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	s.seen(ctx)
	if st := req.GetResponseStatus(); st.GetCode() != 0 {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-principal-reason", "kind", "x-principal-bin", "leak", "kept", "yes"))
		return nil, status.Error(codes.Code(st.GetCode()), st.GetMessage())
	}
	_ = grpc.SetHeader(ctx, metadata.Pairs("x-principal-bin", "leak", "x_principal.bin", "leak", "kept", "header"))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-principal-bin", "leak", "x-principal-reason", "scope", "kept", "trailer"))
	return &testpb.SimpleResponse{Payload: req.GetPayload()}, nil
}

func (s *testService) StreamingOutputCall(req *testpb.StreamingOutputCallRequest, stream testpb.TestService_StreamingOutputCallServer) error {
	s.seen(stream.Context())
	for _, p := range req.GetResponseParameters() {
		body := make([]byte, p.GetSize())
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: body}}); err != nil {
			return err
		}
	}
	return nil
}

func (s *testService) StreamingInputCall(stream testpb.TestService_StreamingInputCallServer) error {
	s.seen(stream.Context())
	var sum int32
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&testpb.StreamingInputCallResponse{AggregatedPayloadSize: sum})
		}
		if err != nil {
			return err
		}
		sum += int32(len(req.GetPayload().GetBody()))
	}
}

func (s *testService) FullDuplexCall(stream testpb.TestService_FullDuplexCallServer) error {
	s.seen(stream.Context())
	if s.bidi != nil {
		return s.bidi(stream)
	}
	return s.echo(stream)
}

func (s *testService) echo(stream testpb.TestService_FullDuplexCallServer) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			s.ended <- stream.Context().Err()
			return err
		}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: req.GetPayload()}); err != nil {
			return err
		}
	}
}

func startGRPC(t testing.TB, opts ...grpc.ServerOption) (*testService, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &testService{calls: make(chan metadata.MD, 1000), ended: make(chan error, 1000)}
	server := grpc.NewServer(opts...)
	testpb.RegisterTestServiceServer(server, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return s, l.Addr().String()
}

func dialGRPC(t testing.TB, addr string) testpb.TestServiceClient {
	t.Helper()
	return dialWith(t, addr, insecure.NewCredentials())
}

func dialWith(t testing.TB, addr string, creds credentials.TransportCredentials) testpb.TestServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return testpb.NewTestServiceClient(conn)
}

// gRPC in all its kinds, over all ways in and out.
func TestGRPC(t *testing.T) {
	t.Parallel()
	pair := newPair(t, "orders.internal")
	for _, c := range []struct {
		name            string
		inTLS, upstream *tls.Config
	}{
		{"h2c to h2c", nil, nil},
		{"TLS to h2c", pair.server(), nil},
		{"h2c to TLS", nil, pair.server()},
	} {
		var opts []grpc.ServerOption
		if c.upstream != nil {
			opts = append(opts, grpc.Creds(credentials.NewTLS(c.upstream)))
		}
		service, addr := startGRPC(t, opts...)
		up := upstreamAt("h2c", addr)
		if c.upstream != nil {
			up = upstreamAt("https", addr)
			up.RootCAs, up.ServerName = pair.pool, "orders.internal"
		}
		e := newEdge(t, up, proxy.Options{})
		creds := insecure.NewCredentials()
		if c.inTLS != nil {
			creds = credentials.NewClientTLSFromCert(pair.pool, "orders.internal")
		}
		client := dialWith(t, listen(t, e, c.inTLS), creds)
		t.Run(c.name, func(t *testing.T) {
			t.Run("unary", func(t *testing.T) { testUnary(t, e, client, service) })
			t.Run("server stream", func(t *testing.T) { testServerStream(t, client) })
			t.Run("client stream", func(t *testing.T) { testClientStream(t, client) })
			t.Run("bidirectional", func(t *testing.T) { testBidi(t, client) })
		})
	}
}

func testUnary(t *testing.T, e *edge, client testpb.TestServiceClient, s *testService) {
	ctx := metadata.AppendToOutgoingContext(testContext(t),
		"authorization", "Bearer canary", "x-principal-bin", "Zm9yZ2Vk", "x_principal.bin", "forged",
		"x-request-id", "chosen", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "app_id", "1")
	var header, trailer metadata.MD
	want := []byte("payload")
	res, err := client.UnaryCall(ctx, &testpb.SimpleRequest{Payload: &testpb.Payload{Body: want}}, grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil || string(res.GetPayload().GetBody()) != string(want) {
		t.Fatalf("got %v, %v", res, err)
	}
	md := wait(t, s.calls, "call")
	for name, want := range map[string][]string{
		"x-principal-bin": {"minted"}, "x_principal.bin": nil, "authorization": nil, "x-request-id": {"req_1"},
		"traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, "app_id": {"1"},
	} {
		equal(t, "upstream "+name, md.Get(name), want)
	}
	equal(t, "header kept", header.Get("kept"), []string{"header"})
	equal(t, "trailer kept", trailer.Get("kept"), []string{"trailer"})
	equal(t, "x-request-id", header.Get("x-request-id"), []string{"req_1"})
	noAliases(t, header, trailer)
	out := wait(t, e.outcomes, "outcome")
	if out.Answered.IsZero() {
		t.Error("the answer has no beginning")
	}
	equal(t, "outcome", out, proxy.Outcome{Status: 200, Smuggled: 2, Reason: "scope", Answered: out.Answered, Stream: true})
}

func testServerStream(t *testing.T, client testpb.TestServiceClient) {
	req := &testpb.StreamingOutputCallRequest{}
	for i := range 20 {
		req.ResponseParameters = append(req.ResponseParameters, &testpb.ResponseParameters{Size: int32(i * 10_000)})
	}
	stream, err := client.StreamingOutputCall(testContext(t), req)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		res, err := stream.Recv()
		if err != nil || len(res.GetPayload().GetBody()) != i*10_000 {
			t.Fatalf("message %d: %d bytes, %v", i, len(res.GetPayload().GetBody()), err)
		}
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end is %v", err)
	}
}

func testClientStream(t *testing.T, client testpb.TestServiceClient) {
	stream, err := client.StreamingInputCall(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := stream.Send(&testpb.StreamingInputCallRequest{Payload: &testpb.Payload{Body: make([]byte, 50_000)}}); err != nil {
			t.Fatal(err)
		}
	}
	res, err := stream.CloseAndRecv()
	if err != nil || res.GetAggregatedPayloadSize() != 1_000_000 {
		t.Errorf("got %v, %v", res, err)
	}
}

func testBidi(t *testing.T, client testpb.TestServiceClient) {
	stream := openBidi(t, client)
	for i := range 20 {
		roundTrip(t, stream, i)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end is %v", err)
	}
}

func openBidi(t testing.TB, client testpb.TestServiceClient) testpb.TestService_FullDuplexCallClient {
	t.Helper()
	stream, err := client.FullDuplexCall(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func roundTrip(t testing.TB, stream testpb.TestService_FullDuplexCallClient, i int) {
	t.Helper()
	if err := stream.Send(&testpb.StreamingOutputCallRequest{Payload: &testpb.Payload{Body: make([]byte, i)}}); err != nil {
		t.Fatal(err)
	}
	if res, err := stream.Recv(); err != nil || len(res.GetPayload().GetBody()) != i {
		t.Fatalf("message %d: %v, %v", i, res, err)
	}
}

// A13: a refusal of the service comes through with its code and text, without
// our headers; the record gets the reason.
func TestA13TrailersOnly(t *testing.T) {
	t.Parallel()
	_, addr := startGRPC(t)
	e := startEdge(t, upstreamAt("h2c", addr), proxy.Options{})
	client := dialGRPC(t, e.addr)
	for range 50 { // a flush between header and end would lose the status, now and then
		var header, trailer metadata.MD
		_, err := client.UnaryCall(testContext(t), &testpb.SimpleRequest{
			ResponseStatus: &testpb.EchoStatus{Code: int32(codes.PermissionDenied), Message: "not you"},
		}, grpc.Header(&header), grpc.Trailer(&trailer))
		equal(t, "error", status.Convert(err).String(), status.New(codes.PermissionDenied, "not you").String())
		equal(t, "trailer kept", trailer.Get("kept"), []string{"yes"})
		noAliases(t, header, trailer)
		equal(t, "reason", wait(t, e.outcomes, "outcome").Reason, "kind")
	}
}

// A status that the upstream sends while the client's side is open arrives at
// once (golang/go#80085).
func TestStatusBeforeHalfClose(t *testing.T) {
	t.Parallel()
	for name, messages := range map[string]int{"no message": 0, "after messages": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, addr := startGRPC(t)
			s.bidi = func(stream testpb.TestService_FullDuplexCallServer) error {
				for range messages {
					if err := stream.Send(&testpb.StreamingOutputCallResponse{}); err != nil {
						return err
					}
				}
				return status.Error(codes.ResourceExhausted, "enough")
			}
			e := startEdge(t, upstreamAt("h2c", addr), proxy.Options{})
			stream := openBidi(t, dialGRPC(t, e.addr))
			for range messages {
				if _, err := stream.Recv(); err != nil {
					t.Fatal(err)
				}
			}
			_, err := stream.Recv()
			equal(t, "code", status.Code(err), codes.ResourceExhausted)
			wait(t, e.outcomes, "end of the request")
		})
	}
}

func TestDeadlinePasses(t *testing.T) {
	t.Parallel()
	s, addr := startGRPC(t)
	e := startEdge(t, upstreamAt("h2c", addr), proxy.Options{})
	left := make(chan time.Duration, 1)
	s.bidi = func(stream testpb.TestService_FullDuplexCallServer) error {
		deadline, _ := stream.Context().Deadline()
		left <- time.Until(deadline)
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	stream, err := dialGRPC(t, e.addr).FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if d := wait(t, left, "deadline"); d < 50*time.Minute || d > time.Hour {
		t.Errorf("the upstream has %v", d)
	}
}

func TestCancellation(t *testing.T) {
	t.Parallel()
	t.Run("of the client reaches the upstream", func(t *testing.T) {
		t.Parallel()
		s, addr := startGRPC(t)
		e := startEdge(t, upstreamAt("h2c", addr), proxy.Options{})
		ctx, cancel := context.WithCancel(testContext(t))
		stream, err := dialGRPC(t, e.addr).FullDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, stream, 1)
		cancel()
		equal(t, "upstream", wait(t, s.ended, "end of the upstream's call"), context.Canceled)
		if out := wait(t, e.outcomes, "outcome"); !out.Canceled || out.Ended {
			t.Errorf("outcome %+v", out)
		}
		equal(t, "log", e.log.String(), "")
	})
	t.Run("of the upstream reaches the client", func(t *testing.T) {
		t.Parallel()
		s, addr := startGRPC(t)
		s.bidi = func(testpb.TestService_FullDuplexCallServer) error { return status.Error(codes.Canceled, "stop") }
		e := startEdge(t, upstreamAt("h2c", addr), proxy.Options{})
		stream := openBidi(t, dialGRPC(t, e.addr))
		_, err := stream.Recv()
		equal(t, "client", status.Code(err), codes.Canceled)
		wait(t, e.outcomes, "end of the request")
	})
}
