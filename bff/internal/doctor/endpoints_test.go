package doctor_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/onbehalf-dev/onbehalf/bff/internal/doctor"
)

// Each endpoint is looked at, over what the upstream speaks, and asked whether it
// is well.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	servers := make([]string, 2)
	for i, status := range []healthpb.HealthCheckResponse_ServingStatus{healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server, state := grpc.NewServer(), health.NewServer()
		state.SetServingStatus("", status)
		healthpb.RegisterHealthServer(server, state)
		go func() { _ = server.Serve(l) }()
		t.Cleanup(server.Stop)
		servers[i] = l.Addr().String()
	}
	path := filepath.Join(t.TempDir(), "onbehalf.yaml")
	text := fmt.Sprintf(`version: 1
issuer: https://edge.test
routes:
  - path_prefix: /a
    upstream: h2c://orders.internal:9000
    endpoints: ['%s', '%s', '%s', '%s']
    health_check: {kind: grpc}
    auth: none
  - {path_prefix: /b, upstream: 'h2c://%[1]s', health_check: {kind: tcp}, auth: none}
`, servers[0], servers[1], closed(t), plain(t, false))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	found := run(t, doctor.Options{Path: path})
	want(t, found, "routes[0].endpoints[0].health_check", doctor.OK, "passes its health check")
	want(t, found, "routes[0].endpoints[1].health_check", doctor.Problem, "fails its health check (not SERVING)")
	want(t, found, "routes[0].endpoints[1]", doctor.OK, "answers")
	want(t, found, "routes[0].endpoints[2]", doctor.Problem, "connection refused")
	want(t, found, "routes[0].endpoints[3]", doctor.Problem, "not in HTTP/2")
	want(t, found, "routes[1].upstream.health_check", doctor.OK, "passes its health check")
	if took := time.Since(begun); took > 20*time.Second {
		t.Error("it took", took)
	}
}
