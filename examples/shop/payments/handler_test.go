package payments_test

import (
	"context"
	"errors"
	"testing"

	connectv1 "connectrpc.com/connect"
	"connectrpc.com/connect/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	ledgerv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/ledger/v1"
	"github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/ledger/v1/ledgerv1connect"
	paymentsv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/payments/v1"
	"github.com/onbehalf-dev/onbehalf/examples/shop/payments"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

// remoteLedger shows what the ledger would: the entry, and the scopes of the
// principal that arrives there.
type remoteLedger struct {
	ledgerv1connect.LedgerServiceClient

	t       *testing.T
	iss     *principaltest.Issuer
	balance int64
	err     error

	scopes []string
	entry  *ledgerv1.AppendEntryRequest
}

func (l *remoteLedger) arrive(ctx context.Context) error {
	header, err := l.iss.Propagator("payments").Header(ctx, "ledger", "")
	if err != nil {
		return err
	}
	there := principalOf(l.iss.ContextOf("ledger", header.Binary()), l.t) //nolint:contextcheck // the other service's
	for _, scope := range []string{"ledger:read", "ledger:write"} {
		if there.HasScope(scope) {
			l.scopes = append(l.scopes, scope)
		}
	}
	return l.err
}

func (l *remoteLedger) GetBalance(
	ctx context.Context, _ *connectv1.Request[ledgerv1.GetBalanceRequest],
) (*connectv1.Response[ledgerv1.GetBalanceResponse], error) {
	if err := l.arrive(ctx); err != nil {
		return nil, err
	}
	return connectv1.NewResponse(&ledgerv1.GetBalanceResponse{BalanceCents: l.balance}), nil
}

func (l *remoteLedger) AppendEntry(
	ctx context.Context, r *connectv1.Request[ledgerv1.AppendEntryRequest],
) (*connectv1.Response[ledgerv1.AppendEntryResponse], error) {
	if err := l.arrive(ctx); err != nil {
		return nil, err
	}
	l.entry = r.Msg
	return connectv1.NewResponse(&ledgerv1.AppendEntryResponse{}), nil
}

func newRemoteLedger(t *testing.T) *remoteLedger {
	t.Helper()
	return &remoteLedger{t: t, iss: principaltest.NewIssuer(t), balance: 1000}
}

func (l *remoteLedger) call(scopes ...string) context.Context {
	return l.iss.Context("payments", principaltest.Human(scopes...))
}

func TestGetQuote(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		request *paymentsv1.GetQuoteRequest
		want    *paymentsv1.GetQuoteResponse
		scopes  []string
	}{
		"covered":     {&paymentsv1.GetQuoteRequest{AmountCents: 980}, &paymentsv1.GetQuoteResponse{FeeCents: 19, Covered: true}, []string{"ledger:read"}},
		"not covered": {&paymentsv1.GetQuoteRequest{AmountCents: 990}, &paymentsv1.GetQuoteResponse{FeeCents: 19}, []string{"ledger:read"}},
		"hold arrives without the right to write": {
			&paymentsv1.GetQuoteRequest{AmountCents: 1, Hold: true}, &paymentsv1.GetQuoteResponse{Covered: true},
			[]string{"ledger:read", "ledger:read"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ledger := newRemoteLedger(t)
			got, err := payments.NewHandler(ledger).GetQuote(ledger.call("ledger:read", "ledger:write"), test.request)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.scopes, ledger.scopes); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGetQuoteRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		scopes []string
		amount int64
		err    error
		want   connect.Code
	}{
		"nothing":         {[]string{"ledger:read"}, 0, nil, connect.CodeInvalidArgument},
		"too much":        {[]string{"ledger:read"}, 1 << 62, nil, connect.CodeInvalidArgument},
		"no right":        {nil, 1, nil, connect.CodePermissionDenied},
		"ledger's code":   {[]string{"ledger:read"}, 1, connectv1.NewError(connectv1.CodeUnavailable, errors.New("secret")), connect.CodeUnavailable},
		"ledger's secret": {[]string{"ledger:read"}, 1, errors.New("secret"), connect.CodeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ledger := newRemoteLedger(t)
			ledger.err = test.err
			_, err := payments.NewHandler(ledger).GetQuote(ledger.call(test.scopes...), &paymentsv1.GetQuoteRequest{AmountCents: test.amount})
			checkCode(t, err, test.want)
		})
	}
}

func TestCharge(t *testing.T) {
	t.Parallel()
	ledger := newRemoteLedger(t)
	got, err := payments.NewHandler(ledger).Charge(ledger.call("ledger:read", "ledger:write"),
		&paymentsv1.ChargeRequest{OrderId: "7", AmountCents: 500})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&paymentsv1.ChargeResponse{ChargedCents: 510}, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&ledgerv1.AppendEntryRequest{Reference: "order 7", AmountCents: -510}, ledger.entry, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"ledger:read", "ledger:write"}, ledger.scopes); diff != "" {
		t.Error(diff)
	}
}

func TestChargeRefuses(t *testing.T) {
	t.Parallel()
	ledger := newRemoteLedger(t)
	_, err := payments.NewHandler(ledger).Charge(ledger.call(), &paymentsv1.ChargeRequest{AmountCents: -1})
	checkCode(t, err, connect.CodeInvalidArgument)
	ledger.err = connectv1.NewError(connectv1.CodeFailedPrecondition, errors.New("secret"))
	_, err = payments.NewHandler(ledger).Charge(ledger.call(), &paymentsv1.ChargeRequest{AmountCents: 1})
	checkCode(t, err, connect.CodeFailedPrecondition)
}
