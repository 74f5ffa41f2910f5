package principal

import (
	"encoding/hex"

	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// Kind is the kind of a party. The zero value is no kind.
type Kind uint8

// The kinds, with the values of the protobuf enum.
const (
	KindHuman   Kind = 1
	KindAgent   Kind = 2
	KindService Kind = 3
)

// String returns "human", "agent" or "service".
func (k Kind) String() string {
	switch k {
	case KindHuman:
		return "human"
	case KindAgent:
		return "agent"
	case KindService:
		return "service"
	default:
		return "none"
	}
}

// ID is a 16-byte handle: of a principal, a session, a grant, a transaction.
type ID [16]byte

// String returns the id in the form of a UUID.
func (id ID) String() string {
	var buf [36]byte
	hex.Encode(buf[:], id[:4])
	buf[8] = '-'
	hex.Encode(buf[9:], id[4:6])
	buf[13] = '-'
	hex.Encode(buf[14:], id[6:8])
	buf[18] = '-'
	hex.Encode(buf[19:], id[8:10])
	buf[23] = '-'
	hex.Encode(buf[24:], id[10:])
	return string(buf[:])
}

// Identity is one party: a human, an agent or a service. It is a value and can
// be compared with ==. The zero value is nobody.
type Identity struct {
	kind   Kind
	uuid   bool
	id     ID
	name   string
	issuer string
}

// Kind returns what kind of party it is.
func (i Identity) Kind() Kind { return i.kind }

// Issuer returns the authority under whose name the id is unique.
func (i Identity) Issuer() string { return i.issuer }

// String returns the id with the prefix of its kind: hm-, am- or svc-, followed
// by a UUID or a name. It is unique under the identity's issuer and, unlike a
// bare name, never ambiguous between kinds.
func (i Identity) String() string {
	var prefix string
	switch i.kind {
	case KindHuman:
		prefix = "hm-"
	case KindAgent:
		prefix = "am-"
	case KindService:
		prefix = "svc-"
	default:
		return ""
	}
	if i.uuid {
		return prefix + i.id.String()
	}
	return prefix + i.name
}

// Delegation is one step from a party to the agent that acts for it.
type Delegation struct {
	// GrantID names the grant on which it rests.
	GrantID ID
	// Actor is the agent.
	Actor Identity
}

// identityFrom gives an identity its issuer's name where the wire leaves it out.
func identityFrom(w *wire.Identity, issuer string) Identity {
	id := Identity{name: w.Name, id: ID(w.UUID), issuer: w.Issuer}
	if id.issuer == "" {
		id.issuer = issuer
	}
	switch w.Spelling {
	case wire.HumanUUID:
		id.kind, id.uuid = KindHuman, true
	case wire.HumanName:
		id.kind = KindHuman
	case wire.AgentUUID:
		id.kind, id.uuid = KindAgent, true
	case wire.AgentName:
		id.kind = KindAgent
	case wire.ServiceName:
		id.kind = KindService
	}
	return id
}
