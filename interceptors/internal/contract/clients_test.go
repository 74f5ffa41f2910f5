package contract_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	connectv1rpc "connectrpc.com/connect"
	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect/connectv1"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalgrpc"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalhttp"
	"github.com/onbehalf-dev/onbehalf/principal"
)

type value = wrapperspb.StringValue

// caller is a client that a propagator stands behind.
type caller struct {
	name string
	// of is the stack that it calls.
	of stack
	// connect returns a function that makes calls of the service "next", which
	// srv serves. extra are headers that the caller sets itself.
	connect func(t testing.TB, srv *server, p *principal.Propagator) call
}

// call calls a method and returns what came back.
type call func(ctx context.Context, s shape, extra map[string]string) (string, error)

var callers = []caller{
	{"grpc-go", stacks[0], callGRPC},
	{"connect-v2/connect", stacks[1], callConnectV2()},
	{"connect-v2/grpc", stacks[1], callConnectV2(connecthttp.WithGRPC())},
	{"connect-v2/grpc-web", stacks[1], callConnectV2(connecthttp.WithGRPCWeb())},
	{"connect-v1/connect", stacks[2], callConnectV1()},
	{"connect-v1/grpc", stacks[2], callConnectV1(connectv1rpc.WithGRPC())},
	{"connect-v1/grpc-web", stacks[2], callConnectV1(connectv1rpc.WithGRPCWeb())},
	{"net-http", stacks[3], callHTTP},
}

// httpTransport reaches srv over HTTP/2, whatever the host.
func httpTransport(t testing.TB, srv *server) *http.Transport {
	t.Helper()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return srv.dial(ctx) },
		Protocols:   new(http.Protocols),
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

const nextURL = "http://next.test"

func callGRPC(t testing.TB, srv *server, p *principal.Propagator) call {
	t.Helper()
	return callGRPCWith(t, srv, principalgrpc.DialOptions(p, "next"))
}

// connTo returns a connection to srv.
func connTo(t testing.TB, srv *server, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	options = append(options,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return srv.dial(ctx) }))
	conn, err := grpc.NewClient("passthrough:///next.test", options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func callGRPCWith(t testing.TB, srv *server, options []grpc.DialOption) call {
	t.Helper()
	conn := connTo(t, srv, options...)
	return func(ctx context.Context, s shape, extra map[string]string) (string, error) {
		if extra != nil {
			ctx = metadata.NewOutgoingContext(ctx, metadata.New(extra))
		}
		if s == unary {
			var out value
			err := conn.Invoke(ctx, s.procedure(), wrapperspb.String("one"), &out)
			return out.GetValue(), err
		}
		desc := &grpc.StreamDesc{ClientStreams: s != serverStream, ServerStreams: s != clientStream}
		stream, err := conn.NewStream(ctx, desc, s.procedure())
		if err != nil {
			return "", err
		}
		return converse(stream.SendMsg, stream.CloseSend, stream.RecvMsg)
	}
}

// converse sends a message, and returns the last one that comes back.
func converse(send func(any) error, closeSend func() error, receive func(any) error) (string, error) {
	if err := send(wrapperspb.String("one")); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if err := closeSend(); err != nil {
		return "", err
	}
	last := ""
	for {
		var m value
		err := receive(&m)
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err != nil {
			return last, err
		}
		last = m.GetValue()
	}
}

func callConnectV2(options ...connecthttp.Option) func(testing.TB, *server, *principal.Propagator) call {
	return func(t testing.TB, srv *server, p *principal.Propagator) call {
		t.Helper()
		transport := principalconnect.NewTransport(&http.Client{Transport: httpTransport(t, srv)}, nextURL, options...)
		return callConnect(connect.NewClient(transport, principalconnect.NewClientInterceptor(p, "next")))
	}
}

func callConnect(client *connect.Client) call {
	return func(ctx context.Context, s shape, extra map[string]string) (string, error) {
		ctx, info := connect.NewClientContext(ctx)
		for name, v := range extra {
			info.RequestHeader().Add(name, v)
		}
		result, err := invokeConnect(ctx, client, s)
		if info.RequestHeader().Has(principal.HeaderName) {
			return "", errors.New("the header stays in what the caller may use again")
		}
		return result, err
	}
}

func invokeConnect(ctx context.Context, client *connect.Client, s shape) (string, error) {
	if s == unary {
		var out value
		err := client.CallUnary(ctx, spec(s), wrapperspb.String("one"), &out)
		return out.GetValue(), err
	}
	if s == serverStream {
		stream, err := client.CallServerStream(ctx, spec(s), wrapperspb.String("one"))
		if err != nil {
			return "", err
		}
		defer stream.Close()
		nothing := func() error { return nil }
		return converse(func(any) error { return nil }, nothing, stream.Receive)
	}
	stream, err := client.CallClientStream(ctx, spec(s))
	if err != nil {
		return "", err
	}
	defer stream.Close()
	return converse(stream.Send, stream.CloseSend, stream.Receive)
}

func callConnectV1(options ...connectv1rpc.ClientOption) func(testing.TB, *server, *principal.Propagator) call {
	return func(t testing.TB, srv *server, p *principal.Propagator) call {
		t.Helper()
		httpClient := connectv1.WithoutRedirects(&http.Client{Transport: httpTransport(t, srv)})
		options := append(options, connectv1rpc.WithInterceptors(connectv1.NewClientInterceptor(p, "next")))
		return func(ctx context.Context, s shape, extra map[string]string) (string, error) {
			client := connectv1rpc.NewClient[value, value](httpClient, nextURL+s.procedure(), options...)
			add := func(h http.Header) {
				for name, v := range extra {
					h[name] = []string{v}
				}
			}
			if s == unary || s == serverStream {
				request := connectv1rpc.NewRequest(wrapperspb.String("one"))
				add(request.Header())
				if s == serverStream {
					return readV1(client.CallServerStream(ctx, request))
				}
				response, err := client.CallUnary(ctx, request)
				if len(request.Header().Values(principal.HeaderName)) > 0 {
					return "", errors.New("the header stays in what the caller may use again")
				}
				if err != nil {
					return "", err
				}
				return response.Msg.GetValue(), nil
			}
			if s == clientStream {
				stream := client.CallClientStream(ctx)
				add(stream.RequestHeader())
				if err := stream.Send(wrapperspb.String("one")); err != nil && !errors.Is(err, io.EOF) {
					return "", err
				}
				response, err := stream.CloseAndReceive()
				if err != nil {
					return "", err
				}
				return response.Msg.GetValue(), nil
			}
			stream := client.CallBidiStream(ctx)
			add(stream.RequestHeader())
			defer stream.CloseResponse()
			receive := func(m any) error {
				got, err := stream.Receive()
				if err == nil {
					m.(*value).Value = got.GetValue()
				}
				return err
			}
			return converse(func(m any) error { return stream.Send(m.(*value)) }, stream.CloseRequest, receive)
		}
	}
}

func readV1(stream *connectv1rpc.ServerStreamForClient[value], err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer stream.Close()
	last := ""
	for stream.Receive() {
		last = stream.Msg().GetValue()
	}
	return last, stream.Err()
}

func callHTTP(t testing.TB, srv *server, p *principal.Propagator) call {
	t.Helper()
	transport := principalhttp.NewTransport(httpTransport(t, srv), p, map[string]string{"next.test": "next"})
	client := &http.Client{Transport: transport}
	return func(ctx context.Context, s shape, extra map[string]string) (string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, nextURL+s.procedure(), strings.NewReader("one\n"))
		if err != nil {
			return "", err
		}
		for name, v := range extra {
			request.Header[name] = []string{v}
		}
		before := request.Header.Clone()
		response, err := client.Do(request)
		if !maps.EqualFunc(before, request.Header, slices.Equal) {
			return "", errors.New("the request of the caller was changed")
		}
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		if response.Request.Header.Get(principal.HeaderName) != request.Header.Get(principal.HeaderName) {
			return "", errors.New("the response shows the header")
		}
		data, err := io.ReadAll(response.Body)
		if response.StatusCode != http.StatusOK {
			return "", statusError(response.StatusCode)
		}
		return strings.TrimSuffix(string(data), "\n"), err
	}
}

// codeOf returns the code of a call's error.
func codeOf(err error) principal.Code {
	if e, ok := errors.AsType[sendError](err); ok {
		return e.Code()
	}
	if e, ok := errors.AsType[*connect.Error](err); ok {
		return principal.Code(e.Code())
	}
	if e, ok := errors.AsType[*connectv1rpc.Error](err); ok {
		return principal.Code(e.Code())
	}
	return principal.Code(status.Code(err))
}

// sendError is what the clients over net/http return, which knows no codes.
type sendError interface {
	error
	Code() principal.Code
}
