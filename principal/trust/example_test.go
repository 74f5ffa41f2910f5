package trust_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
	"github.com/onbehalf-dev/onbehalf/principal/trust"
)

func Example() {
	ctx := context.Background()
	edge := newEdge(new(testing.T)) // stands for the edge of the platform
	defer edge.server.Close()

	node, err := trust.Join(ctx, edge.server.URL, "orders",
		trust.WithEnrollmentToken(token), // or WithTLSConfig with a client certificate
		trust.WithIssuer("https://edge.test"),
		trust.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()

	// What a guard does with the header of a call, and a client with its context.
	call, err := node.Verifier().Context(ctx, edge.header("orders", principaltest.Human("orders:read")))
	if err != nil {
		fmt.Println(err)
		return
	}
	header, err := node.Propagator().Header(call, "payments", "")
	fmt.Println(header, err)

	// A job acts for the service itself.
	job, err := node.AsService(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	who, _ := principal.FromContext(job)
	fmt.Println(who)
	fmt.Println("healthy:", node.Health() == nil)

	// Output:
	// principal.Header{withheld} <nil>
	// svc-orders via bff
	// healthy: true
}
