// Command loans serves loans.v1.LoanService at the address in LISTEN.
package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	loansv1 "example.com/loans/gen/loans/v1"
	"example.com/loans/loans"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", os.Getenv("LISTEN"))
	check(err)

	srv := grpc.NewServer()
	loansv1.RegisterLoanServiceServer(srv, loans.NewServer())
	grpc_health_v1.RegisterHealthServer(srv, health.NewServer())

	slog.Info("listening", "address", listener.Addr().String())
	context.AfterFunc(ctx, srv.GracefulStop)
	check(srv.Serve(listener))
}

func check(err error) {
	if err != nil {
		slog.Error("loans", "error", err)
		os.Exit(1)
	}
}
