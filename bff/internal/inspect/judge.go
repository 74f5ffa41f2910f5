package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// Service says how the service would verify that is to be asked.
type Service struct {
	// Name is its audience. Required.
	Name string
	// TrustDomain is the one whose relayed headers it accepts, or "".
	TrustDomain string
	// Issuers are those that it trusts; all that have keys, if there are none.
	Issuers []string
}

// Check says whether there can be such a service.
func (s *Service) Check() error {
	_, err := s.verifier(noKeys{}, time.Time{})
	return err
}

func (s *Service) verifier(keys principal.KeySet, at time.Time) (*principal.Verifier, error) {
	opts := []principal.VerifierOption{principal.WithClock(func() time.Time { return at })}
	if s.TrustDomain != "" {
		opts = append(opts, principal.AcceptRelay(s.TrustDomain))
	}
	if len(s.Issuers) > 0 {
		keys = &issuersOnly{KeySet: keys, issuers: s.Issuers}
	}
	return principal.NewVerifier(s.Name, keys, opts...)
}

type noKeys struct{}

func (noKeys) Find(context.Context, principal.KeyRef) (*principal.Key, error) {
	return nil, errors.New("no keys")
}

func (noKeys) Version() uint64 { return 0 }

// issuersOnly leaves out the authority keys of all other issuers.
type issuersOnly struct {
	principal.KeySet
	issuers []string
}

func (k *issuersOnly) Find(ctx context.Context, ref principal.KeyRef) (*principal.Key, error) {
	if ref.Role == principal.RoleAuthority && !slices.Contains(k.issuers, ref.Owner) {
		return nil, nil
	}
	return k.KeySet.Find(ctx, ref)
}

// notAsked is what a decision here leaves out: it depends on the connection, on
// what was revoked, or on the method.
var notAsked = []string{"presenter", "revocations", "single_use", "access_rule"}

// Check verifies the signatures of the report's header with keys. It adds what it
// finds to the report.
func (r *Report) Check(ctx context.Context, keys principal.KeySet) {
	r.Signatures = SignaturesValid
	for n, reason := range r.inspected.Signatures(ctx, keys) {
		state := SignaturesValid
		if reason != 0 {
			state = reason.String()
			r.Signatures = SignaturesInvalid
		}
		r.Chain[n].Signature = state
	}
}

// Ask asks a verifier of that service whether it would accept the header at the
// report's time, and adds the answer to the report. The error is about the
// service's description.
func (r *Report) Ask(ctx context.Context, keys principal.KeySet, s *Service) error {
	v, err := s.verifier(keys, r.At)
	if err != nil {
		return err
	}
	r.Decision = &Decision{Service: s.Name, TrustDomain: s.TrustDomain, Issuers: s.Issuers, NotChecked: notAsked}
	_, err = v.Verify(ctx, r.header)
	denial, refused := errors.AsType[*principal.Denial](err)
	if !refused {
		r.Decision.Accepted = err == nil
		return err
	}
	r.Decision.Reason = denial.Reason().String()
	r.Decision.Code = codeName(denial.Code())
	r.Decision.Explanation = Explain(denial.Reason())
	if detail := denial.Unwrap(); detail != nil {
		r.Decision.Detail = detail.Error()
	}
	return nil
}

func codeName(c principal.Code) string {
	switch c {
	case principal.CodeUnauthenticated:
		return "UNAUTHENTICATED"
	case principal.CodePermissionDenied:
		return "PERMISSION_DENIED"
	case principal.CodeUnavailable:
		return "UNAVAILABLE"
	default:
		return fmt.Sprintf("CODE_%d", c)
	}
}

// Refused returns an error that says what is against the header, if the keys or
// the service that were asked said no.
func (r *Report) Refused() error {
	switch {
	case r.Decision != nil && !r.Decision.Accepted:
		return fmt.Errorf("%s would refuse it: %s", r.Decision.Service, r.Decision.Reason)
	case r.Signatures == SignaturesInvalid:
		return errors.New("not every signature verifies with these keys")
	default:
		return nil
	}
}
