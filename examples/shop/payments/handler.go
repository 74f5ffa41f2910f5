// Package payments quotes and charges, with the balances of the ledger.
package payments

import (
	"context"

	connectv1 "connectrpc.com/connect"
	"connectrpc.com/connect/v2"

	ledgerv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/ledger/v1"
	"github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/ledger/v1/ledgerv1connect"
	paymentsv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/payments/v1"
	"github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/payments/v1/paymentsv1connect"
	"github.com/onbehalf-dev/onbehalf/principal"
)

var _ paymentsv1connect.PaymentServiceHandler = (*Handler)(nil)

// Handler serves payments with Connect v2.
type Handler struct {
	ledger ledgerv1connect.LedgerServiceClient
}

// NewHandler returns a handler. The client is to pass the principal on: whose
// account it is, the ledger sees there.
func NewHandler(ledger ledgerv1connect.LedgerServiceClient) *Handler {
	return &Handler{ledger: ledger}
}

// GetQuote asks for the balance with no more than the right to read it.
func (h *Handler) GetQuote(ctx context.Context, r *paymentsv1.GetQuoteRequest) (*paymentsv1.GetQuoteResponse, error) {
	if err := checkAmount(r.GetAmountCents()); err != nil {
		return nil, err
	}
	ctx, err := principal.Narrow(ctx, "ledger:read")
	if err != nil {
		return nil, connect.NewError(connect.CodePermissionDenied, "may not read the ledger").WithCause(err)
	}
	balance, err := h.ledger.GetBalance(ctx, connectv1.NewRequest(&ledgerv1.GetBalanceRequest{}))
	if err != nil {
		return nil, ledgerError(err)
	}
	if r.GetHold() {
		// The narrowed ctx is what stops this.
		if err := h.append(ctx, "hold", 0); err != nil {
			return nil, err
		}
	}
	cost := fee(r.GetAmountCents())
	return &paymentsv1.GetQuoteResponse{
		FeeCents: cost,
		Covered:  balance.Msg.GetBalanceCents() >= r.GetAmountCents()+cost,
	}, nil
}

// Charge takes amount and fee from the subject's account, once for an order.
func (h *Handler) Charge(ctx context.Context, r *paymentsv1.ChargeRequest) (*paymentsv1.ChargeResponse, error) {
	if err := checkAmount(r.GetAmountCents()); err != nil {
		return nil, err
	}
	charged := r.GetAmountCents() + fee(r.GetAmountCents())
	if err := h.append(ctx, "order "+r.GetOrderId(), -charged); err != nil {
		return nil, err
	}
	return &paymentsv1.ChargeResponse{ChargedCents: charged}, nil
}

func (h *Handler) append(ctx context.Context, reference string, amount int64) error {
	_, err := h.ledger.AppendEntry(ctx, connectv1.NewRequest(&ledgerv1.AppendEntryRequest{
		Reference: reference, AmountCents: amount,
	}))
	if err != nil {
		return ledgerError(err)
	}
	return nil
}

// maxCents keeps amount and fee far from overflow, here and in the ledger.
const maxCents = 1_000_000_00

func checkAmount(cents int64) error {
	if cents <= 0 || cents > maxCents {
		return connect.NewError(connect.CodeInvalidArgument, "amount_cents is out of range")
	}
	return nil
}

// fee is 2 % of an amount, rounded down.
func fee(amountCents int64) int64 { return amountCents / 50 }

// ledgerError passes the code on, but not the ledger's words.
func ledgerError(err error) error {
	code := connect.Code(connectv1.CodeOf(err))
	return connect.NewError(code, "ledger: "+code.String()).WithCause(err)
}
