package principalconnect

import (
	"context"
	"errors"
	"io"
	"net/http"

	"connectrpc.com/connect/v2"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// leasedStream is a stream that is renewed while it is open.
type leasedStream struct {
	*clientStream

	stop context.CancelFunc
}

// openLeased opens a stream that asks for a lease.
func openLeased(s *clientStream, renewer *principal.Renewer, next connect.ClientFunc) (connect.ClientStream, error) {
	granted := make(chan string, 1)
	s.lease = principal.LeaseWanted
	if err := s.open(context.WithValue(s.ctx, grantedKey{}, granted), next); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(s.ctx)
	go func() {
		defer stop()
		select {
		case id := <-granted:
			if id != "" {
				renewer.Run(ctx, s.renew(id, next))
			}
		case <-ctx.Done():
		}
	}()
	return &leasedStream{clientStream: s, stop: stop}, nil
}

// renew returns what calls the stream's method to renew its lease.
func (s *clientStream) renew(id string, next connect.ClientFunc) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, _ = connect.NewClientContext(ctx)
		spec := s.spec
		spec.StreamType = connect.StreamTypeBidi // whatever the method is, the call has no messages
		call := &clientStream{ctx: ctx, spec: spec, propagator: s.propagator, audience: s.audience, lease: id}
		if err := call.open(ctx, next); err != nil {
			return err
		}
		defer call.Close()
		if err := call.CloseSend(); err != nil {
			return err
		}
		switch err := call.Receive(new(struct{})); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		default:
			return errHandled
		}
	}
}

var errHandled = errors.New("principalconnect: a renewal was answered with a message")

func (s *leasedStream) Receive(m any) error {
	err := s.clientStream.Receive(m)
	if err != nil {
		s.stop()
	}
	return err
}

func (s *leasedStream) Close() error {
	s.stop()
	return s.clientStream.Close()
}

// leaseTransport hands on the lease that a response grants: connect shows the
// header of a response only with its first message, which may be hours away.
type leaseTransport struct{ base http.RoundTripper }

type grantedKey struct{}

func (t leaseTransport) next() http.RoundTripper {
	if t.base == nil {
		return http.DefaultTransport //nolint:forbidigo // it is what an http.Client without one uses
	}
	return t.base
}

// RoundTrip implements [http.RoundTripper].
func (t leaseTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.next().RoundTrip(r)
	if granted, ok := r.Context().Value(grantedKey{}).(chan string); ok && err == nil {
		select {
		case granted <- guard.Single(response.Header[guard.LeaseHeader]):
		default:
		}
	}
	return response, err
}

// CloseIdleConnections is for [http.Client.CloseIdleConnections].
func (t leaseTransport) CloseIdleConnections() {
	if c, ok := t.next().(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
