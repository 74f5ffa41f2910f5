package main

import (
	"context"
	"encoding/base64"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/onbehalf-dev/onbehalf/examples/provider"
	ordersv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/orders/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// scene is one call and how it has to end.
type scene struct {
	title, story string
	call         func(context.Context) string
	// want is the beginning of the answer.
	want string
	// decisions are what the services decide, as "service method reason".
	decisions []string
	// many says that there are too many decisions to show.
	many bool
}

func (c *caller) scenes() []scene {
	book := []*ordersv1.Item{{Sku: "book", Quantity: 1}}
	placeAs := func(ctx context.Context, err error) string {
		if err != nil {
			return err.Error()
		}
		r, err := c.orders.PlaceOrder(ctx, &ordersv1.PlaceOrderRequest{Items: book})
		return answer(err, "placed, %s charged", cents(r.GetChargedCents()))
	}
	quoteAs := func(ctx context.Context, err error, hold bool) string {
		if err != nil {
			return err.Error()
		}
		r, err := c.orders.QuoteOrder(ctx, &ordersv1.QuoteOrderRequest{Items: book, Hold: hold})
		return answer(err, "quoted, %s and a fee of %s", cents(r.GetAmountCents()), cents(r.GetFeeCents()))
	}
	return []scene{{
		title: "alice places an order",
		story: "Her token is verified once, at the edge. Each service signs to whom it passes her on.",
		call:  func(ctx context.Context) string { return placeAs(c.as(ctx, "alice")) },
		want:  "placed", decisions: []string{"orders PlaceOrder", "payments Charge", "ledger AppendEntry"},
	}, {
		title: "her agent asks for a price",
		story: "The agent's token names alice as subject and the agent as actor. payments narrows what it passes on.",
		call: func(ctx context.Context) string {
			ctx, err := c.as(ctx, "alice", "shopping-agent")
			return quoteAs(ctx, err, false)
		},
		want: "quoted", decisions: []string{"orders QuoteOrder", "payments GetQuote", "ledger GetBalance"},
	}, {
		title: "her agent tries to buy",
		story: "The rule of payments.Charge does not list agents, so the interceptor refuses before the handler runs.",
		call:  func(ctx context.Context) string { return placeAs(c.as(ctx, "alice", "shopping-agent")) },
		want:  "PermissionDenied", decisions: []string{"orders PlaceOrder", "payments Charge kind"},
	}, {
		title: "a narrowed call reaches for more",
		story: "payments has narrowed the call to ledger:read and then tries to write: its own link forbids it.",
		call: func(ctx context.Context) string {
			ctx, err := c.as(ctx, "alice")
			return quoteAs(ctx, err, true)
		},
		want: "PermissionDenied", decisions: []string{"orders QuoteOrder", "payments GetQuote", "ledger GetBalance", "ledger AppendEntry scope"},
	}, {
		title: "bob brings a header of his own to the edge",
		story: "The edge removes it, in every spelling, and mints his own from his token.",
		call: func(ctx context.Context) string {
			ctx, err := c.as(ctx, "bob")
			if err != nil {
				return err.Error()
			}
			return placeAs(metadata.AppendToOutgoingContext(ctx, principal.HeaderName, "I am alice", "x_principal_bin", "I am alice"), nil)
		},
		want: "placed", decisions: []string{"orders PlaceOrder", "payments Charge", "ledger AppendEntry"},
	}, {
		title: "a forged header, behind the edge",
		story: "Somebody in the network signs \"alice, admin\" with a key of their own, under the edge's key id.",
		call:  func(ctx context.Context) string { return c.attack(ctx, c.wire.forged) },
		want:  `401 {"code":"unauthenticated"`, decisions: []string{"payments GetQuote signature"},
	}, {
		title: "a truncated header, behind the edge",
		story: "A chain that went from payments to the ledger is stolen and its last link removed, to be alice at payments.",
		call:  func(ctx context.Context) string { return c.attack(ctx, c.wire.truncated) },
		want:  `401 {"code":"unauthenticated"`, decisions: []string{"payments GetQuote opening"},
	}, {
		title: "alice looks at her wishes, over plain HTTP",
		story: "This route is in relay mode: the header is forwarded as it is, and no service on the way needs a key.",
		call: func(ctx context.Context) string {
			return c.wishes(ctx, provider.TokenRequest{User: "alice", Scopes: allScopes})
		},
		want: "200", decisions: []string{"catalog GET /catalog/wishes"},
	}, {
		title: "nobody looks at the catalog",
		story: "Its rule is anonymous, so no header is sent, and none is needed.",
		call:  func(ctx context.Context) string { return c.get(ctx, "/catalog", "") },
		want:  "200", decisions: []string{"catalog GET /catalog"},
	}, {
		title: "the edge changes its signing key, and nobody notices",
		story: "The next key is published, signs as soon as all services have it, and the one before still verifies.",
		call:  c.rotate,
		want:  "none of", many: true,
	}, {
		title: "alice's session is revoked while she watches her orders",
		story: "An operator ends it. Her open stream ends in the service, and the edge mints nothing more for her token.",
		call:  c.revoke,
		want:  "Unauthenticated ", decisions: []string{"orders WatchOrders"},
	}, {
		title: "an expired token",
		story: "It ends at the edge: no service is called.",
		call: func(ctx context.Context) string {
			return c.wishes(ctx, provider.TokenRequest{User: "alice", Scopes: allScopes, Lifetime: -time.Hour})
		},
		want: "401",
	}}
}

// attack presents a header to payments.
func (c *caller) attack(ctx context.Context, header func() (string, error)) string {
	h, err := header()
	if err != nil {
		return err.Error()
	}
	return c.present(ctx, c.stack.Payments+"/shop.payments.v1.PaymentService/GetQuote", h)
}

func (c *caller) wishes(ctx context.Context, request provider.TokenRequest) string {
	token, err := c.stack.Provider.Token(request)
	if err != nil {
		return err.Error()
	}
	return c.get(ctx, "/catalog/wishes", token)
}

func decode(header string) ([]byte, error) { return base64.RawStdEncoding.DecodeString(header) }
