package mint

import (
	"slices"
	"sync/atomic"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
)

var errRevoked = &authn.Error{Reason: authn.ReasonRevoked}

// authority is what something rests on that can be revoked.
type authority struct {
	targets    []revocation.Target
	issued     time.Time // the credential
	generation atomic.Uint64
}

// revoked reports whether any of it is. An answer holds until the generation
// changes, which is never 0.
func (a *authority) revoked(r Revocations) bool {
	generation := r.Generation()
	if a.generation.Load() == generation {
		return false
	}
	if slices.ContainsFunc(a.targets, func(t revocation.Target) bool { return r.Revoked(t, a.issued) }) {
		return true
	}
	a.generation.Store(generation)
	return false
}

// Revoked reports whether the principal must not be used any more.
func (m *Minted) Revoked(r Revocations) bool { return m.revoked(r) }

// targetsOf returns what can be revoked of facts for which issuer vouches.
// Identities that cannot be carried have none: they are not signed either.
func targetsOf(p *principalv1.Principal, issuer string) []revocation.Target {
	var targets []revocation.Target
	identity := func(i *principalv1.Identity) {
		if id, err := principal.IdentityFromProto(named(i, issuer)); err == nil {
			targets = append(targets, revocation.Identity(id))
		}
	}
	identity(p.GetSubject())
	if id := p.GetSessionId(); len(id) == len(principal.ID{}) {
		targets = append(targets, revocation.Session(issuer, principal.ID(id)))
	}
	for _, d := range p.GetDelegations() {
		identity(d.GetActor())
		if id := d.GetGrantId(); len(id) == len(principal.ID{}) {
			targets = append(targets, revocation.Grant(issuer, principal.ID(id)))
		}
	}
	return targets
}

// named returns i with the issuer that it leaves out.
func named(i *principalv1.Identity, issuer string) *principalv1.Identity {
	if i == nil || i.GetIssuer() != "" {
		return i
	}
	return &principalv1.Identity{Issuer: issuer, Id: i.GetId()}
}
