package access

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
)

const (
	issuer  = "https://access.invalid"
	service = "access"
)

// Caller is a principal to ask about. The zero value is a call without one.
type Caller struct {
	// Kind is whose call it is; 0 is a call without a principal.
	Kind principal.Kind
	// Scopes and Roles are the effective ones, in any order.
	Scopes, Roles []string
	// Service is the name of the calling service; "" if it is not known.
	Service string
	// ACR is how the subject was authenticated; "" if it is not known.
	ACR string
	// Delegations is through how many agents an agent acts; 0 if in its own right.
	Delegations int
}

// judge asks the guard that services stand on, with principals that are really
// signed, so that what it says is what a service does. The key is thrown away,
// the clock stands still, revocations are fresh, the online check passes, and no
// header is used twice.
type judge struct {
	signer *principal.Signer
	guard  *principal.Guard
}

func now() time.Time { return time.Unix(1_800_000_000, 0) }

func newJudge(rules *principal.Rules) (*judge, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	signer, err := principal.NewSigner(issuer, key, "")
	if err != nil {
		return nil, err
	}
	keys, err := keyset.NewStatic(signer.Key())
	if err != nil {
		return nil, err
	}
	revoked, err := revocation.NewIndex(issuer)
	if err != nil {
		return nil, err
	}
	if err := revoked.Apply(now(), revocation.Update{Sent: now()}); err != nil {
		return nil, err
	}
	verifier, err := principal.NewVerifier(service, keys, principal.WithClock(now),
		principal.WithRevocations(revoked), principal.WithOnlineCheck(func(context.Context) error { return nil }))
	if err != nil {
		return nil, err
	}
	guard, err := principal.NewGuard(verifier, rules)
	return &judge{signer: signer, guard: guard}, err
}

// ask returns why the method refuses the caller; 0 if it does not. What only a
// defect of this package could cause is an error.
func (j *judge) ask(ctx context.Context, procedure string, c Caller) (principal.Reason, error) {
	call := principal.Call{Procedure: procedure}
	if c.Kind != 0 {
		header, err := j.header(c)
		if err != nil {
			return 0, err
		}
		call.Values = []string{header}
	}
	_, err := j.guard.Admit(ctx, call)
	if err == nil {
		return 0, nil
	}
	reason := principal.ReasonOf(err)
	if reason.Code() == principal.CodePermissionDenied || reason == principal.ReasonMissing && c.Kind == 0 {
		return reason, nil
	}
	return 0, fmt.Errorf("%s cannot be decided: %w", procedure, err)
}

func (j *judge) header(c Caller) (string, error) {
	p := &principalv1.Principal{
		Audience: service, Presenter: c.Service, IssuedAt: now().Unix(), ExpiresAt: now().Add(time.Minute).Unix(),
		Scopes: ascending(c.Scopes), Roles: ascending(c.Roles),
	}
	if c.ACR != "" {
		p.Authentication = &principalv1.Authentication{Acr: c.ACR}
	}
	switch {
	case c.Kind == principal.KindService:
		p.Subject = &principalv1.Identity{Id: &principalv1.Identity_ServiceName{ServiceName: "caller"}}
	case c.Kind == principal.KindHuman, c.Delegations > 0:
		p.Subject = &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: "caller"}}
	case c.Kind == principal.KindAgent:
		p.Subject = agent(0)
	default:
		return "", errors.New("this kind of caller is not known")
	}
	if c.Kind == principal.KindAgent {
		for i := range c.Delegations {
			p.Delegations = append(p.Delegations, &principalv1.Delegation{GrantId: make([]byte, len(principal.ID{})), Actor: agent(i)})
		}
	}
	return j.signer.Sign(p)
}

func agent(i int) *principalv1.Identity {
	return &principalv1.Identity{Id: &principalv1.Identity_AgentName{AgentName: fmt.Sprintf("caller-%d", i)}}
}

func ascending(list []string) []string {
	list = slices.Sorted(slices.Values(list))
	return slices.Compact(list)
}
