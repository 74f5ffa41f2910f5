package orders

import (
	"net/http"

	"connectrpc.com/connect/v2"
	"google.golang.org/grpc"

	ordersv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/orders/v1"
	"github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/payments/v1/paymentsv1connect"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalgrpc"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// Rules are the access rules in orders.proto.
func Rules() (*principal.Rules, error) {
	return principal.RulesFromProto(ordersv1.File_shop_orders_v1_orders_proto)
}

// NewGRPCServer returns the service, with every method under its rule. It calls
// payments at paymentsURL, on behalf of whoever called it.
func NewGRPCServer(guard *principal.Guard, propagator *principal.Propagator, client *http.Client, paymentsURL string) (*grpc.Server, error) {
	payments := paymentsv1connect.NewPaymentServiceClient(connect.NewClient(
		principalconnect.NewTransport(client, paymentsURL),
		principalconnect.NewClientInterceptor(propagator, "payments"),
	))
	srv := grpc.NewServer(principalgrpc.ServerOptions(guard)...)
	ordersv1.RegisterOrderServiceServer(srv, NewServer(NewStore(), payments))
	return srv, principalgrpc.Check(srv, guard)
}
