package connectv1

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
	"github.com/onbehalf-dev/onbehalf/interceptors/internal/httpguard"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// WithoutRedirects returns a copy of client that does not follow redirects, for
// clients with a [NewClientInterceptor]: net/http repeats the headers of a
// request to wherever a response points, and would take the principal there. A
// redirect becomes an error of the call. nil stands for the zero client.
func WithoutRedirects(client *http.Client) *http.Client { return httpguard.WithoutRedirects(client) }

// NewClientInterceptor returns an interceptor that takes the principal of each
// call's context along to the service audience. A call with a context that no
// guard has seen fails with CodeFailedPrecondition, and nothing is sent; the
// error wraps [principal.ErrNoPrincipal]. An anonymous call goes out without a
// header.
//
// Every other spelling of our header in the request is removed, and
// x-request-id is passed on. Use it with [WithoutRedirects]: an interceptor does
// not see where a redirect leads. On a handler it does nothing.
func NewClientInterceptor(p *principal.Propagator, audience string) connect.Interceptor {
	return &clientInterceptor{propagator: guard.NeedPropagator(p), audience: audience}
}

type clientInterceptor struct {
	propagator *principal.Propagator
	audience   string
}

// WrapUnary implements [connect.Interceptor].
func (i *clientInterceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if !req.Spec().IsClient {
			return next(ctx, req)
		}
		if err := i.setHeader(ctx, req.Spec().Procedure, req.Header()); err != nil {
			return nil, err
		}
		defer req.Header().Del(guard.Header) // a request may be used again, for another service
		return next(ctx, req)
	}
}

// WrapStreamingClient implements [connect.Interceptor].
func (i *clientInterceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		setHeader := func() error { return i.setHeader(ctx, spec.Procedure, conn.RequestHeader()) }
		return &clientConn{StreamingClientConn: conn, setHeader: setHeader, failed: setHeader()}
	}
}

// WrapStreamingHandler implements [connect.Interceptor].
func (*clientInterceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

func (i *clientInterceptor) setHeader(ctx context.Context, procedure string, header http.Header) error {
	h, err := i.propagator.Header(ctx, i.audience, procedure)
	if err != nil {
		return sendError{guard.NewSendError(err)}
	}
	httpguard.Set(header, h, principal.RequestID(ctx))
	return nil
}

// clientConn sends its header with the first message, or sends nothing.
type clientConn struct {
	connect.StreamingClientConn

	setHeader func() error
	failed    error
	sent      bool
}

// refresh makes the header anew where the stream may have waited since it was
// opened: a link is to be presented within a minute. If that fails the old one
// goes out and the service decides: a request that is never made would leave a
// Receive waiting for ever.
func (c *clientConn) refresh() {
	if !c.sent {
		c.sent = true
		_ = c.setHeader()
	}
}

func (c *clientConn) Send(m any) error {
	if c.failed != nil {
		return c.failed
	}
	c.refresh()
	return c.StreamingClientConn.Send(m)
}

func (c *clientConn) CloseRequest() error {
	if c.failed != nil {
		return c.failed
	}
	c.refresh()
	return c.StreamingClientConn.CloseRequest()
}

func (c *clientConn) Receive(m any) error {
	if c.failed != nil {
		return c.failed
	}
	return c.StreamingClientConn.Receive(m)
}

func (c *clientConn) CloseResponse() error {
	if c.failed != nil {
		return nil //nolint:nilerr // there is no response to close
	}
	return c.StreamingClientConn.CloseResponse()
}

// sendError is a [guard.SendError] that is a [connect.Error] too.
type sendError struct{ *guard.SendError }

// Unwrap gives the code, and the text for the wire if a handler returns the
// error as its own.
func (e sendError) Unwrap() []error {
	wire := connect.NewError(connect.Code(e.Code()), errors.New(e.Code().Message()))
	return []error{wire, e.SendError.Unwrap()}
}
