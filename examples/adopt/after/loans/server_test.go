package loans_test

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	loansv1 "example.com/loans/gen/loans/v1"
	"example.com/loans/loans"
)

func client(t *testing.T) loansv1.LoanServiceClient {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	srv := grpc.NewServer()
	loansv1.RegisterLoanServiceServer(srv, loans.NewServer())
	go srv.Serve(listener)
	t.Cleanup(srv.Stop)
	conn, err := grpc.NewClient("passthrough:", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return loansv1.NewLoanServiceClient(conn)
}

func TestRepay(t *testing.T) {
	t.Parallel()
	c := client(t)
	repaid, err := c.Repay(t.Context(), &loansv1.RepayRequest{Id: "house", Cents: 29_999_999})
	if err != nil || repaid.GetLeft().GetCents() != 1 {
		t.Errorf("%v, %v", repaid, err)
	}
	if _, err := c.Repay(t.Context(), &loansv1.RepayRequest{Id: "house", Cents: 2}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("more than is left: %v", err)
	}
	got, err := c.GetLoan(t.Context(), &loansv1.GetLoanRequest{Id: "house"})
	if err != nil || got.GetPrincipal().GetCents() != 1 {
		t.Errorf("%v, %v", got, err)
	}
}
