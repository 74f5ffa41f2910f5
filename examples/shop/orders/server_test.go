package orders_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	ordersv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/orders/v1"
	paymentsv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/payments/v1"
	"github.com/onbehalf-dev/onbehalf/examples/shop/orders"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

// payments takes a fee of one cent, or refuses.
type payments struct{ err error }

func (p payments) GetQuote(_ context.Context, r *paymentsv1.GetQuoteRequest) (*paymentsv1.GetQuoteResponse, error) {
	return &paymentsv1.GetQuoteResponse{FeeCents: 1, Covered: r.GetAmountCents() < 100}, p.err
}

func (p payments) Charge(_ context.Context, r *paymentsv1.ChargeRequest) (*paymentsv1.ChargeResponse, error) {
	return &paymentsv1.ChargeResponse{ChargedCents: r.GetAmountCents() + 1}, p.err
}

var apple = []*ordersv1.Item{{Sku: "apple", Quantity: 1}}

func TestPlaceOrder(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		payments error
		code     codes.Code
		state    ordersv1.OrderState
	}{
		"paid":     {nil, codes.OK, ordersv1.OrderState_ORDER_STATE_PAID},
		"declined": {connect.NewError(connect.CodePermissionDenied, "secret"), codes.PermissionDenied, ordersv1.OrderState_ORDER_STATE_DECLINED},
		"unknown":  {connect.NewError(connect.CodeDeadlineExceeded, "secret"), codes.DeadlineExceeded, ordersv1.OrderState_ORDER_STATE_PENDING},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alice := principaltest.NewIssuer(t).Context("orders", principaltest.Human())
			server := orders.NewServer(orders.NewStore(), payments{test.payments})
			placed, err := server.PlaceOrder(alice, &ordersv1.PlaceOrderRequest{Items: apple})
			if status.Code(err) != test.code || strings.Contains(status.Convert(err).Message(), "secret") {
				t.Fatal(err)
			}
			if err == nil && placed.GetChargedCents() != 51 {
				t.Errorf("%v", placed)
			}
			list, err := server.ListOrders(alice, &ordersv1.ListOrdersRequest{})
			if err != nil || len(list.GetOrders()) != 1 {
				t.Fatalf("%v, %v", list, err)
			}
			want := &ordersv1.Order{Id: list.GetOrders()[0].GetId(), Items: apple, AmountCents: 50, State: test.state}
			if diff := cmp.Diff(want, list.GetOrders()[0], protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOwnOrdersOnly(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	server := orders.NewServer(orders.NewStore(), payments{})
	human := principaltest.Human()
	placed, err := server.PlaceOrder(iss.Context("orders", human), &ordersv1.PlaceOrderRequest{Items: apple})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := principaltest.Human()
	elsewhere.Subject.Issuer = "https://other.test"
	for name, test := range map[string]struct {
		ctx  context.Context
		want codes.Code
	}{
		"the customer":          {iss.Context("orders", human), codes.OK},
		"an agent for them":     {iss.Context("orders", principaltest.Delegate(human, "shopping-agent")), codes.OK},
		"another":               {iss.Context("orders", principaltest.Service("billing")), codes.NotFound},
		"same id, other issuer": {iss.Context("orders", elsewhere, principal.WithIdentityIssuers(principaltest.IssuerName, "https://other.test")), codes.NotFound},
		"nobody":                {t.Context(), codes.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := server.GetOrder(test.ctx, &ordersv1.GetOrderRequest{OrderId: placed.GetOrder().GetId()})
			if status.Code(err) != test.want {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestQuoteOrder(t *testing.T) {
	t.Parallel()
	got, err := orders.NewServer(orders.NewStore(), payments{}).QuoteOrder(t.Context(), &ordersv1.QuoteOrderRequest{Items: apple})
	if err != nil {
		t.Fatal(err)
	}
	want := &ordersv1.QuoteOrderResponse{AmountCents: 50, FeeCents: 1, Covered: true}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	refusing := orders.NewServer(orders.NewStore(), payments{errors.New("secret")})
	if _, err := refusing.QuoteOrder(t.Context(), &ordersv1.QuoteOrderRequest{Items: apple}); status.Code(err) != codes.Unknown ||
		strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

func TestInvalidItems(t *testing.T) {
	t.Parallel()
	alice := principaltest.NewIssuer(t).Context("orders", principaltest.Human())
	server := orders.NewServer(orders.NewStore(), payments{})
	gold := []*ordersv1.Item{{Sku: "gold", Quantity: 1}, nil}
	if _, err := server.PlaceOrder(alice, &ordersv1.PlaceOrderRequest{Items: gold}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("PlaceOrder: %v", err)
	}
	if _, err := server.QuoteOrder(alice, &ordersv1.QuoteOrderRequest{Items: gold[1:]}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("QuoteOrder: %v", err)
	}
}

func TestNobody(t *testing.T) {
	t.Parallel()
	server := orders.NewServer(orders.NewStore(), payments{})
	ctx := t.Context()
	_, place := server.PlaceOrder(ctx, &ordersv1.PlaceOrderRequest{Items: apple})
	_, list := server.ListOrders(ctx, &ordersv1.ListOrdersRequest{})
	watch := server.WatchOrders(&ordersv1.WatchOrdersRequest{}, &serverStream[ordersv1.WatchOrdersResponse]{ctx: ctx})
	for name, err := range map[string]error{"PlaceOrder": place, "ListOrders": list, "WatchOrders": watch} {
		if status.Code(err) != codes.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// serverStream is the server's end of a stream.
type serverStream[T any] struct {
	grpc.ServerStream

	ctx  context.Context
	sent chan *T
}

func (s *serverStream[T]) Context() context.Context { return s.ctx }

func (s *serverStream[T]) Send(m *T) error {
	s.sent <- m
	return nil
}

func TestWatchOrders(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(principaltest.NewIssuer(t).Context("orders", principaltest.Human()))
	defer cancel()
	server := orders.NewServer(orders.NewStore(), payments{})
	stream := &serverStream[ordersv1.WatchOrdersResponse]{ctx: ctx, sent: make(chan *ordersv1.WatchOrdersResponse)}
	ended := make(chan error, 1)
	go func() { ended <- server.WatchOrders(&ordersv1.WatchOrdersRequest{}, stream) }()
	if _, err := server.PlaceOrder(ctx, &ordersv1.PlaceOrderRequest{Items: apple}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []ordersv1.OrderState{ordersv1.OrderState_ORDER_STATE_PENDING, ordersv1.OrderState_ORDER_STATE_PAID} {
		if got := (<-stream.sent).GetOrder().GetState(); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	cancel()
	if err := <-ended; status.Code(err) != codes.Canceled {
		t.Errorf("%v", err)
	}
}

// basket is the server's end of FillBasket.
type basket struct {
	grpc.ServerStream

	items  []*ordersv1.Item
	totals []int64
}

func (b *basket) Recv() (*ordersv1.FillBasketRequest, error) {
	if len(b.items) == 0 {
		return nil, io.EOF
	}
	item := b.items[0]
	b.items = b.items[1:]
	return &ordersv1.FillBasketRequest{Item: item}, nil
}

func (b *basket) Send(r *ordersv1.FillBasketResponse) error {
	b.totals = append(b.totals, r.GetAmountCents())
	return nil
}

func TestFillBasket(t *testing.T) {
	t.Parallel()
	server := orders.NewServer(orders.NewStore(), payments{})
	b := &basket{items: []*ordersv1.Item{{Sku: "apple", Quantity: 2}, {Sku: "book", Quantity: 1}}}
	if err := server.FillBasket(b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{100, 16_00}, b.totals); diff != "" {
		t.Error(diff)
	}
	if err := server.FillBasket(&basket{items: []*ordersv1.Item{{Sku: "gold", Quantity: 1}}}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("%v", err)
	}
}
