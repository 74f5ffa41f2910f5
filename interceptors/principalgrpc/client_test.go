package principalgrpc_test

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/test/bufconn"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalgrpc"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

// grpc-go checks the health of a connection with calls of its own, which have
// no principal and pass no interceptor.
func TestHealthCheckOfConnection(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	rules := (&principal.Rules{}).
		WithService("grpc.testing.TestService", principal.AllowAnonymous()).
		WithService("grpc.health.v1.Health", principal.AllowAnonymous())
	srv := grpc.NewServer(principalgrpc.ServerOptions(iss.Guard("payments", rules))...)
	testgrpc.RegisterTestServiceServer(srv, payments{})
	healthv1.RegisterHealthServer(srv, health.NewServer())
	listener := bufconn.Listen(1 << 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(listener)
	}()
	t.Cleanup(func() {
		srv.Stop()
		<-done
	})
	conn, err := grpc.NewClient("passthrough:///payments", append(principalgrpc.DialOptions(iss.Propagator("orders"), "payments"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}`))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx := iss.Context("orders", principaltest.Human())
	if _, err := testgrpc.NewTestServiceClient(conn).UnaryCall(ctx, &testgrpc.SimpleRequest{}); err != nil {
		t.Error(err)
	}
}
