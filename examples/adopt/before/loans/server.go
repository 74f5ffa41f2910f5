// Package loans is the service: it keeps what is left of each loan.
package loans

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	loansv1 "example.com/loans/gen/loans/v1"
	principalv1 "example.com/loans/gen/principal/v1"
)

// Server serves loans from memory.
type Server struct {
	loansv1.UnimplementedLoanServiceServer

	mu   sync.Mutex
	left map[string]int64
}

// NewServer returns a server with one loan, "house".
func NewServer() *Server {
	return &Server{left: map[string]int64{"house": 30_000_000}}
}

// GetLoan answers with what is left of a loan.
func (s *Server) GetLoan(_ context.Context, r *loansv1.GetLoanRequest) (*loansv1.GetLoanResponse, error) {
	left, err := s.repay(r.GetId(), 0)
	return &loansv1.GetLoanResponse{Principal: left}, err
}

// Repay takes a sum off a loan.
func (s *Server) Repay(_ context.Context, r *loansv1.RepayRequest) (*loansv1.RepayResponse, error) {
	left, err := s.repay(r.GetId(), r.GetCents())
	return &loansv1.RepayResponse{Left: left}, err
}

func (s *Server) repay(id string, cents int64) (*principalv1.Principal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left, ok := s.left[id]
	if !ok {
		return nil, status.Error(codes.NotFound, "no such loan")
	}
	if cents < 0 || cents > left {
		return nil, status.Error(codes.InvalidArgument, "more than is left, or less than nothing")
	}
	s.left[id] = left - cents
	return &principalv1.Principal{Cents: left - cents}, nil
}
