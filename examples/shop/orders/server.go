package orders

import (
	"context"
	"errors"
	"io"

	"connectrpc.com/connect/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/examples/shop"
	ordersv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/orders/v1"
	paymentsv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/payments/v1"
	"github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/payments/v1/paymentsv1connect"
)

// Server serves a [Store] with grpc-go.
type Server struct {
	ordersv1.UnimplementedOrderServiceServer

	store    *Store
	payments paymentsv1connect.PaymentServiceClient
}

// NewServer returns a server. The client is to pass the principal on: who pays,
// payments and ledger see there.
func NewServer(store *Store, payments paymentsv1connect.PaymentServiceClient) *Server {
	return &Server{store: store, payments: payments}
}

// PlaceOrder stores an order and charges it.
func (s *Server) PlaceOrder(ctx context.Context, r *ordersv1.PlaceOrderRequest) (*ordersv1.PlaceOrderResponse, error) {
	customer, ok := shop.Customer(ctx)
	if !ok {
		return nil, errNoCustomer
	}
	order, err := s.store.Add(customer, itemsOf(r.GetItems()))
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	charge, err := s.payments.Charge(ctx, &paymentsv1.ChargeRequest{OrderId: order.ID, AmountCents: order.AmountCents})
	if err != nil {
		if isRefusal(err) {
			s.store.Settle(order.ID, Declined)
		}
		return nil, paymentsError(err)
	}
	return &ordersv1.PlaceOrderResponse{
		Order: message(s.store.Settle(order.ID, Paid)), ChargedCents: charge.GetChargedCents(),
	}, nil
}

// QuoteOrder prices an order without storing it.
func (s *Server) QuoteOrder(ctx context.Context, r *ordersv1.QuoteOrderRequest) (*ordersv1.QuoteOrderResponse, error) {
	amount, err := Price(itemsOf(r.GetItems())...)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	quote, err := s.payments.GetQuote(ctx, &paymentsv1.GetQuoteRequest{AmountCents: amount, Hold: r.GetHold()})
	if err != nil {
		return nil, paymentsError(err)
	}
	return &ordersv1.QuoteOrderResponse{
		AmountCents: amount, FeeCents: quote.GetFeeCents(), Covered: quote.GetCovered(),
	}, nil
}

// GetOrder answers with an order of the customer.
func (s *Server) GetOrder(ctx context.Context, r *ordersv1.GetOrderRequest) (*ordersv1.GetOrderResponse, error) {
	customer, ok := shop.Customer(ctx)
	if !ok {
		return nil, errNoCustomer
	}
	order, ok := s.store.Get(customer, r.GetOrderId())
	if !ok {
		return nil, status.Error(codes.NotFound, "no such order")
	}
	return &ordersv1.GetOrderResponse{Order: message(order)}, nil
}

// ListOrders answers with all orders of the customer.
func (s *Server) ListOrders(ctx context.Context, _ *ordersv1.ListOrdersRequest) (*ordersv1.ListOrdersResponse, error) {
	customer, ok := shop.Customer(ctx)
	if !ok {
		return nil, errNoCustomer
	}
	response := new(ordersv1.ListOrdersResponse)
	for _, order := range s.store.List(customer) {
		response.Orders = append(response.Orders, message(order))
	}
	return response, nil
}

// WatchOrders sends changes until the caller has enough or the stream is ended.
func (s *Server) WatchOrders(_ *ordersv1.WatchOrdersRequest, stream grpc.ServerStreamingServer[ordersv1.WatchOrdersResponse]) error {
	customer, ok := shop.Customer(stream.Context())
	if !ok {
		return errNoCustomer
	}
	for order := range s.store.Watch(stream.Context(), customer) {
		if err := stream.Send(&ordersv1.WatchOrdersResponse{Order: message(order)}); err != nil {
			return err
		}
	}
	return status.FromContextError(stream.Context().Err()).Err()
}

// FillBasket adds up what it receives.
func (s *Server) FillBasket(stream grpc.BidiStreamingServer[ordersv1.FillBasketRequest, ordersv1.FillBasketResponse]) error {
	var total int64
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		price, err := Price(itemOf(r.GetItem()))
		if err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
		total += price
		if err := stream.Send(&ordersv1.FillBasketResponse{AmountCents: total}); err != nil {
			return err
		}
	}
}

// The methods' rules admit nobody without a principal; a server that was put
// together without a guard gets this.
var errNoCustomer = status.Error(codes.Internal, "no customer")

// isRefusal tells a charge that was refused from one of which nothing is known,
// such as after a timeout: that order stays pending.
func isRefusal(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodePermissionDenied, connect.CodeFailedPrecondition, connect.CodeInvalidArgument:
		return true
	default:
		return false
	}
}

// paymentsError passes the code on, but not the words of payments.
func paymentsError(err error) error {
	code := codes.Code(connect.CodeOf(err))
	return status.Error(code, "payments: "+code.String())
}

func itemOf(i *ordersv1.Item) Item { return Item{SKU: i.GetSku(), Quantity: i.GetQuantity()} }

func itemsOf(messages []*ordersv1.Item) []Item {
	items := make([]Item, len(messages))
	for i, m := range messages {
		items[i] = itemOf(m)
	}
	return items
}

func message(o Order) *ordersv1.Order {
	m := &ordersv1.Order{Id: o.ID, AmountCents: o.AmountCents, State: ordersv1.OrderState(o.State)}
	for _, i := range o.Items {
		m.Items = append(m.Items, &ordersv1.Item{Sku: i.SKU, Quantity: i.Quantity})
	}
	return m
}
