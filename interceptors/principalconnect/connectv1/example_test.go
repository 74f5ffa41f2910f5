package connectv1_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect/connectv1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

const book = "/shop.ledger.v1.LedgerService/Book"

func Example() {
	iss := principaltest.NewIssuer(&testing.T{}) // in a test: its t

	// The service ledger. Rules come from the .proto with RulesFromProto.
	rules := (&principal.Rules{}).WithMethod(book, &principalv1.AccessRule{AllScopes: []string{"ledger:write"}})
	mux := http.NewServeMux()
	mux.Handle(book, connect.NewUnaryHandler(book, func(ctx context.Context, _ *connect.Request[emptypb.Empty]) (*connect.Response[wrapperspb.StringValue], error) {
		p, _ := principal.FromContext(ctx)
		return connect.NewResponse(wrapperspb.String("booked for " + p.String())), nil
	}))
	ledger := httptest.NewServer(connectv1.NewMiddleware(iss.Guard("ledger", rules)).Wrap(mux))
	defer ledger.Close()

	// The service payments, in whose handler ctx comes from.
	client := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](
		connectv1.WithoutRedirects(ledger.Client()), ledger.URL+book,
		connect.WithInterceptors(connectv1.NewClientInterceptor(iss.Propagator("payments"), "ledger")))
	call := func(ctx context.Context) {
		response, err := client.CallUnary(ctx, connect.NewRequest(new(emptypb.Empty)))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(response.Msg.GetValue())
	}
	call(iss.Context("payments", principaltest.Human("ledger:write")))
	call(iss.Context("payments", principaltest.Human()))
	call(context.Background())

	// Output:
	// booked for hm-2bd806c9-7f0e-00af-1a1f-c3328fa763a9 via bff → payments
	// permission_denied: permission denied
	// principal: no principal in the context: pass on the context of the handler, or act as the service with trust.Node.AsService
}
