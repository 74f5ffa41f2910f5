package principalconnect

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
	"github.com/onbehalf-dev/onbehalf/interceptors/internal/httpguard"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// NewTransport returns a transport for [connect.NewClient] that does not follow
// redirects: net/http repeats the headers of a request to wherever a response
// points, and would take the principal there. A redirect becomes an error of
// the call. httpClient is copied; nil stands for the zero client.
func NewTransport(httpClient *http.Client, baseURL string, options ...connecthttp.Option) connect.Transport {
	client := httpguard.WithoutRedirects(httpClient)
	client.Transport = leaseTransport{client.Transport}
	return connecthttp.NewTransport(client, baseURL, options...)
}

// NewClientInterceptor returns an interceptor that takes the principal of each
// call's context along to the service audience. A call with a context that no
// guard has seen fails with CodeFailedPrecondition, and nothing is sent; the
// error wraps [principal.ErrNoPrincipal]. An anonymous call goes out without a
// header.
//
// Every other spelling of our header in the request is removed, and
// x-request-id is passed on. When the call is over, a [connect.CallInfo] of the
// caller's no longer holds the header, so that it cannot reach the next service
// that it is used for.
//
// If p is [principal.Propagator.Leasing], streams are renewed while they are open:
// until Receive returns an error, Close is called or the context ends.
//
// Use it with [NewTransport]: an interceptor does not see where a redirect leads,
// nor the header of a response before its first message.
func NewClientInterceptor(p *principal.Propagator, audience string) connect.ClientInterceptor {
	guard.NeedPropagator(p)
	return func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			s := &clientStream{ctx: ctx, spec: spec, propagator: p, audience: audience}
			if spec.StreamType != connect.StreamTypeUnary {
				if renewer := p.Renewer(ctx); renewer != nil {
					return openLeased(s, renewer, next)
				}
			}
			if err := s.open(ctx, next); err != nil {
				return nil, err
			}
			return s, nil
		}
	}
}

// clientStream sends its header with the first message.
type clientStream struct {
	connect.ClientStream

	ctx        context.Context //nolint:containedctx // of the call that the stream is
	spec       connect.Spec
	propagator *principal.Propagator
	audience   string
	lease      string // what the request says of one

	sent      atomic.Bool
	forgotten sync.Once
}

func (s *clientStream) open(ctx context.Context, next connect.ClientFunc) error {
	err := s.setHeader()
	if err != nil {
		return err
	}
	if s.ClientStream, err = next(ctx, s.spec); err != nil {
		s.forget()
	}
	return err
}

// setHeader replaces what the request says of a principal.
func (s *clientStream) setHeader() error {
	h, err := s.propagator.Header(s.ctx, s.audience, s.spec.Procedure)
	if err != nil {
		return sendError{guard.NewSendError(err)}
	}
	info, ok := connect.CallInfoForClientContext(s.ctx)
	if !ok {
		return errNoCallInfo
	}
	header, id := info.RequestHeader(), principal.RequestID(s.ctx)
	strip(header, id != "")
	if text := h.Text(); text != "" {
		header.Set(guard.Header, text)
	}
	if id != "" {
		header.Set(guard.RequestIDHeader, id)
	}
	if s.lease != "" {
		header.Set(guard.LeaseHeader, s.lease)
	}
	return nil
}

var errNoCallInfo = errors.New("principalconnect: the call was not made by a connect.Client")

func strip(header *connect.Header, requestID bool) {
	for name := range header.All() {
		if principal.IsAlias(name) || requestID && strings.EqualFold(name, guard.RequestIDHeader) {
			header.Delete(name)
		}
	}
}

// forget takes the header out of what the caller may use for another call.
func (s *clientStream) forget() {
	s.forgotten.Do(func() {
		if info, ok := connect.CallInfoForClientContext(s.ctx); ok {
			info.RequestHeader().Delete(guard.Header)
			info.RequestHeader().Delete(guard.LeaseHeader)
		}
	})
}

// refresh makes the header anew where the stream may have waited since it was
// opened: a link is to be presented within a minute. If that fails the old one
// goes out and the service decides: a request that is never made would leave a
// Receive waiting for ever.
func (s *clientStream) refresh() {
	if s.spec.StreamType != connect.StreamTypeUnary && !s.sent.Load() {
		_ = s.setHeader()
	}
}

func (s *clientStream) SendHeaders() error {
	s.refresh()
	defer s.sent.Store(true)
	return s.ClientStream.SendHeaders()
}

func (s *clientStream) Send(m any) error {
	s.refresh()
	defer s.sent.Store(true)
	return s.ClientStream.Send(m)
}

func (s *clientStream) CloseSend() error {
	s.refresh()
	defer s.sent.Store(true)
	return s.ClientStream.CloseSend()
}

func (s *clientStream) Receive(m any) error {
	err := s.ClientStream.Receive(m)
	if err != nil && s.sent.Load() {
		s.forget()
	}
	return err
}

func (s *clientStream) Close() error {
	err := s.ClientStream.Close()
	if s.sent.Load() {
		s.forget()
	}
	return err
}

// sendError is a [guard.SendError] that is a [connect.Error] too.
type sendError struct{ *guard.SendError }

// Unwrap gives the code, and the text for the wire if a handler returns the
// error as its own.
func (e sendError) Unwrap() []error {
	return []error{errorOf(e.Code()), e.SendError.Unwrap()}
}
