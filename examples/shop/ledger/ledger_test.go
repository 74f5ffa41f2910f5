package ledger_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	ledgerv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/ledger/v1"
	"github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/ledger/v1/ledgerv1connect"
	"github.com/onbehalf-dev/onbehalf/examples/shop/ledger"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

func TestBook(t *testing.T) {
	t.Parallel()
	book := ledger.NewBook(100)
	for _, step := range []struct {
		entry   ledger.Entry
		balance int64
		err     error
	}{
		{ledger.Entry{"alice", "1", -60}, 40, nil},
		{ledger.Entry{"alice", "2", -41}, 0, ledger.ErrOverdrawn},
		{ledger.Entry{"alice", "1", -1}, 0, ledger.ErrReferenceUsed},
		{ledger.Entry{"alice", "2", -40}, 0, nil},
		{ledger.Entry{"bob", "1", 5}, 105, nil},
	} {
		if balance, err := book.Append(step.entry); balance != step.balance || !errors.Is(err, step.err) {
			t.Errorf("%+v: %d, %v", step.entry, balance, err)
		}
	}
	if alice, bob, other := book.Balance("alice"), book.Balance("bob"), book.Balance("carol"); alice != 0 || bob != 105 || other != 100 {
		t.Errorf("balances %d, %d, %d", alice, bob, other)
	}
	want := []ledger.Entry{{"alice", "1", -60}, {"alice", "2", -40}, {"bob", "1", 5}}
	if diff := cmp.Diff(want, book.Entries()); diff != "" {
		t.Error(diff)
	}
}

func TestBookConcurrently(t *testing.T) {
	t.Parallel()
	book := ledger.NewBook(50)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() { _, _ = book.Append(ledger.Entry{"alice", string(rune('a' + i)), -1}) })
	}
	wg.Wait()
	if len(book.Entries()) != 50 || book.Balance("alice") != 0 {
		t.Errorf("%d entries, balance %d", len(book.Entries()), book.Balance("alice"))
	}
}

func TestHandler(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	handler := ledger.NewHandler(ledger.NewBook(100))
	alice := iss.Context("ledger", principaltest.Human())
	agentOfAlice := iss.Context("ledger", principaltest.Delegate(principaltest.Human(), "shopping-agent"))
	billing := iss.Context("ledger", principaltest.Service("billing"))

	appendTo := func(ctx context.Context, reference string, cents int64) (int64, error) {
		r, err := handler.AppendEntry(ctx, connect.NewRequest(&ledgerv1.AppendEntryRequest{Reference: reference, AmountCents: cents}))
		if err != nil {
			return 0, err
		}
		return r.Msg.GetBalanceCents(), nil
	}
	for name, test := range map[string]struct {
		ctx       context.Context
		reference string
		cents     int64
		want      connect.Code
	}{
		"too much":     {alice, "1", -101, connect.CodeFailedPrecondition},
		"no principal": {t.Context(), "1", 1, connect.CodeInternal},
	} {
		if _, err := appendTo(test.ctx, test.reference, test.cents); connect.CodeOf(err) != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if balance, err := appendTo(agentOfAlice, "1", -30); err != nil || balance != 70 {
		t.Errorf("%d, %v", balance, err)
	}
	if _, err := appendTo(alice, "1", -30); connect.CodeOf(err) != connect.CodeAlreadyExists {
		t.Errorf("reference used twice: %v", err)
	}
	for name, test := range map[string]struct {
		ctx  context.Context
		want int64
	}{"owner": {alice, 70}, "another": {billing, 100}} {
		r, err := handler.GetBalance(test.ctx, connect.NewRequest(&ledgerv1.GetBalanceRequest{}))
		if err != nil || r.Msg.GetBalanceCents() != test.want {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	if _, err := handler.GetBalance(t.Context(), connect.NewRequest(&ledgerv1.GetBalanceRequest{})); connect.CodeOf(err) != connect.CodeInternal {
		t.Errorf("balance of nobody: %v", err)
	}
}

func TestExportEntries(t *testing.T) {
	t.Parallel()
	book := ledger.NewBook(100)
	for _, account := range []string{"alice", "bob"} {
		if _, err := book.Append(ledger.Entry{account, "1", -1}); err != nil {
			t.Fatal(err)
		}
	}
	mux := http.NewServeMux()
	mux.Handle(ledgerv1connect.NewLedgerServiceHandler(ledger.NewHandler(book)))
	server := httptest.NewServer(mux)
	defer server.Close()
	stream, err := ledgerv1connect.NewLedgerServiceClient(server.Client(), server.URL).
		ExportEntries(t.Context(), connect.NewRequest(&ledgerv1.ExportEntriesRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var accounts []string
	for stream.Receive() {
		accounts = append(accounts, stream.Msg().GetEntry().GetAccount())
	}
	if diff := cmp.Diff([]string{"alice", "bob"}, accounts); diff != "" || stream.Err() != nil {
		t.Error(diff, stream.Err())
	}
}
