package revocation

import (
	"hash/maphash"
	"strings"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// Target is one thing that can be revoked. Two are equal if they mean the same
// thing. The zero value means nothing and is refused.
type Target struct {
	kind     targetKind
	issuer   string // under whose name id is unique
	id       principal.ID
	identity principal.Identity
	key      principal.KeyRef
	service  string
}

type targetKind uint8

const (
	ofPrincipal targetKind = iota + 1
	ofSession
	ofGrant
	ofIdentity
	ofService
	ofKey
)

// Principal means one principal of an issuer, with all that was passed on of it.
func Principal(issuer string, id principal.ID) Target {
	return Target{kind: ofPrincipal, issuer: issuer, id: id}
}

// Session means all principals of one login session.
func Session(issuer string, id principal.ID) Target {
	return Target{kind: ofSession, issuer: issuer, id: id}
}

// Grant means one delegation, and all below it.
func Grant(issuer string, id principal.ID) Target {
	return Target{kind: ofGrant, issuer: issuer, id: id}
}

// Identity means whatever an identity takes part in, as the subject or as an
// actor, and was issued before: it may log in again.
func Identity(id principal.Identity) Target { return Target{kind: ofIdentity, identity: id} }

// Service means whatever a service has signed a link of that was issued before.
// What it signs later passes: revoke its keys too, where it has lost them.
func Service(name string) Target { return Target{kind: ofService, service: name} }

// Key means whatever was signed with a key. It is never forgotten: whoever has
// stolen a key can also claim a later sequence.
func Key(ref principal.KeyRef) Target { return Target{kind: ofKey, key: ref} }

// Targets returns everything that p rests on: it is revoked if one of them is, by
// an event that came after it was issued or is of a kind that is for good.
func Targets(p *principal.Principal) []Target {
	issuer := p.Issuer()
	all := []Target{Principal(issuer, p.ID()), Identity(p.Subject())}
	if t, ok := acting(p.Subject()); ok {
		all = append(all, t)
	}
	if session, ok := p.SessionID(); ok {
		all = append(all, Session(issuer, session))
	}
	for _, d := range p.Delegations() {
		all = append(all, Grant(issuer, d.GrantID), Identity(d.Actor))
	}
	for _, ref := range p.SigningKeys() {
		if all = append(all, Key(ref)); ref.Role == principal.RoleLink {
			all = append(all, Service(ref.Owner))
		}
	}
	return all
}

// acting returns the service that a subject is, if it is one. What the edge has
// issued to a service itself ends with the service, also where it signs nothing
// because the principal is relayed.
func acting(subject principal.Identity) (t Target, ok bool) {
	if subject.Kind() != principal.KindService {
		return Target{}, false
	}
	return Service(strings.TrimPrefix(subject.String(), "svc-")), true
}

// returns reports whether what is issued after the revocation is good again.
func (t Target) returns() bool { return t.kind == ofIdentity || t.kind == ofService }

// hash returns the same for equal targets. It reads only what targets of the
// kind have: the whole would take twice as long.
func (t Target) hash(seed maphash.Seed) uint64 {
	switch t.kind {
	case ofIdentity:
		return maphash.Comparable(seed, t.identity)
	case ofService:
		return maphash.String(seed, t.service)
	case ofKey:
		return maphash.Comparable(seed, t.key)
	default:
		return maphash.Comparable(seed, issuedID{t.kind, t.issuer, t.id})
	}
}

type issuedID struct {
	kind   targetKind
	issuer string
	id     principal.ID
}

// String names the target as people write it: "session 6ba7b810-… of
// https://edge.example", "identity hm-alice of …", "service orders".
func (t Target) String() string {
	switch t.kind {
	case ofPrincipal:
		return "principal " + t.id.String() + " of " + t.issuer
	case ofSession:
		return "session " + t.id.String() + " of " + t.issuer
	case ofGrant:
		return "grant " + t.id.String() + " of " + t.issuer
	case ofIdentity:
		return "identity " + t.identity.String() + " of " + t.identity.Issuer()
	case ofService:
		return "service " + t.service
	case ofKey:
		return t.key.Role.String() + " key " + t.key.ID + " of " + t.key.Owner
	default:
		return "nothing"
	}
}
