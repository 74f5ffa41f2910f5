package principaltest

import principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"

// StandardIssuer is the issuer's name in the size and speed figures: 23
// characters.
const StandardIssuer = "https://bff.example.com"

// Standard returns the principal that the size and speed figures are about: a
// human with a tenant and eight scopes, acted for by a chain of three agents,
// in a session, with its authentication. The caller sets audience and times.
func Standard() *principalv1.Principal {
	p := Human("orders:read", "orders:write", "payments:read", "payments:write",
		"ledger:read", "profile:read", "stock:read", "stock:reserve")
	p.Tenant = "acme-eu"
	p.SessionId = uuid("session")
	p.Authentication = &principalv1.Authentication{Time: 1_760_000_000, Acr: "urn:example:loa:2", Amr: []string{"hwk", "pwd"}, Source: "oidc"}
	for _, name := range []string{"shopper", "comparer", "fetcher"} {
		p.Delegations = append(p.Delegations, &principalv1.Delegation{
			GrantId: uuid("grant " + name),
			Actor:   &principalv1.Identity{Id: &principalv1.Identity_AgentUuid{AgentUuid: uuid(name)}},
		})
	}
	return p
}
