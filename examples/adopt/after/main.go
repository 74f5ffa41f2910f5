// Command loans serves loans.v1.LoanService at the address in LISTEN.
package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalgrpc"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/trust"
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

	node, err := trust.Join(ctx, os.Getenv("EDGE"), "loans", trust.WithEnrollmentToken(os.Getenv("ENROLLMENT_TOKEN")))
	check(err)
	rules, err := principal.RulesFromProto(loansv1.File_loans_v1_loans_proto)
	check(err)
	guard, err := principal.NewGuard(node.Verifier(), rules.WithService("grpc.health.v1.Health", principal.AllowAnonymous()),
		principal.WithObserver(principal.NewLogObserver(slog.Default())))
	check(err)

	srv := grpc.NewServer(principalgrpc.ServerOptions(guard)...)
	loansv1.RegisterLoanServiceServer(srv, loans.NewServer())
	grpc_health_v1.RegisterHealthServer(srv, health.NewServer())
	check(principalgrpc.Check(srv, guard))

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
