package payments

import (
	"net/http"

	connectv1 "connectrpc.com/connect"
	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/ledger/v1/ledgerv1connect"
	paymentsv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/payments/v1"
	"github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/payments/v1/paymentsv1connect"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect"
	principalconnectv1 "github.com/onbehalf-dev/onbehalf/interceptors/principalconnect/connectv1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// Rules are the access rules in payments.proto.
func Rules() (*principal.Rules, error) {
	return principal.RulesFromProto(paymentsv1.File_shop_payments_v1_payments_proto)
}

// NewHTTPHandler returns the service, with every method under its rule. It calls
// the ledger at ledgerURL, on behalf of whoever called it.
func NewHTTPHandler(guard *principal.Guard, propagator *principal.Propagator, client *http.Client, ledgerURL string) (http.Handler, error) {
	ledger := ledgerv1connect.NewLedgerServiceClient(principalconnectv1.WithoutRedirects(client), ledgerURL,
		connectv1.WithInterceptors(principalconnectv1.NewClientInterceptor(propagator, "ledger")))
	server := connect.NewServer(principalconnect.NewServerInterceptor(guard))
	paymentsv1connect.RegisterPaymentServiceHandler(server, NewHandler(ledger))
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server)
	return mux, principalconnect.Check(server, guard)
}
