package principal

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unique"

	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// Principal is a verified principal: who acts, on whose behalf, through whom,
// with which rights. Only a [Verifier] makes one. It is immutable and safe for
// concurrent use; accessors return copies.
type Principal struct {
	wire  wire.Principal
	actor Identity
	// chain holds, for each link, who signed it and for whom; nil without links.
	chain  []hop
	scopes []string // effective: after all links
	roles  []string

	presenter         string
	presenterVerified bool
	caller            string

	until int64 // when the header's own times end, in seconds, skew included
	held  *held
	keys  []KeyRef
}

// held is the header, behind a pointer that fmt does not follow.
type held struct {
	header string // the exact decoded bytes
	text   atomic.Pointer[string]
}

// hop is one link: signed by a service when it called another one.
type hop struct {
	signer, audience string
	commitment       wire.ID
}

// ID names this principal in revocations and in audit records.
func (p *Principal) ID() ID { return ID(p.wire.ID) }

// Issuer returns the name of the authority that authenticated the caller.
func (p *Principal) Issuer() string { return p.wire.Issuer }

// Kind returns the kind of the party that acts.
func (p *Principal) Kind() Kind { return p.actor.kind }

// Actor returns the party that acts now. Without delegations it is the subject.
func (p *Principal) Actor() Identity { return p.actor }

// Subject returns the party whose authority is used.
func (p *Principal) Subject() Identity { return identityFrom(&p.wire.Subject, p.wire.Issuer) }

// Delegations returns the steps from the subject to the actor, oldest first.
func (p *Principal) Delegations() []Delegation {
	if len(p.wire.Delegations) == 0 {
		return nil
	}
	list := make([]Delegation, len(p.wire.Delegations))
	for i := range list {
		d := &p.wire.Delegations[i]
		list[i] = Delegation{GrantID: ID(d.GrantID), Actor: identityFrom(&d.Actor, p.wire.Issuer)}
	}
	return list
}

// HasScope reports whether scope is among the effective scopes.
func (p *Principal) HasScope(scope string) bool {
	_, found := slices.BinarySearch(p.scopes, scope)
	return found
}

// Scopes returns the effective scopes, after all narrowing, in ascending order.
func (p *Principal) Scopes() []string { return slices.Clone(p.scopes) }

// HasRole reports whether role is among the effective roles.
func (p *Principal) HasRole(role string) bool {
	_, found := slices.BinarySearch(p.roles, role)
	return found
}

// Roles returns the effective roles in ascending order. A link that narrows the
// scopes removes all roles.
func (p *Principal) Roles() []string { return slices.Clone(p.roles) }

// Tenant returns the tenant, or "".
func (p *Principal) Tenant() string { return p.wire.Tenant }

// ClientID returns the OAuth client through which the caller came, or "". It is
// never the actor (RFC 8693, section 4.3).
func (p *Principal) ClientID() string { return p.wire.ClientID }

// SessionID returns the login session, if the credential belonged to one.
func (p *Principal) SessionID() (ID, bool) { return ID(p.wire.SessionID), p.wire.HasSessionID }

// TransactionID returns the id of the one external request that the principal
// was minted for, if it was.
func (p *Principal) TransactionID() (ID, bool) {
	return ID(p.wire.TransactionID), p.wire.HasTransactionID
}

// Authentication says how the subject was authenticated.
type Authentication struct {
	// Time is when; zero if unknown.
	Time time.Time
	// ACR is the authentication context class (RFC 9470), or "".
	ACR string
	// AMR are the methods (RFC 8176), ascending.
	AMR []string
	// Source is the edge's authenticator, e.g. "oidc".
	Source string
}

// Authentication returns how the subject was authenticated; the zero value if
// the issuer did not say.
func (p *Principal) Authentication() Authentication {
	w := &p.wire.Authentication
	a := Authentication{ACR: w.ACR, AMR: slices.Clone(w.AMR), Source: w.Source}
	if w.Time > 0 {
		a.Time = time.Unix(w.Time, 0)
	}
	return a
}

// Attribute returns the value of the attribute with this name.
func (p *Principal) Attribute(name string) (value string, ok bool) {
	for i := range p.wire.Attributes {
		if p.wire.Attributes[i].Name == name {
			return p.wire.Attributes[i].Value, true
		}
	}
	return "", false
}

// Attributes returns all attributes by name.
func (p *Principal) Attributes() map[string]string {
	all := make(map[string]string, len(p.wire.Attributes))
	for _, a := range p.wire.Attributes {
		all[a.Name] = a.Value
	}
	return all
}

// IssuedAt returns when the issuer signed, in whole seconds.
func (p *Principal) IssuedAt() time.Time { return time.Unix(p.wire.IssuedAt, 0) }

// ExpiresAt returns the end of its life, in whole seconds. Verifiers allow 30 s
// for clocks that differ.
func (p *Principal) ExpiresAt() time.Time { return time.Unix(p.wire.ExpiresAt, 0) }

// StreamUntil returns how long a stream of the session may live, or the zero
// time.
func (p *Principal) StreamUntil() time.Time {
	if p.wire.StreamUntil == 0 {
		return time.Time{}
	}
	return time.Unix(p.wire.StreamUntil, 0)
}

// RevocationSequence is the revocation feed's sequence that the issuer had read
// when it checked the session; 0 if it has no feed.
func (p *Principal) RevocationSequence() uint64 { return p.wire.RevocationSequence }

// Relay reports whether the header is forwarded unchanged within a trust
// domain, rather than extended by a signed link at each hop.
func (p *Principal) Relay() bool { return p.wire.Relay() }

// Audience returns the party for which the last block is meant: this service,
// or the trust domain in relay mode.
func (p *Principal) Audience() string {
	if len(p.chain) > 0 {
		return p.chain[len(p.chain)-1].audience
	}
	return p.wire.Audience
}

// Path returns the workloads that passed the call on, the issuing edge first,
// if it named itself, then each service that signed a link. In relay mode the
// services on the way sign nothing and do not appear.
func (p *Principal) Path() []string {
	path := make([]string, 0, 1+len(p.chain))
	if p.wire.Presenter != "" {
		path = append(path, p.wire.Presenter)
	}
	for _, h := range p.chain {
		path = append(path, h.signer)
	}
	return path
}

// Presenter returns the workload that handed the header over, as far as it is
// known, and whether a client certificate proved it. Without mTLS the name is
// what the chain claims: a bearer of the header could be anyone.
func (p *Principal) Presenter() (service string, verified bool) {
	return p.presenter, p.presenterVerified
}

// SigningKeys returns the keys that signed the blocks, the issuer's first.
func (p *Principal) SigningKeys() []KeyRef { return slices.Clone(p.keys) }

// tailCommitment names this one presentation of the chain; zero in relay mode.
func (p *Principal) tailCommitment() wire.ID {
	if len(p.chain) > 0 {
		return p.chain[len(p.chain)-1].commitment
	}
	return p.wire.Commitment
}

// replayKey names what single use is counted by: never the header's bytes,
// which a holder could vary.
func (p *Principal) replayKey() useKey {
	if p.Relay() {
		return useKey{issuer: unique.Make(p.wire.Issuer), id: p.wire.ID}
	}
	return useKey{id: p.tailCommitment()}
}

// encoded returns the header as base64, made once.
func (h *held) encoded() string {
	if t := h.text.Load(); t != nil {
		return *t
	}
	t := EncodeHeader(h.header)
	h.text.Store(&t)
	return t
}

// String draws the chain: subject, agents, and services on the way.
func (p *Principal) String() string {
	var b strings.Builder
	b.WriteString(p.Subject().String())
	for _, d := range p.Delegations() {
		b.WriteString(" ▸ ")
		b.WriteString(d.Actor.String())
	}
	if path := p.Path(); len(path) > 0 {
		b.WriteString(" via ")
		b.WriteString(strings.Join(path, " → "))
	}
	return b.String()
}

// LogValue implements [slog.LogValuer]: who, on whose behalf, through whom and
// with which rights; never the header or a key.
func (p *Principal) LogValue() slog.Value {
	if p == nil {
		return slog.StringValue("anonymous")
	}
	attrs := []slog.Attr{
		slog.String("id", p.ID().String()),
		slog.String("kind", p.Kind().String()),
		slog.String("actor", p.actor.String()),
		slog.String("subject", p.Subject().String()),
		slog.String("issuer", p.wire.Issuer),
	}
	if i := p.actor.issuer; i != p.wire.Issuer {
		attrs = append(attrs, slog.String("actor_issuer", i))
	}
	if i := p.Subject().issuer; i != p.wire.Issuer {
		attrs = append(attrs, slog.String("subject_issuer", i))
	}
	if len(p.wire.Delegations) > 0 {
		actors := make([]string, 0, len(p.wire.Delegations))
		for _, d := range p.Delegations() {
			actors = append(actors, d.Actor.String())
		}
		attrs = append(attrs, slog.Any("delegations", actors))
	}
	if p.wire.Tenant != "" {
		attrs = append(attrs, slog.String("tenant", p.wire.Tenant))
	}
	attrs = append(attrs, slog.Any("path", p.Path()), slog.Any("scopes", p.Scopes()))
	return slog.GroupValue(attrs...)
}

// GoString is what %#v prints.
func (p *Principal) GoString() string { return "principal.Principal{" + p.String() + "}" }

// Format keeps every verb of fmt from printing the header.
func (p *Principal) Format(s fmt.State, verb rune) {
	text := p.String()
	switch {
	case verb == 'v' && s.Flag('#'):
		text = p.GoString()
	case verb == 'q':
		text = strconv.Quote(text)
	}
	_, _ = io.WriteString(s, text)
}
