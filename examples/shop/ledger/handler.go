package ledger

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/onbehalf-dev/onbehalf/examples/shop"
	ledgerv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/ledger/v1"
	"github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/ledger/v1/ledgerv1connect"
)

var _ ledgerv1connect.LedgerServiceHandler = (*Handler)(nil)

// Handler serves a [Book] with Connect v1.
type Handler struct {
	book *Book
}

// NewHandler returns a handler of book.
func NewHandler(book *Book) *Handler { return &Handler{book: book} }

// AppendEntry adds to the subject's account.
func (h *Handler) AppendEntry(
	ctx context.Context, r *connect.Request[ledgerv1.AppendEntryRequest],
) (*connect.Response[ledgerv1.AppendEntryResponse], error) {
	account, ok := shop.Customer(ctx)
	if !ok {
		return nil, errNoCustomer
	}
	balance, err := h.book.Append(Entry{account, r.Msg.GetReference(), r.Msg.GetAmountCents()})
	if err != nil {
		return nil, appendError(err)
	}
	return connect.NewResponse(&ledgerv1.AppendEntryResponse{BalanceCents: balance}), nil
}

// GetBalance answers for the subject's account.
func (h *Handler) GetBalance(
	ctx context.Context, _ *connect.Request[ledgerv1.GetBalanceRequest],
) (*connect.Response[ledgerv1.GetBalanceResponse], error) {
	account, ok := shop.Customer(ctx)
	if !ok {
		return nil, errNoCustomer
	}
	return connect.NewResponse(&ledgerv1.GetBalanceResponse{BalanceCents: h.book.Balance(account)}), nil
}

// ExportEntries sends everybody's entries.
func (h *Handler) ExportEntries(
	_ context.Context, _ *connect.Request[ledgerv1.ExportEntriesRequest],
	stream *connect.ServerStream[ledgerv1.ExportEntriesResponse],
) error {
	for _, e := range h.book.Entries() {
		err := stream.Send(&ledgerv1.ExportEntriesResponse{
			Entry: &ledgerv1.Entry{Account: e.Account, Reference: e.Reference, AmountCents: e.AmountCents},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// The methods' rules admit nobody without a principal; a server that was put
// together without a guard gets this.
var errNoCustomer = connect.NewError(connect.CodeInternal, errors.New("no customer"))

func appendError(err error) error {
	if errors.Is(err, ErrReferenceUsed) {
		return connect.NewError(connect.CodeAlreadyExists, errors.New("reference is used already"))
	}
	return connect.NewError(connect.CodeFailedPrecondition, errors.New("balance too low"))
}
