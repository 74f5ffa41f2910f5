package principaltest

import (
	"crypto/sha256"
	"slices"

	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
)

// Human returns a human with these scopes. Its fields may be set further.
func Human(scopes ...string) *principalv1.Principal {
	return &principalv1.Principal{
		Subject: &principalv1.Identity{Id: &principalv1.Identity_HumanUuid{HumanUuid: uuid("alice")}},
		Scopes:  sorted(scopes),
	}
}

// Agent returns an agent that acts in its own right.
func Agent(name string, scopes ...string) *principalv1.Principal {
	return &principalv1.Principal{
		Subject: agent(name),
		Scopes:  sorted(scopes),
	}
}

// Service returns a service that acts in its own right.
func Service(name string, scopes ...string) *principalv1.Principal {
	return &principalv1.Principal{
		Subject: &principalv1.Identity{Id: &principalv1.Identity_ServiceName{ServiceName: name}},
		Scopes:  sorted(scopes),
	}
}

// Delegate returns p acted for by one more agent.
func Delegate(p *principalv1.Principal, name string) *principalv1.Principal {
	p = proto.CloneOf(p)
	p.Delegations = append(p.Delegations, &principalv1.Delegation{GrantId: uuid("grant " + name), Actor: agent(name)})
	return p
}

func agent(name string) *principalv1.Identity {
	return &principalv1.Identity{Id: &principalv1.Identity_AgentName{AgentName: name}}
}

// uuid returns 16 bytes that are the same for the same name.
func uuid(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:16]
}

func sorted(scopes []string) []string {
	s := slices.Clone(scopes)
	slices.Sort(s)
	return slices.Compact(s)
}
