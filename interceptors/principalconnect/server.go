package principalconnect

import (
	"context"
	"net/http"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// NewServerInterceptor returns an interceptor that decides each call with g
// before its handler runs and before a message of it is decoded.
//
// A call that is refused gets the constant text of its code, and the reason as
// x-principal-reason: a header in unary Connect, else a trailer. A stream ends
// with CodeUnauthenticated when its principal does.
//
// Put it first: interceptors that follow see the principal. A panic in a handler
// is answered with CodeInternal, and logged with its stack but without its
// value; a recovery interceptor of your own that follows comes before that.
func NewServerInterceptor(g *principal.Guard) connect.ServerInterceptor {
	s := &server{guard: guard.Need(g)}
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			return s.serve(ctx, spec, stream, next)
		}
	}
}

// Check returns an error that names every method registered with srv that has
// no access rule, and would therefore always be refused. Call it when all
// services are registered and before srv serves.
func Check(srv *connect.Server, g *principal.Guard) error {
	var methods []string
	for spec := range srv.Specs() {
		methods = append(methods, spec.Procedure)
	}
	return g.CheckMethods(methods)
}

type server struct{ guard *principal.Guard }

func (s *server) serve(ctx context.Context, spec connect.Spec, stream connect.ServerStream, next connect.ServerFunc) error {
	a, err := s.guard.Admit(ctx, callFrom(ctx, spec.Procedure))
	if err != nil {
		return refuse(ctx, spec, guard.Reason(err))
	}
	streamCtx, life := guard.Begin(&a, spec.StreamType != connect.StreamTypeUnary)
	if life == nil {
		return handle(streamCtx, spec, stream, next)
	}
	gate := guard.NewGate(life, stream.Receive, stream.Send)
	defer gate.Close() // if a panic comes through
	err = handle(streamCtx, spec, &gatedStream{ServerStream: stream, gate: gate}, next)
	if reason := gate.Close(); reason != 0 {
		gate.Settle()
		return refuse(ctx, spec, reason)
	}
	return err
}

func handle(ctx context.Context, spec connect.Spec, stream connect.ServerStream, next connect.ServerFunc) (err error) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			panic(v) // how a handler asks net/http to cut the connection
		default:
			guard.LogPanic(ctx, spec.Procedure)
			err = errorOf(principal.CodeInternal)
		}
	}()
	return next(ctx, spec, stream)
}

// gatedStream is a stream that ends with its principal.
type gatedStream struct {
	connect.ServerStream

	gate *guard.Gate
}

func (s *gatedStream) Receive(m any) error { return ended(s.gate.Receive(m)) }

func (s *gatedStream) Send(m any) error { return ended(s.gate.Send(m)) }

func (s *gatedStream) SendHeaders() error {
	return ended(s.gate.Do(s.ServerStream.SendHeaders))
}

// ended gives a handler the error that its caller will see.
func ended(err error) error {
	if err == guard.ErrEnded { //nolint:errorlint // it is ours and never wrapped
		return errorOf(principal.CodeUnauthenticated).WithCause(err)
	}
	return err
}

func refuse(ctx context.Context, spec connect.Spec, reason principal.Reason) error {
	if info, ok := connect.CallInfoForServerContext(ctx); ok {
		where := info.ResponseTrailer()
		if info.Protocol == connect.ProtocolNameConnect && spec.StreamType == connect.StreamTypeUnary {
			where = info.ResponseHeader() // where a trailer would be one too, under another name
		}
		where.Set(guard.ReasonHeader, reason.String())
	}
	return errorOf(reason.Code())
}

func errorOf(code principal.Code) *connect.Error {
	return connect.NewError(connect.Code(code), code.Message())
}

func callFrom(ctx context.Context, procedure string) principal.Call {
	info, ok := connect.CallInfoForServerContext(ctx)
	if !ok {
		return principal.Call{Procedure: procedure}
	}
	call := guard.TextCall(procedure, info.RequestHeader())
	if transport, ok := info.TransportInfo.(*connecthttp.ServerInfo); ok {
		call.TLS = transport.TLS()
	}
	return call
}
