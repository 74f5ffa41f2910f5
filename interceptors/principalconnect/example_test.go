package principalconnect_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

// charge is what generated code registers for a method.
var charge = connect.Method{
	Spec: connect.Spec{Procedure: "/shop.payments.v1.PaymentService/Charge"},
	Handler: func(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
		if err := stream.Receive(new(emptypb.Empty)); err != nil {
			return err
		}
		p, _ := principal.FromContext(ctx)
		return stream.Send(wrapperspb.String("charged for " + p.String()))
	},
}

func Example() {
	iss := principaltest.NewIssuer(&testing.T{}) // in a test: its t

	// The service payments. Rules come from the .proto with RulesFromProto.
	rules := (&principal.Rules{}).WithMethod(charge.Spec.Procedure, &principalv1.AccessRule{AllScopes: []string{"payments:write"}})
	guard := iss.Guard("payments", rules)
	server := connect.NewServer(principalconnect.NewServerInterceptor(guard))
	server.Register(charge)
	if err := principalconnect.Check(server, guard); err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server)
	payments := httptest.NewServer(mux)
	defer payments.Close()

	// The service orders, in whose handler ctx comes from.
	client := connect.NewClient(
		principalconnect.NewTransport(payments.Client(), payments.URL),
		principalconnect.NewClientInterceptor(iss.Propagator("orders"), "payments"))
	call := func(ctx context.Context) {
		var response wrapperspb.StringValue
		err := client.CallUnary(ctx, charge.Spec, new(emptypb.Empty), &response)
		fmt.Println(response.GetValue(), err)
	}
	call(iss.Context("orders", principaltest.Human("payments:write")))
	call(iss.Context("orders", principaltest.Agent("shopper", "payments:write")))
	call(context.Background())

	// Output:
	// charged for hm-2bd806c9-7f0e-00af-1a1f-c3328fa763a9 via bff → orders <nil>
	//  permission_denied: permission denied
	//  principal: no principal in the context: pass on the context of the handler, or act as the service with trust.Node.AsService
}
