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
// principal does, and every call when that is revoked: the context of its handler
// ends, and what the handler returns goes nowhere.
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
	inner, life, reason := guard.Begin(&a, false)
	if life == nil && reason == 0 {
		return s.call(inner, req, info, handler)
	}
	if reason == 0 {
		var held *heldTrailer
		inner, held = holdTrailer(inner, life)
		resp, err = s.call(inner, req, info, handler)
		if reason = life.Close(); reason == 0 {
			held.release()
			return resp, err
		}
	}
	_ = grpc.SetTrailer(ctx, trailer(reason)) // as above
	return nil, statusOf(reason.Code())
}

func (*server) call(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	defer stopPanic(ctx, info.FullMethod, &err)
	return handler(ctx, req)
}

func (s *server) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	call := callFrom(stream.Context(), info.FullMethod)
	call.Lease = metadata.ValueFromIncomingContext(stream.Context(), principal.LeaseHeaderName)
	a, err := s.guard.Admit(stream.Context(), call)
	switch {
	case err != nil:
		return refuse(stream, guard.Reason(err))
	case a.Renewal:
		return nil
	}
	ctx, life, reason := guard.Begin(&a, true)
	switch {
	case reason != 0:
		return refuse(stream, reason)
	case life == nil:
		return s.handle(srv, &serverStream{ServerStream: stream, ctx: ctx}, info, handler)
	}
	if id := life.Lease(); id != "" {
		_ = stream.SendHeader(metadata.Pairs(principal.LeaseHeaderName, id)) // fails if the client has gone
	}
	ctx, held := holdTrailer(ctx, life)
	gate := guard.NewGate(life, stream.RecvMsg, stream.SendMsg)
	err = s.handle(srv, &gatedStream{serverStream{ServerStream: stream, ctx: ctx}, gate, held}, info, handler)
	if reason := gate.Close(); reason != 0 {
		gate.Settle()
		return refuse(stream, reason)
	}
	held.release()
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
	held *heldTrailer
}

func (s *gatedStream) RecvMsg(m any) error { return ended(s.gate.Life, s.gate.Receive(m)) }

func (s *gatedStream) SendMsg(m any) error { return ended(s.gate.Life, s.gate.Send(m)) }

func (s *gatedStream) SetHeader(md metadata.MD) error {
	return ended(s.gate.Life, s.gate.Do(func() error { return s.ServerStream.SetHeader(md) }))
}

func (s *gatedStream) SendHeader(md metadata.MD) error {
	return ended(s.gate.Life, s.gate.Do(func() error { return s.ServerStream.SendHeader(md) }))
}

func (s *gatedStream) SetTrailer(md metadata.MD) {
	if s.held == nil { // a stream without a transport
		s.ServerStream.SetTrailer(md)
		return
	}
	_ = s.held.SetTrailer(md)
}

// ended gives a handler the error that its caller will see.
func ended(life *guard.Life, err error) error {
	if err == guard.ErrEnded { //nolint:errorlint // it is ours and never wrapped
		return statusOf(life.Code())
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
		Origin:    origin{},
		RequestID: guard.Single(metadata.ValueFromIncomingContext(ctx, principal.RequestIDHeaderName)),
		TraceID:   principal.TraceID(metadata.ValueFromIncomingContext(ctx, guard.TraceParent)),
	}
}

// origin finds out where the call of a context came from: it costs a copy of
// both.
type origin struct{}

func (origin) Origin(ctx context.Context) (address string, userAgent []string) {
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		address = p.Addr.String()
	}
	return address, metadata.ValueFromIncomingContext(ctx, "user-agent")
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
