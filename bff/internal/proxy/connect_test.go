package proxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"

	connect1 "connectrpc.com/connect"
	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

const echoService = "test.v1.Echo"

var (
	unarySpec  = connect.Spec{Procedure: "/" + echoService + "/Unary", StreamType: connect.StreamTypeUnary, IdempotencyLevel: connect.IdempotencyNoSideEffects}
	serverSpec = connect.Spec{Procedure: "/" + echoService + "/Server", StreamType: connect.StreamTypeServer}
	clientSpec = connect.Spec{Procedure: "/" + echoService + "/Client", StreamType: connect.StreamTypeClient}
	bidiSpec   = connect.Spec{Procedure: "/" + echoService + "/Bidi", StreamType: connect.StreamTypeBidi}
	failSpec   = connect.Spec{Procedure: "/" + echoService + "/Fail", StreamType: connect.StreamTypeServer}
)

// echo is a Connect v2 server that repeats what it is told, and leaks.
func echo(seen chan<- *connect.Header) http.Handler {
	handle := func(replies int) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			info, _ := connect.CallInfoForServerContext(ctx)
			seen <- info.RequestHeader()
			info.ResponseHeader().Set("X-Principal-Bin", "leak")
			info.ResponseHeader().Set("Kept", "header")
			info.ResponseTrailer().Set("X-Principal-Bin", "leak")
			info.ResponseTrailer().Set("X-Principal-Reason", "scope")
			info.ResponseTrailer().Set("Kept", "trailer")
			var last wrapperspb.StringValue
			for {
				var msg wrapperspb.StringValue
				err := stream.Receive(&msg)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					return err
				}
				last.Value = msg.Value
				if spec.StreamType == connect.StreamTypeBidi {
					if err := stream.Send(&msg); err != nil {
						return err
					}
				} else if spec.StreamType != connect.StreamTypeClient {
					break
				}
			}
			for range replies {
				if err := stream.Send(&last); err != nil {
					return err
				}
			}
			if spec.Procedure == failSpec.Procedure {
				return connect.NewError(connect.CodeFailedPrecondition, "as asked")
			}
			return nil
		}
	}
	server := connect.NewServer()
	server.Register(
		connect.Method{Spec: unarySpec, Handler: handle(1)}, connect.Method{Spec: serverSpec, Handler: handle(3)},
		connect.Method{Spec: clientSpec, Handler: handle(1)}, connect.Method{Spec: bidiSpec, Handler: handle(0)},
		connect.Method{Spec: failSpec, Handler: handle(1)},
	)
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server)
	return mux
}

// Connect v2 in its three protocols, over all ways in and out.
func TestConnect(t *testing.T) {
	t.Parallel()
	for protocol, opts := range map[string][]connecthttp.Option{
		"Connect": nil, "Connect with gzip": {connecthttp.WithSendGzip()}, "Connect JSON": {connecthttp.WithProtoJSON()},
		"gRPC": {connecthttp.WithGRPC()}, "gRPC-Web": {connecthttp.WithGRPCWeb()},
	} {
		for in, set := range map[string]func(*http.Protocols){"HTTP/1.1": http1, "h2c": h2c} {
			for _, out := range []string{"http", "h2c"} {
				if protocol == "gRPC" && (in == "HTTP/1.1" || out == "http") {
					continue // gRPC needs HTTP/2
				}
				t.Run(protocol+" "+in+" to "+out, func(t *testing.T) {
					t.Parallel()
					seen := make(chan *connect.Header, 10)
					e := startEdge(t, upstreamAt(out, listen(t, echo(seen), nil)), proxy.Options{})
					client := connect.NewClient(connecthttp.NewTransport(clientFor(t, set), "http://"+e.addr, opts...))
					testConnectUnary(t, client, e, seen)
					testConnectStreams(t, client, e, seen)
					if in == "h2c" && out == "h2c" {
						testConnectBidi(t, client, e)
					}
				})
			}
		}
	}
}

func testConnectUnary(t *testing.T, client *connect.Client, e *edge, seen <-chan *connect.Header) {
	t.Helper()
	ctx, info := connect.NewClientContext(testContext(t))
	info.RequestHeader().Set("Authorization", "Bearer canary")
	info.RequestHeader().Set("X_Principal_Bin", "forged")
	var res wrapperspb.StringValue
	if err := client.CallUnary(ctx, unarySpec, wrapperspb.String("hello"), &res); err != nil || res.Value != "hello" {
		t.Fatalf("unary: %v, %v", &res, err)
	}
	checkConnect(t, "unary", info, e)
	h := wait(t, seen, "call")
	equal(t, "principal", h.Values("X-Principal-Bin"), []string{minted})
	if h.Has("Authorization") || h.Has("X_principal_bin") {
		t.Error("unary: the credential or an alias reached the upstream")
	}
}

func testConnectStreams(t *testing.T, client *connect.Client, e *edge, seen <-chan *connect.Header) {
	t.Helper()
	for name, spec := range map[string]connect.Spec{"server stream": serverSpec, "failing stream": failSpec} {
		ctx, info := connect.NewClientContext(testContext(t))
		stream, err := client.CallServerStream(ctx, spec, wrapperspb.String("hello"))
		if err != nil {
			t.Fatal(name, err)
		}
		n, err := receiveAll(stream)
		switch {
		case name == "server stream" && (n != 3 || !errors.Is(err, io.EOF)),
			name == "failing stream" && (n != 1 || connect.CodeOf(err) != connect.CodeFailedPrecondition):
			t.Errorf("%s: %d messages, %v", name, n, err)
		}
		wait(t, seen, "call")
		checkConnect(t, name, info, e)
	}
	ctx, info := connect.NewClientContext(testContext(t))
	stream, err := client.CallClientStream(ctx, clientSpec)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"a", "b"} {
		if err := stream.Send(wrapperspb.String(s)); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	var res wrapperspb.StringValue
	if err := stream.Receive(&res); err != nil || res.Value != "b" {
		t.Errorf("client stream: %v, %v", &res, err)
	}
	if n, err := receiveAll(stream); n > 0 || !errors.Is(err, io.EOF) {
		t.Errorf("client stream: %d more, %v", n, err)
	}
	wait(t, seen, "call")
	checkConnect(t, "client stream", info, e)
}

func testConnectBidi(t *testing.T, client *connect.Client, e *edge) {
	t.Helper()
	ctx, info := connect.NewClientContext(testContext(t))
	stream, err := client.CallClientStream(ctx, bidiSpec)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"a", "b"} {
		var res wrapperspb.StringValue
		if err := stream.Send(wrapperspb.String(s)); err != nil {
			t.Fatal(err)
		}
		if err := stream.Receive(&res); err != nil || res.Value != s {
			t.Fatalf("bidi: %v, %v", &res, err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if n, err := receiveAll(stream); n > 0 || !errors.Is(err, io.EOF) {
		t.Errorf("bidi: %d more, %v", n, err)
	}
	checkConnect(t, "bidi", info, e)
}

func receiveAll(stream connect.ClientStream) (n int, err error) {
	defer stream.Close()
	for {
		var msg wrapperspb.StringValue
		if err := stream.Receive(&msg); err != nil {
			return n, err
		}
		n++
	}
}

// checkConnect: what the upstream leaked did not come through, the rest did.
func checkConnect(t *testing.T, what string, info *connect.CallInfo, e *edge) {
	t.Helper()
	equal(t, what+": header", info.ResponseHeader().Values("Kept"), []string{"header"})
	equal(t, what+": trailer", info.ResponseTrailer().Values("Kept"), []string{"trailer"})
	for _, h := range []*connect.Header{info.ResponseHeader(), info.ResponseTrailer()} {
		for name, values := range h.All() {
			noAliases(t, map[string][]string{name: values})
		}
	}
	equal(t, what+": reason", wait(t, e.outcomes, "outcome").Reason, "scope")
}

func TestConnectGet(t *testing.T) {
	t.Parallel()
	seen := make(chan *connect.Header, 1)
	e := startEdge(t, upstreamAt("h2c", listen(t, echo(seen), nil)), proxy.Options{CredentialHeaders: []string{"X-Api-Key"}})
	client := connect.NewClient(connecthttp.NewTransport(clientFor(t, http1), "http://"+e.addr, connecthttp.WithHTTPGet()))
	ctx, info := connect.NewClientContext(testContext(t))
	var res wrapperspb.StringValue
	if err := client.CallUnary(ctx, unarySpec, wrapperspb.String("hello"), &res); err != nil || res.Value != "hello" {
		t.Fatalf("%v, %v", &res, err)
	}
	if vary := info.ResponseHeader().Values("Vary"); !slices.Contains(vary, "Authorization, Cookie, X-Api-Key") {
		t.Errorf("a cache may serve the response to another caller: Vary is %q", vary)
	}
}

// Clients and services that are still on Connect v1.
func TestConnectV1(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.Handle("/"+echoService+"/Server", connect1.NewServerStreamHandler("/"+echoService+"/Server",
		func(_ context.Context, req *connect1.Request[wrapperspb.StringValue], stream *connect1.ServerStream[wrapperspb.StringValue]) error {
			stream.ResponseTrailer().Set("X-Principal-Bin", "leak")
			if err := stream.Send(req.Msg); err != nil {
				return err
			}
			return connect1.NewError(connect1.CodeDataLoss, errors.New("as asked"))
		}))
	for name, opt := range map[string]connect1.ClientOption{
		"Connect": connect1.WithClientOptions(), "gRPC": connect1.WithGRPC(), "gRPC-Web": connect1.WithGRPCWeb(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startEdge(t, upstreamAt("h2c", listen(t, mux, nil)), proxy.Options{})
			client := connect1.NewClient[wrapperspb.StringValue, wrapperspb.StringValue](clientFor(t, h2c), "http://"+e.addr+"/"+echoService+"/Server", opt)
			stream, err := client.CallServerStream(testContext(t), connect1.NewRequest(wrapperspb.String("hello")))
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Close()
			if !stream.Receive() || stream.Msg().Value != "hello" {
				t.Fatal(stream.Err())
			}
			if stream.Receive() || connect1.CodeOf(stream.Err()) != connect1.CodeDataLoss {
				t.Errorf("the end is %v", stream.Err())
			}
			noAliases(t, stream.ResponseHeader(), stream.ResponseTrailer())
		})
	}
}
