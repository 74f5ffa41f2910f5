package stack

import (
	"context"
	"log/slog"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1/bffv1connect"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/trust"
)

// member is a service that has joined the platform: it follows the edge's keys
// and revocations, and has a key of its own with which it signs what it passes
// on.
type member struct {
	*trust.Node

	observer principal.Observer
}

// join enrols a service with a token that an operator makes for it. Where
// services have certificates they show those instead.
func join(ctx context.Context, mesh string, admin bffv1connect.AdminServiceClient, name string, observer principal.Observer, opts ...principal.VerifierOption) (*member, error) {
	made, err := admin.CreateEnrollmentToken(ctx, &bffv1.CreateEnrollmentTokenRequest{Service: name})
	if err != nil {
		return nil, err
	}
	node, err := trust.Join(ctx, mesh, name, trust.WithEnrollmentToken(made.GetToken()),
		trust.WithVerifierOptions(opts...), trust.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, node.Close)
	return &member{Node: node, observer: observer}, nil
}

// guard is the service's guard, unless its rules could not be read.
func (m *member) guard(rules *principal.Rules, err error) (*principal.Guard, error) {
	switch {
	case err != nil:
		return nil, err
	case m.observer == nil:
		return principal.NewGuard(m.Verifier(), rules)
	default:
		return principal.NewGuard(m.Verifier(), rules, principal.WithObserver(m.observer))
	}
}
