package principal

import (
	"context"
	"errors"
	"time"
)

// defaultStaleness is how long a verifier goes on without hearing of
// revocations, for methods whose rule does not say otherwise.
const defaultStaleness = 30 * time.Second

// Revocations is what a verifier knows of revoked things. It is safe for
// concurrent use and never blocks.
type Revocations interface { //nolint:interfacebloat // they are of use only together
	// Generation changes whenever the answer of Check may have changed, not
	// before it does, and is never 0. A verified header is not checked again
	// until it changes.
	Generation() uint64
	// Check returns ReasonRevoked if p's id, session, one of its identities or
	// grants, a signing key, or a service that signed is revoked; ReasonFloor if
	// p was issued before what is remembered; else 0. open says that p's call was
	// let in before and has been checked at each change since, so that only what
	// was never heard of counts against it.
	Check(p *Principal, open bool) Reason
	// Age returns for how long nothing has been heard of the source, and how old
	// the knowledge is that nothing is missing. The latter is never the shorter.
	Age(now time.Time) (unheard, age time.Duration)
	// OnChange has f called after each change of Generation, by whoever makes the
	// change: f must be quick. It holds f for ever.
	OnChange(f func())
}

// OnlineCheck makes sure that all that was revoked until now is known to the
// verifier's [Revocations]. Whatever it returns but nil refuses the call as
// unavailable.
type OnlineCheck func(ctx context.Context) error

// WithRevocations makes the verifier refuse what has been revoked, and end what
// is under way. Where nothing was heard of r for 30 seconds (see
// [WithStaleness]), it refuses all principals, but for methods whose rule has a
// max_revocation_age.
func WithRevocations(r Revocations) VerifierOption {
	return verifierOption(func(v *Verifier) error {
		if r == nil {
			return errors.New("principal: the revocations are nil: leave the option out to have none")
		}
		v.revocations = r
		return nil
	})
}

// WithStaleness changes for how long the verifier goes on without hearing of
// its revocations: one second or more. A long time is how long somebody who cuts
// a service off can keep revoked principals alive there.
func WithStaleness(bound time.Duration) VerifierOption {
	return verifierOption(func(v *Verifier) error {
		if bound < time.Second {
			return errors.New("principal: a staleness below 1s would refuse calls between two heartbeats")
		}
		v.staleness = bound
		return nil
	})
}

// WithOnlineCheck serves rules that demand an online check.
func WithOnlineCheck(check OnlineCheck) VerifierOption {
	return verifierOption(func(v *Verifier) error {
		if check == nil {
			return errors.New("principal: the online check is nil")
		}
		v.online = check
		return nil
	})
}

// staleIn returns how long the revocations go on to be fresh enough for r, which
// may be nil. It is not above 0 if they are not.
func (v *Verifier) staleIn(r *rule) time.Duration {
	unheard, age := v.revocations.Age(v.now())
	if r != nil && r.maxAge > 0 {
		return r.maxAge - age
	}
	return v.staleness - unheard
}
