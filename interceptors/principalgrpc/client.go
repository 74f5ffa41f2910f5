package principalgrpc

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// DialOptions returns what makes a connection to the service audience take the
// principal of each call's context along. A call with a context that no guard
// has seen fails with FAILED_PRECONDITION, and nothing is sent; the error wraps
// [principal.ErrNoPrincipal]. An anonymous call goes out without a header.
//
// The header is made for each attempt, also where grpc-go retries, so that a
// link is fresh when it is presented, and used once where the method asks for
// that. Every other spelling of our header in the outgoing metadata is removed,
// and x-request-id is passed on.
//
// If p is [principal.Propagator.Leasing], streams are renewed while they are
// open.
//
// The connection needs no TLS for this, but without TLS whoever can listen can
// read the header.
func DialOptions(p *principal.Propagator, audience string) []grpc.DialOption {
	c := &client{propagator: guard.NeedPropagator(p), audience: audience}
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(c.unary),
		grpc.WithChainStreamInterceptor(c.stream),
		grpc.WithPerRPCCredentials(attempt{c}),
	}
}

type client struct {
	propagator *principal.Propagator
	audience   string
}

func (c *client) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	ctx, err := c.prepare(ctx)
	if err != nil {
		return err
	}
	return invoker(ctx, method, req, reply, cc, opts...)
}

func (c *client) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx, err := c.prepare(ctx)
	if err != nil {
		return nil, err
	}
	renewer := c.propagator.Renewer(ctx)
	if renewer != nil {
		ctx = metadata.AppendToOutgoingContext(ctx, principal.LeaseHeaderName, principal.LeaseWanted)
	}
	stream, err := streamer(ctx, desc, cc, method, opts...)
	if err == nil && renewer != nil {
		go keep(stream, renewer, func(ctx context.Context) (grpc.ClientStream, error) {
			return streamer(ctx, renewal, cc, method) // without options, which may have been made for one call
		})
	}
	return stream, err
}

// prepare refuses a call that may not be sent, with the right code: an error of
// an attempt would reach the caller as INTERNAL. It names no method, so that
// what it makes can be kept and is not the one use of anything.
func (c *client) prepare(ctx context.Context) (context.Context, error) {
	if _, err := c.propagator.Header(ctx, c.audience, ""); err != nil {
		return nil, sendError{guard.NewSendError(err)}
	}
	md, ok := metadata.FromOutgoingContext(ctx)
	if ok && guard.Strip(md, principal.RequestID(ctx) != "") {
		ctx = metadata.NewOutgoingContext(ctx, md)
	}
	return ctx, nil
}

// attempt adds the header to one attempt of a call.
type attempt struct{ *client }

var _ credentials.PerRPCCredentials = attempt{}

// GetRequestMetadata returns the header. Calls that grpc-go makes for itself,
// such as health checks of a connection, have passed no interceptor and carry
// no principal.
func (a attempt) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	info, _ := credentials.RequestInfoFromContext(ctx)
	header, err := a.propagator.Header(ctx, a.audience, info.Method)
	switch {
	case errors.Is(err, principal.ErrNoPrincipal):
		return nil, nil
	case err != nil:
		return nil, sendError{guard.NewSendError(err)}.GRPCStatus().Err()
	}
	binary, id := header.Binary(), principal.RequestID(ctx)
	if binary == "" && id == "" {
		return nil, nil
	}
	md := make(map[string]string, 2)
	if binary != "" {
		md[principal.HeaderName] = binary
	}
	if id != "" {
		md[principal.RequestIDHeaderName] = id
	}
	return md, nil
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials].
func (attempt) RequireTransportSecurity() bool { return false }

// sendError is a [guard.SendError] that has a gRPC status.
type sendError struct{ *guard.SendError }

// GRPCStatus is what a caller sees if a handler returns the error as its own.
func (e sendError) GRPCStatus() *status.Status {
	return status.New(codes.Code(e.Code()), e.Code().Message())
}
