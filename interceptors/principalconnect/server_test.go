package principalconnect_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

const procedure = "/a.B/C"

// fake is a stream of which only the calls count.
type fake struct{ received, sent, headers int }

func (f *fake) Receive(any) error  { f.received++; return nil }
func (f *fake) Send(any) error     { f.sent++; return nil }
func (f *fake) SendHeaders() error { f.headers++; return nil }

// serve calls a handler through the interceptor, as a human does.
func serve(t *testing.T, streamType connect.StreamType, stream connect.ServerStream, handler func(context.Context, connect.ServerStream) error) error {
	t.Helper()
	iss := principaltest.NewIssuer(t)
	g := iss.Guard("orders", (&principal.Rules{}).WithMethod(procedure, principal.AllowAnonymous()))
	srv := connect.NewServer(principalconnect.NewServerInterceptor(g))
	srv.Register(connect.Method{Spec: connect.Spec{Procedure: procedure, StreamType: streamType}, Handler: func(ctx context.Context, _ connect.Spec, s connect.ServerStream) error {
		return handler(ctx, s)
	}})
	info := new(connect.CallInfo)
	info.RequestHeader().Set(principal.HeaderName, principal.EncodeHeader(iss.Header("orders", principaltest.Human())))
	return srv.Call(t.Context(), procedure, info, stream)
}

func TestNothingPassesAfterTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stream := new(fake)
		err := serve(t, connect.StreamTypeBidi, stream, func(ctx context.Context, s connect.ServerStream) error {
			if err := errors.Join(s.SendHeaders(), s.Receive(nil), s.Send(nil)); err != nil {
				t.Error(err)
			}
			<-ctx.Done()
			for _, do := range []func() error{s.SendHeaders, func() error { return s.Receive(nil) }, func() error { return s.Send(nil) }} {
				if err := do(); connect.CodeOf(err) != connect.CodeUnauthenticated {
					t.Error(err)
				}
			}
			return nil
		})
		if connect.CodeOf(err) != connect.CodeUnauthenticated || *stream != (fake{1, 1, 1}) {
			t.Errorf("%v, %+v", err, stream)
		}
	})
}

// A unary call may take longer than its principal lives: it was allowed when it
// began, and answers once.
func TestUnaryCallGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		err := serve(t, connect.StreamTypeUnary, new(fake), func(ctx context.Context, s connect.ServerStream) error {
			<-time.After(time.Hour)
			return errors.Join(ctx.Err(), s.Receive(nil), s.Send(nil))
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// net/http is asked to cut the connection with a panic, which has to reach it.
func TestAbort(t *testing.T) {
	t.Parallel()
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
			t.Error(err)
		}
	}()
	_ = serve(t, connect.StreamTypeUnary, new(fake), func(context.Context, connect.ServerStream) error { panic(http.ErrAbortHandler) })
}

// A call that no Server has dispatched has no header to look at.
func TestCallWithoutInfo(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	interceptor := principalconnect.NewServerInterceptor(iss.Guard("orders", &principal.Rules{}))
	err := interceptor(nil)(t.Context(), connect.Spec{Procedure: procedure}, new(fake))
	if connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Error(err)
	}
}

// reader answers a stream with an end.
type reader struct{ fake }

func (*reader) CloseSend() error  { return nil }
func (*reader) Close() error      { return nil }
func (*reader) Receive(any) error { return io.EOF }

type transportFunc func(context.Context, connect.Spec) (connect.ClientStream, error)

func (f transportFunc) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	return f(ctx, spec)
}

// A CallInfo can be used again, also for a service that must not get the header.
func TestCallInfoForgetsTheHeader(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	failure := errors.New("no route")
	for _, c := range []struct {
		name string
		fail error
		end  func(connect.ClientStream) error
	}{
		{"read to the end", nil, func(s connect.ClientStream) error { return s.Receive(nil) }},
		{"closed", nil, func(s connect.ClientStream) error { return s.Close() }},
		{"not opened", failure, nil},
	} {
		ctx, info := connect.NewClientContext(iss.Context("orders", principaltest.Human()))
		transport := transportFunc(func(context.Context, connect.Spec) (connect.ClientStream, error) {
			if !info.RequestHeader().Has(principal.HeaderName) {
				t.Errorf("%s: nothing would be sent", c.name)
			}
			return new(reader), c.fail
		})
		client := connect.NewClient(transport, principalconnect.NewClientInterceptor(iss.Propagator("orders"), "payments"))
		stream, err := client.CallClientStream(ctx, connect.Spec{Procedure: procedure, StreamType: connect.StreamTypeBidi})
		if !errors.Is(err, c.fail) {
			t.Fatal(err)
		}
		if err == nil {
			if err := stream.Send(new(emptypb.Empty)); err != nil {
				t.Fatal(err)
			}
			_ = c.end(stream)
		}
		if info.RequestHeader().Has(principal.HeaderName) {
			t.Errorf("%s: the header stays", c.name)
		}
	}
}
