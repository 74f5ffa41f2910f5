package principal

import (
	"context"
	"errors"
	"time"
)

// Revocations is what a verifier knows of revoked things. It is safe for
// concurrent use and never blocks.
type Revocations interface {
	// Generation changes whenever the answer of Check may have changed, not
	// before it does, and is never 0. A verified header is not checked again
	// until it changes.
	Generation() uint64
	// Check returns ReasonRevoked if p's id, session, one of its identities or
	// grants, a signing key, or a service that signed is revoked; ReasonFloor if
	// p was issued before what is remembered; else 0.
	Check(p *Principal) Reason
	// Age returns how old the knowledge is.
	Age(now time.Time) time.Duration
}

// OnlineCheck asks the issuer about p now. Whatever it returns but nil refuses
// the call as unavailable.
type OnlineCheck func(ctx context.Context, p *Principal) error

// WithRevocations makes the verifier refuse what has been revoked.
func WithRevocations(r Revocations) VerifierOption {
	return verifierOption(func(v *Verifier) error {
		if r == nil {
			return errors.New("principal: the revocations are nil: leave the option out to have none")
		}
		v.revocations = r
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
