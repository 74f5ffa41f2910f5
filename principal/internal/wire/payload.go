package wire

import "strings"

// ID is 16 bytes that name one thing.
type ID [16]byte

// Spelling is the oneof case of an identity: its kind, and whether it is a UUID
// or a name.
type Spelling uint8

// The cases of the oneof, by field number.
const (
	HumanUUID   Spelling = 2
	HumanName   Spelling = 3
	AgentUUID   Spelling = 4
	AgentName   Spelling = 5
	ServiceName Spelling = 6
)

// Identity is one party. UUID is set for the UUID spellings, Name for the
// others; an empty Issuer stands for the principal's.
type Identity struct {
	Spelling Spelling
	UUID     ID
	Name     string
	Issuer   string
}

// Delegation is one step from a party to the agent that acts for it.
type Delegation struct {
	GrantID ID
	Actor   Identity
}

// Authentication says how the subject was authenticated.
type Authentication struct {
	Time   int64
	ACR    string
	AMR    []string
	Source string
}

// Attribute is a name and a value.
type Attribute struct{ Name, Value string }

// Principal is the payload of an authority block. The Has fields tell an
// absent field from one of zero bytes.
type Principal struct {
	ID                 ID
	Issuer             string
	Audience           string
	Presenter          string
	IssuedAt           int64
	ExpiresAt          int64
	StreamUntil        int64
	Subject            Identity
	Delegations        []Delegation
	Scopes             []string
	Roles              []string
	Tenant             string
	ClientID           string
	SessionID          ID
	HasSessionID       bool
	TransactionID      ID
	HasTransactionID   bool
	Authentication     Authentication
	HasAuthentication  bool
	Attributes         []Attribute
	MaxLinks           uint32
	RevocationSequence uint64
	Commitment         ID
	HasCommitment      bool
}

// Relay reports whether the principal's audience is a trust domain.
func (p *Principal) Relay() bool { return strings.HasPrefix(p.Audience, trustDomainPrefix) }

// Link is the payload of a link block. Without HasScopes the scopes and roles
// are inherited.
type Link struct {
	Audience   string
	Scopes     []string
	HasScopes  bool
	ExpiresAt  int64
	Commitment ID
}

var (
	principalFields      = fields{known: 1<<21 - 2, repeated: 1<<9 | 1<<10 | 1<<11 | 1<<17}
	identityFields       = fields{known: 1<<7 - 2}
	delegationFields     = fields{known: 1<<1 | 1<<2}
	authenticationFields = fields{known: 1<<5 - 2, repeated: 1 << 3}
	attributeFields      = fields{known: 1<<1 | 1<<2}
	linkFields           = fields{known: 1<<5 - 2}
	scopeSetFields       = fields{known: 1 << 1, repeated: 1 << 1}
)

// ParsePrincipal reads the payload of an authority block and checks all that
// can be said of it alone. The result shares the memory of payload.
func ParsePrincipal(payload string, p *Principal) error {
	*p = Principal{}
	c := cursor{buf: payload, fields: principalFields}
	var seen uint64
	attributeBytes := 0
	for c.next() {
		seen |= 1 << c.num
		switch c.num {
		case 1:
			p.ID = c.id("id")
		case 2:
			p.Issuer = c.text("issuer")
		case 3:
			p.Audience = c.checked("audience", audienceProblem)
		case 4:
			p.Presenter = c.checked("presenter", serviceProblem)
		case 5:
			p.IssuedAt = c.time("issued_at")
		case 6:
			p.ExpiresAt = c.time("expires_at")
		case 7:
			p.StreamUntil = c.time("stream_until")
		case 8:
			p.Subject = c.identity("subject", p.Issuer)
		case 9:
			p.Delegations = c.delegation(p.Delegations, p.Issuer)
		case 10:
			p.Scopes = c.ascending("scopes", p.Scopes, MaxScopes, scopeProblem)
		case 11:
			p.Roles = c.ascending("roles", p.Roles, MaxRoles, textProblem)
		case 12:
			p.Tenant = c.text("tenant")
		case 13:
			p.ClientID = c.text("client_id")
		case 14:
			p.SessionID, p.HasSessionID = c.id("session_id"), true
		case 15:
			p.TransactionID, p.HasTransactionID = c.id("transaction_id"), true
		case 16:
			p.Authentication, p.HasAuthentication = c.authentication(), true
		case 17:
			p.Attributes = c.attribute(p.Attributes, &attributeBytes)
		case 18:
			p.MaxLinks = uint32(c.count("max_links", MaxLinks))
		case 19:
			p.RevocationSequence = c.count("revocation_sequence", 1<<64-1)
		case 20:
			p.Commitment, p.HasCommitment = c.id("commitment"), true
		}
	}
	c.require(seen, principalRequired)
	if c.err != nil {
		return c.err
	}
	return nil
}

// required names a field that a message cannot be without, and what its
// absence is.
type required struct {
	num   uint8
	field string
	fault Fault
}

var (
	principalRequired = []required{
		{1, "id", Malformed}, {2, "issuer", Malformed}, {3, "audience", Malformed}, {8, "subject", Malformed},
		{5, "issued_at", Time}, {6, "expires_at", Time},
	}
	delegationRequired = []required{{1, "grant_id", Malformed}, {2, "actor", Malformed}}
	attributeRequired  = []required{{1, "attributes.name", Malformed}, {2, "attributes.value", Malformed}}
	linkRequired       = []required{{1, "audience", Malformed}, {4, "commitment", Malformed}, {3, "expires_at", Time}}
)

func (c *cursor) require(seen uint64, list []required) {
	if c.err != nil {
		return
	}
	for _, r := range list {
		if seen>>r.num&1 == 0 {
			c.fail(r.fault, r.field, "is missing")
			return
		}
	}
}

func (c *cursor) identity(field, issuer string) Identity {
	inner := c.message(field, identityFields)
	var id Identity
	for inner.next() {
		if inner.num == 1 {
			if id.Issuer = inner.text(field + ".issuer"); id.Issuer == issuer {
				inner.fail(Malformed, field+".issuer", "repeats the principal's")
			}
			continue
		}
		if id.Spelling != 0 {
			inner.fail(Malformed, field, "has two ids")
			break
		}
		switch id.Spelling = Spelling(inner.num); id.Spelling {
		case HumanUUID, AgentUUID:
			id.UUID = inner.id(field)
		case HumanName, AgentName:
			id.Name = inner.checked(field, nameProblem)
		case ServiceName:
			id.Name = inner.checked(field, serviceIdentityProblem)
		}
	}
	if inner.err == nil && id.Spelling == 0 {
		inner.fail(Unsupported, field, "has no id of a known kind")
	}
	c.leave(&inner)
	return id
}

func (c *cursor) delegation(list []Delegation, issuer string) []Delegation {
	if len(list) == MaxDelegations {
		c.fail(Malformed, "delegations", "more than 6")
		return list
	}
	inner := c.message("delegations", delegationFields)
	var d Delegation
	var seen uint64
	for inner.next() {
		seen |= 1 << inner.num
		switch inner.num {
		case 1:
			d.GrantID = inner.id("delegations.grant_id")
		case 2:
			d.Actor = inner.identity("delegations.actor", issuer)
			if inner.err == nil && d.Actor.Spelling != AgentUUID && d.Actor.Spelling != AgentName {
				inner.fail(Malformed, "delegations.actor", "is not an agent")
			}
		}
	}
	inner.require(seen, delegationRequired)
	c.leave(&inner)
	if list == nil {
		list = make([]Delegation, 0, 3) // few chains are longer
	}
	return append(list, d)
}

func (c *cursor) authentication() Authentication {
	inner := c.message("authentication", authenticationFields)
	var a Authentication
	for inner.next() {
		switch inner.num {
		case 1:
			a.Time = inner.time("authentication.time")
		case 2:
			a.ACR = inner.text("authentication.acr")
		case 3:
			a.AMR = inner.ascending("authentication.amr", a.AMR, MaxRoles, textProblem)
		case 4:
			a.Source = inner.text("authentication.source")
		}
	}
	c.leave(&inner)
	return a
}

func (c *cursor) attribute(list []Attribute, total *int) []Attribute {
	if len(list) == MaxAttributes {
		c.fail(Malformed, "attributes", "more than 16")
		return list
	}
	inner := c.message("attributes", attributeFields)
	var a Attribute
	var seen uint64
	for inner.next() {
		seen |= 1 << inner.num
		switch inner.num {
		case 1:
			a.Name = inner.text("attributes.name")
		case 2:
			a.Value = inner.text("attributes.value")
		}
	}
	inner.require(seen, attributeRequired)
	*total += len(a.Name) + len(a.Value)
	switch {
	case inner.err != nil:
	case *total > maxAttributeBytes:
		inner.fail(Malformed, "attributes", "are more than 1024 bytes together")
	case len(list) > 0 && list[len(list)-1].Name >= a.Name:
		inner.fail(Malformed, "attributes", "are not in ascending order")
	}
	c.leave(&inner)
	return append(list, a)
}

// ParseLink reads the payload of a link block and checks all that can be said
// of it alone. The result shares the memory of payload.
func ParseLink(payload string, l *Link) error {
	*l = Link{}
	c := cursor{buf: payload, fields: linkFields}
	var seen uint64
	for c.next() {
		seen |= 1 << c.num
		switch c.num {
		case 1:
			l.Audience = c.checked("audience", serviceProblem)
		case 2:
			l.Scopes, l.HasScopes = c.scopeSet(), true
		case 3:
			l.ExpiresAt = c.time("expires_at")
		case 4:
			l.Commitment = c.id("commitment")
		}
	}
	c.require(seen, linkRequired)
	if c.err != nil {
		return c.err
	}
	return nil
}

func (c *cursor) scopeSet() []string {
	inner := c.message("scopes", scopeSetFields)
	var set []string
	for inner.next() {
		set = inner.ascending("scopes", set, MaxScopes, scopeProblem)
	}
	c.leave(&inner)
	return set
}

// ascending reads one more element of a list that is strictly ascending
// bytewise.
func (c *cursor) ascending(field string, list []string, most int, problem func(string) string) []string {
	if len(list) == most {
		c.fail(Malformed, field, "has too many elements")
		return list
	}
	s := c.checked(field, problem)
	if c.err != nil {
		return list
	}
	if len(list) > 0 && list[len(list)-1] >= s {
		c.fail(Malformed, field, "is not in strictly ascending order")
		return list
	}
	if list == nil {
		list = make([]string, 0, 8) // the usual number of scopes: one allocation
	}
	return append(list, s)
}

func audienceProblem(s string) string {
	if !IsServiceName(s) && !IsTrustDomain(s) {
		return "is neither a service name nor a trust domain"
	}
	return ""
}

func serviceProblem(s string) string {
	if !IsServiceName(s) {
		return "is not a service name"
	}
	return ""
}

func serviceIdentityProblem(s string) string {
	if p := serviceProblem(s); p != "" {
		return p
	}
	return nameProblem(s)
}
