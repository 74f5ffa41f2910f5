package bff_test

import (
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalgrpc"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// A stream that orders has opened for alice goes on with fresh principals of her
// session, which orders gets from the edge, and ends when the session is revoked.
func TestLease(t *testing.T) {
	t.Parallel()
	const method = "/shop.Ticker/Tick"
	e := start(t, setup{extra: "limits: {principal_life: 4s}\n", realTime: true})
	orders, payments := e.join("orders"), e.join("payments")
	guard, err := principal.NewGuard(payments.Verifier(), (&principal.Rules{}).WithMethod(method, &principalv1.AccessRule{}))
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(principalgrpc.ServerOptions(guard)...)
	srv.RegisterService(&grpc.ServiceDesc{ServiceName: "shop.Ticker", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: "Tick", ServerStreams: true,
		Handler: func(_ any, stream grpc.ServerStream) error { // tells of each principal that the stream has
			if err := stream.RecvMsg(new(emptypb.Empty)); err != nil {
				return err
			}
			last := principal.ID{}
			for stream.Context().Err() == nil {
				p, _ := principal.FromContext(stream.Context())
				if p.ID() != last {
					last = p.ID()
					if err := stream.SendMsg(wrapperspb.String(p.String())); err != nil {
						return err
					}
				}
				<-time.After(5 * time.Millisecond)
			}
			return stream.Context().Err()
		},
	}}}, nil)
	l := listen(t)
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(srv.Stop)
	conn, err := grpc.NewClient(l.Addr().(*net.TCPAddr).String(), append(
		principalgrpc.DialOptions(orders.Propagator().Leasing(), "payments"), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	ctx, err := orders.Verifier().Context(t.Context(), e.header(e.get("/linked", e.provider.token("alice", map[string]any{"sid": "s1"}))))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(new(emptypb.Empty)); err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	var first, m wrapperspb.StringValue
	for i := range 3 { // the one that it was opened with, and two more
		if err := stream.RecvMsg(&m); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first.Value = m.GetValue()
		}
		if m.GetValue() != first.GetValue() {
			t.Errorf("became %q, was %q", m.GetValue(), first.GetValue())
		}
	}
	renewed := 0
	for _, r := range e.records() {
		if r.text("action") == "renew" && r.text("decision") == "allowed" && r.text("service") == "orders" && r.text("parent_id") != "" {
			renewed++
		}
	}
	if renewed < 2 {
		t.Errorf("%d records of renewals", renewed)
	}
}
