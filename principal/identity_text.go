package principal

import (
	"encoding/hex"
	"fmt"
	"strings"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// ParseID reads an id in the form of a UUID, as [ID.String] writes it.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' {
		if _, err := hex.Decode(id[:], []byte(s[:8]+s[9:13]+s[14:18]+s[19:23]+s[24:])); err == nil {
			return id, nil
		}
	}
	return ID{}, fmt.Errorf("principal: %.64q is not an id: write it as 6ba7b810-9dad-11d1-80b4-00c04fd430c8", s)
}

// ParseIdentity reads an identity of an issuer as [Identity.String] writes it:
// hm-, am- or svc-, and a UUID or a name.
func ParseIdentity(s, issuer string) (Identity, error) {
	w := wire.Identity{Issuer: issuer}
	prefix, rest, _ := strings.Cut(s, "-")
	id, err := ParseID(rest)
	isUUID := err == nil
	switch {
	case prefix == "hm" && isUUID:
		w.Spelling = wire.HumanUUID
	case prefix == "hm":
		w.Spelling = wire.HumanName
	case prefix == "am" && isUUID:
		w.Spelling = wire.AgentUUID
	case prefix == "am":
		w.Spelling = wire.AgentName
	case prefix == "svc":
		w.Spelling = wire.ServiceName
	default:
		return Identity{}, fmt.Errorf("principal: %.64q is not an identity: write hm-, am- or svc-, and a UUID or a name", s)
	}
	if isUUID && prefix != "svc" {
		w.UUID = wire.ID(id)
	} else {
		w.Name = rest
	}
	return checkedIdentity(&w)
}

// IdentityFromProto reads an identity that names its issuer.
func IdentityFromProto(m *principalv1.Identity) (Identity, error) {
	w, err := wireIdentity("identity", m)
	if err != nil {
		return Identity{}, fmt.Errorf("principal: %w", err)
	}
	return checkedIdentity(&w)
}

func checkedIdentity(w *wire.Identity) (Identity, error) {
	if problem := wire.IdentityProblem(w); problem != "" {
		return Identity{}, fmt.Errorf("principal: the identity %s", problem)
	}
	return identityFrom(w, ""), nil
}

// Proto returns the message for i, with its issuer; nil for the zero value.
func (i Identity) Proto() *principalv1.Identity {
	m := &principalv1.Identity{Issuer: i.issuer}
	switch {
	case i.kind == KindHuman && i.uuid:
		m.Id = &principalv1.Identity_HumanUuid{HumanUuid: i.id[:]}
	case i.kind == KindHuman:
		m.Id = &principalv1.Identity_HumanName{HumanName: i.name}
	case i.kind == KindAgent && i.uuid:
		m.Id = &principalv1.Identity_AgentUuid{AgentUuid: i.id[:]}
	case i.kind == KindAgent:
		m.Id = &principalv1.Identity_AgentName{AgentName: i.name}
	case i.kind == KindService:
		m.Id = &principalv1.Identity_ServiceName{ServiceName: i.name}
	default:
		return nil
	}
	return m
}
