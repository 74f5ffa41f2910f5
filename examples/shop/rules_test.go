package shop_test

import (
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	ledgerv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/ledger/v1"
	ordersv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/orders/v1"
	paymentsv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/payments/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

const (
	ordersService   = "/shop.orders.v1.OrderService/"
	paymentsService = "/shop.payments.v1.PaymentService/"
	ledgerService   = "/shop.ledger.v1.LedgerService/"
)

// TestRules is the shop's access policy, as its services enforce it.
func TestRules(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	scopes := []string{"ledger:read", "ledger:write", "orders:read", "orders:write", "payments:read", "payments:write"}
	human := principaltest.Human(scopes...)
	agent := principaltest.Delegate(human, "shopping-agent")
	billing := principaltest.Service("billing", scopes...)

	atOrders := iss.Header("orders", human)
	atPayments := iss.Pass(atOrders, "orders", "payments")
	agentAtOrders := iss.Header("orders", agent)
	agentAtPayments := iss.Pass(agentAtOrders, "orders", "payments")

	for name, test := range map[string]struct {
		service, method, header string
		want                    principal.Reason
	}{
		"human places an order": {"orders", ordersService + "PlaceOrder", atOrders, 0},
		"and is charged":        {"payments", paymentsService + "Charge", atPayments, 0},
		"and it is booked":      {"ledger", ledgerService + "AppendEntry", iss.Pass(atPayments, "payments", "ledger"), 0},
		"human watches":         {"orders", ordersService + "WatchOrders", atOrders, 0},

		"agent asks for a quote":  {"orders", ordersService + "QuoteOrder", agentAtOrders, 0},
		"and gets it":             {"payments", paymentsService + "GetQuote", agentAtPayments, 0},
		"with the balance":        {"ledger", ledgerService + "GetBalance", iss.Pass(agentAtPayments, "payments", "ledger", "ledger:read"), 0},
		"agent places an order":   {"orders", ordersService + "PlaceOrder", agentAtOrders, 0},
		"but may not spend":       {"payments", paymentsService + "Charge", agentAtPayments, principal.ReasonKind},
		"nor book":                {"ledger", ledgerService + "AppendEntry", iss.Pass(agentAtPayments, "payments", "ledger"), principal.ReasonKind},
		"nor read what it bought": {"orders", ordersService + "GetOrder", agentAtOrders, principal.ReasonKind},

		"narrowed payments books": {
			"ledger", ledgerService + "AppendEntry", iss.Pass(atPayments, "payments", "ledger", "ledger:read"), principal.ReasonScope,
		},
		"edge charges directly":  {"payments", paymentsService + "Charge", iss.Header("payments", human), principal.ReasonCaller},
		"orders books directly":  {"ledger", ledgerService + "AppendEntry", iss.Pass(atOrders, "orders", "ledger"), principal.ReasonCaller},
		"a reader places orders": {"orders", ordersService + "PlaceOrder", iss.Header("orders", principaltest.Human("orders:read")), principal.ReasonScope},

		"billing exports":            {"ledger", ledgerService + "ExportEntries", iss.Header("ledger", billing), 0},
		"a human exports":            {"ledger", ledgerService + "ExportEntries", iss.Header("ledger", human), principal.ReasonKind},
		"a service places an order":  {"orders", ordersService + "PlaceOrder", iss.Header("orders", billing), principal.ReasonKind},
		"a method that is not there": {"orders", ordersService + "DeleteOrder", atOrders, principal.ReasonNoRule},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newGuard(t, iss, test.service).Admit(t.Context(),
				principal.Call{Procedure: test.method, Values: []string{test.header}})
			if got := principal.ReasonOf(err); got != test.want {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

// newGuard has a verifier without relay: its headers have no caller to ask for.
func newGuard(t *testing.T, iss *principaltest.Issuer, service string) *principal.Guard {
	t.Helper()
	verifier, err := principal.NewVerifier(service, iss)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := principal.RulesFromProto(files()[service])
	if err != nil {
		t.Fatal(err)
	}
	guard, err := principal.NewGuard(verifier, rules)
	if err != nil {
		t.Fatal(err)
	}
	return guard
}

func files() map[string]protoreflect.FileDescriptor {
	return map[string]protoreflect.FileDescriptor{
		"orders":   ordersv1.File_shop_orders_v1_orders_proto,
		"payments": paymentsv1.File_shop_payments_v1_payments_proto,
		"ledger":   ledgerv1.File_shop_ledger_v1_ledger_proto,
	}
}

func TestEveryMethodHasARule(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	for service, file := range files() {
		var methods []string
		rpc := file.Services().Get(0)
		for i := range rpc.Methods().Len() {
			methods = append(methods, "/"+string(rpc.FullName())+"/"+string(rpc.Methods().Get(i).Name()))
		}
		if err := newGuard(t, iss, service).CheckMethods(methods); err != nil {
			t.Error(err)
		}
	}
}
