package peers_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
)

// Each message of a stream in both directions arrives before the next is sent, and
// its end in the way that it ended.
func TestStreams(t *testing.T) {
	t.Parallel()
	eachFront(t, func(t *testing.T, program, path string) {
		e := start(t)
		alice := e.token("alice")
		for _, f := range e.fronts(program, path) {
			if f.name != program+"-2" {
				continue
			}
			conn, err := grpc.NewClient("unix:"+f.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			talk(t, metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+alice), conn)
			leave(t, metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+alice), conn, e.upstream)
			refused(t, ctx, conn)
			revoked(t, metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+alice), conn, e)
		}
	})
}

func open(t *testing.T, ctx context.Context, conn *grpc.ClientConn) grpc.ClientStream { //nolint:revive // a test comes first
	t.Helper()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/peers.v1.Echo/Talk")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func exchange(t *testing.T, s grpc.ClientStream, text string) {
	t.Helper()
	got := new(wrapperspb.StringValue)
	if err := s.SendMsg(wrapperspb.String(text)); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(got); err != nil || got.GetValue() != text {
		t.Fatal(got, err)
	}
}

func talk(t *testing.T, ctx context.Context, conn *grpc.ClientConn) { //nolint:revive // a test comes first
	t.Helper()
	s := open(t, ctx, conn)
	for _, text := range []string{"one", "two", "three", "four", "five"} {
		exchange(t, s, text)
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(new(wrapperspb.StringValue)); !errors.Is(err, io.EOF) {
		t.Error("the end of the stream:", err)
	}
}

// leave makes sure that the service learns when a client has gone. HAProxy 2.6
// tells it in two frames, END_STREAM and then RST_STREAM, so that for a moment it
// looks as if the client had sent all that it wanted to.
func leave(t *testing.T, ctx context.Context, conn *grpc.ClientConn, u *upstream) { //nolint:revive // a test comes first
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	exchange(t, open(t, ctx, conn), "hello")
	for len(u.ended) > 0 {
		<-u.ended
	}
	cancel()
	select {
	case <-u.ended:
	case <-time.After(20 * time.Second):
		t.Error("the service did not learn that its client has gone")
	}
}

func refused(t *testing.T, ctx context.Context, conn *grpc.ClientConn) { //nolint:revive // a test comes first
	t.Helper()
	err := open(t, ctx, conn).RecvMsg(new(wrapperspb.StringValue))
	if status.Code(err) != codes.Unauthenticated {
		t.Error("without a credential:", err)
	}
}

// revoked makes sure that a client is told at once when its stream is ended.
func revoked(t *testing.T, ctx context.Context, conn *grpc.ClientConn, e *edge) { //nolint:revive // a test comes first
	t.Helper()
	e.upstream.take()
	alice := verified(t, e.verifier("orders"), e.principalOf("alice")).Subject()
	s := open(t, ctx, conn)
	exchange(t, s, "hello")
	if _, err := e.admin.Revoke(ctx, &bffv1.RevokeRequest{Target: revocation.Identity(alice).Proto()}); err != nil {
		t.Fatal(err)
	}
	err := s.RecvMsg(new(wrapperspb.StringValue))
	if status.Code(err) != codes.Unauthenticated {
		t.Error("after the revocation:", err)
	}
}
