package principalgrpc

import (
	"context"
	"crypto/tls"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// maxHeaderList bounds all headers of a call together. grpc-go's default is
// 16 MiB, which every caller could make a server hold.
const maxHeaderList = 16 << 10

// ServerOptions returns what makes a server decide each call with g before its
// handler runs: interceptors for unary and for streaming methods, and a limit
// of 16 KiB on the headers of a call. grpc-go takes the last of several limits,
// so a [grpc.MaxHeaderListSize] after these options replaces this one.
//
// A call that is refused gets the constant text of its code, and the reason in
// the trailer x-principal-reason. A stream ends with UNAUTHENTICATED when its
// principal does.
//
// Put them first: interceptors that follow see the principal. A panic in a
// handler is answered with INTERNAL, and logged with its stack but without its
// value; a recovery interceptor of your own that follows comes before that.
func ServerOptions(g *principal.Guard) []grpc.ServerOption {
	s := &server{guard: guard.Need(g)}
	return []grpc.ServerOption{
		grpc.MaxHeaderListSize(maxHeaderList),
		grpc.ChainUnaryInterceptor(s.unary),
		grpc.ChainStreamInterceptor(s.stream),
	}
}

type server struct{ guard *principal.Guard }

func (s *server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	a, err := s.guard.Admit(ctx, callFrom(ctx, info.FullMethod))
	if err != nil {
		reason := guard.Reason(err)
		_ = grpc.SetTrailer(ctx, trailer(reason)) // fails only where there is no stream to refuse
		return nil, statusOf(reason.Code())
	}
	ctx, life := guard.Begin(&a, false)
	resp, err = s.call(ctx, req, info, handler)
	if reason := life.Close(); reason != 0 {
		_ = grpc.SetTrailer(ctx, trailer(reason)) // as above
		return nil, statusOf(reason.Code())
	}
	return resp, err
}

func (*server) call(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	defer stopPanic(ctx, info.FullMethod, &err)
	return handler(ctx, req)
}

func (s *server) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	a, err := s.guard.Admit(stream.Context(), callFrom(stream.Context(), info.FullMethod))
	if err != nil {
		return refuse(stream, guard.Reason(err))
	}
	ctx, life := guard.Begin(&a, true)
	if life == nil {
		return s.handle(srv, &serverStream{ServerStream: stream, ctx: ctx}, info, handler)
	}
	gate := guard.NewGate(life, stream.RecvMsg, stream.SendMsg)
	err = s.handle(srv, &gatedStream{serverStream{ServerStream: stream, ctx: ctx}, gate}, info, handler)
	if reason := gate.Close(); reason != 0 {
		gate.Settle()
		return refuse(stream, reason)
	}
	return err
}

func (s *server) handle(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer stopPanic(stream.Context(), info.FullMethod, &err)
	return handler(srv, stream)
}

func stopPanic(ctx context.Context, method string, err *error) {
	if recover() == nil {
		return
	}
	guard.LogPanic(ctx, method)
	*err = statusOf(principal.CodeInternal)
}

// serverStream is a stream with the context that carries the principal.
type serverStream struct {
	grpc.ServerStream

	ctx context.Context //nolint:containedctx // grpc.ServerStream hands contexts over this way
}

func (s *serverStream) Context() context.Context { return s.ctx }

// gatedStream is a stream that ends with its principal.
type gatedStream struct {
	serverStream

	gate *guard.Gate
}

func (s *gatedStream) RecvMsg(m any) error { return s.ended(s.gate.Receive(m)) }

func (s *gatedStream) SendMsg(m any) error { return s.ended(s.gate.Send(m)) }

// ended gives a handler the error that its caller will see.
func (*gatedStream) ended(err error) error {
	if err == guard.ErrEnded { //nolint:errorlint // it is ours and never wrapped
		return statusOf(principal.CodeUnauthenticated)
	}
	return err
}

func refuse(stream grpc.ServerStream, reason principal.Reason) error {
	stream.SetTrailer(trailer(reason))
	return statusOf(reason.Code())
}

func trailer(reason principal.Reason) metadata.MD {
	return metadata.MD{principal.ReasonHeaderName: {reason.String()}}
}

func statusOf(code principal.Code) error {
	return status.Error(codes.Code(code), code.Message())
}

// callFrom describes a call. Other spellings of our header are keys of their
// own to gRPC, and nobody reads them.
func callFrom(ctx context.Context, method string) principal.Call {
	return principal.Call{
		Procedure: method,
		Values:    metadata.ValueFromIncomingContext(ctx, principal.HeaderName),
		TLS:       connectionState(ctx),
		RequestID: guard.Single(metadata.ValueFromIncomingContext(ctx, principal.RequestIDHeaderName)),
		TraceID:   principal.TraceID(metadata.ValueFromIncomingContext(ctx, guard.TraceParent)),
	}
}

func connectionState(ctx context.Context) *tls.ConnectionState {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
		state := info.State // apart from info, whose copy cleartext connections would pay for too
		return &state
	}
	return nil
}
