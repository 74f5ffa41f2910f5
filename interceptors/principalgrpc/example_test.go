package principalgrpc_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/grpclog"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalgrpc"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

// payments is a service of which one method is written.
type payments struct {
	testgrpc.UnimplementedTestServiceServer
}

func (payments) UnaryCall(ctx context.Context, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	p, _ := principal.FromContext(ctx)
	return &testgrpc.SimpleResponse{Username: p.String()}, nil
}

// serve is what a server needs.
func serve(listener net.Listener, verifier *principal.Verifier, rules *principal.Rules) error {
	guard, err := principal.NewGuard(verifier, rules)
	if err != nil {
		return err
	}
	srv := grpc.NewServer(principalgrpc.ServerOptions(guard)...)
	testgrpc.RegisterTestServiceServer(srv, payments{})
	if err := principalgrpc.Check(srv, guard); err != nil {
		return err // names every method without a rule
	}
	return srv.Serve(listener)
}

// connect is what a client needs.
func connect(addr string, propagator *principal.Propagator) (testgrpc.TestServiceClient, error) {
	options := append(principalgrpc.DialOptions(propagator, "payments"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient(addr, options...)
	return testgrpc.NewTestServiceClient(conn), err
}

func Example() {
	iss := principaltest.NewIssuer(&testing.T{}) // in a test: its t
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	// Rules come from the .proto with RulesFromProto; this one is not ours.
	rules := (&principal.Rules{}).
		WithService("grpc.testing.TestService", &principalv1.AccessRule{}).
		WithMethod("/grpc.testing.TestService/UnaryCall", &principalv1.AccessRule{
			Kinds: []principalv1.Kind{principalv1.Kind_KIND_AGENT}, AllScopes: []string{"payments:write"},
		})
	go func() { _ = serve(listener, iss.Verifier("payments"), rules) }()
	client, err := connect(listener.Addr().String(), iss.Propagator("orders"))
	if err != nil {
		fmt.Println(err)
		return
	}
	alice := principaltest.Human("payments:write")
	for _, ctx := range []context.Context{ // all but the last are those of a handler of the service orders
		iss.Context("orders", principaltest.Delegate(alice, "shopper")),
		iss.Context("orders", alice),
		context.Background(),
	} {
		response, err := client.UnaryCall(ctx, &testgrpc.SimpleRequest{})
		fmt.Println(response.GetUsername(), err)
	}

	// Output:
	// hm-2bd806c9-7f0e-00af-1a1f-c3328fa763a9 ▸ am-shopper via bff → orders <nil>
	//  rpc error: code = PermissionDenied desc = permission denied
	//  principal: no principal in the context: pass on the context of the handler, or act as the service with trust.Node.AsService
}

func ExampleCheck() {
	iss := principaltest.NewIssuer(&testing.T{}) // in a test: its t
	rules := (&principal.Rules{}).WithService("grpc.testing.ReconnectService", &principalv1.AccessRule{})
	guard := iss.Guard("payments", rules)
	srv := grpc.NewServer(principalgrpc.ServerOptions(guard)...)
	testgrpc.RegisterReconnectServiceServer(srv, nil)
	testgrpc.RegisterLoadBalancerStatsServiceServer(srv, nil)
	fmt.Println(principalgrpc.Check(srv, guard))

	// Output:
	// principal: no access rule for /grpc.testing.LoadBalancerStatsService/GetClientAccumulatedStats, /grpc.testing.LoadBalancerStatsService/GetClientStats: write option (onbehalf.principal.v1.access) beside the method, or add Rules.WithService
}

func ExampleNewLogger() {
	logger := principalgrpc.NewLogger(grpclog.NewLoggerV2(io.Discard, io.Discard, os.Stderr))
	grpclog.SetLoggerV2(logger) // in main, before anything else of grpc-go runs

	// Output:
}
