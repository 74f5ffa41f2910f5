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
// with CodeUnauthenticated when its principal does, and every call when that is
// revoked: the context of its handler ends, and what the handler returns goes
// nowhere.
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
	unary := spec.StreamType == connect.StreamTypeUnary
	a, err := s.guard.Admit(ctx, callFrom(ctx, spec.Procedure, !unary))
	switch {
	case err != nil:
		return refuse(ctx, spec, guard.Reason(err))
	case a.Renewal:
		return nil
	}
	inner, life, reason := guard.Begin(&a, !unary)
	switch {
	case reason != 0:
		return refuse(ctx, spec, reason)
	case life == nil:
		return handle(inner, spec, stream, next)
	}
	defer life.Close() // if a panic comes through
	if unary {
		err = handle(inner, spec, &unaryStream{ServerStream: stream, life: life}, next)
		reason = life.Close()
	} else {
		lease(ctx, life, stream)
		gate := guard.NewGate(life, stream.Receive, stream.Send)
		err = handle(inner, spec, &gatedStream{ServerStream: stream, gate: gate}, next)
		if reason = gate.Close(); reason != 0 {
			gate.Settle()
		}
	}
	if reason != 0 {
		forget(ctx)
		return refuse(ctx, spec, reason)
	}
	return err
}

// lease tells a caller that has asked for a lease its id, before the handler
// runs: a stream may be silent for hours.
func lease(ctx context.Context, life *guard.Life, stream connect.ServerStream) {
	info, ok := connect.CallInfoForServerContext(ctx)
	if id := life.Lease(); ok && id != "" {
		info.ResponseHeader().Set(guard.LeaseHeader, id)
		_ = stream.SendHeaders() // fails if the client has gone
	}
}

// forget takes away what an ended handler has left for its caller.
func forget(ctx context.Context) {
	if info, ok := connect.CallInfoForServerContext(ctx); ok {
		for _, left := range []*connect.Header{info.ResponseHeader(), info.ResponseTrailer()} {
			for name := range left.All() {
				left.Delete(name)
			}
		}
	}
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

// unaryStream is a call with one answer, which a principal that is revoked does
// not get any more.
type unaryStream struct {
	connect.ServerStream

	life *guard.Life
}

func (s *unaryStream) Receive(m any) error {
	err := s.ServerStream.Receive(m)
	if s.life.Ended() {
		return ended(s.life, guard.ErrEnded)
	}
	return err
}

func (s *unaryStream) Send(m any) error {
	if !s.life.Finish() {
		return ended(s.life, guard.ErrEnded)
	}
	return s.ServerStream.Send(m)
}

// gatedStream is a stream that ends with its principal.
type gatedStream struct {
	connect.ServerStream

	gate *guard.Gate
}

func (s *gatedStream) Receive(m any) error { return ended(s.gate.Life, s.gate.Receive(m)) }

func (s *gatedStream) Send(m any) error { return ended(s.gate.Life, s.gate.Send(m)) }

func (s *gatedStream) SendHeaders() error {
	return ended(s.gate.Life, s.gate.Do(s.ServerStream.SendHeaders))
}

// ended gives a handler the error that its caller will see.
func ended(life *guard.Life, err error) error {
	if err == guard.ErrEnded { //nolint:errorlint // it is ours and never wrapped
		return errorOf(life.Code()).WithCause(err)
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

// origin is where a call came from.
type origin connect.CallInfo

func (o *origin) Origin(context.Context) (address string, userAgent []string) {
	info := (*connect.CallInfo)(o)
	return info.PeerAddr, info.RequestHeader().Values("User-Agent")
}

func callFrom(ctx context.Context, procedure string, stream bool) principal.Call {
	info, ok := connect.CallInfoForServerContext(ctx)
	if !ok {
		return principal.Call{Procedure: procedure}
	}
	call := guard.TextCall(procedure, info.RequestHeader())
	call.Origin = (*origin)(info)
	if stream {
		call.Lease = info.RequestHeader().Values(guard.LeaseHeader)
	}
	if transport, ok := info.TransportInfo.(*connecthttp.ServerInfo); ok {
		call.TLS = transport.TLS()
	}
	return call
}
