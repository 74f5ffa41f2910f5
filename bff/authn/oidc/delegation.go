package oidc

import (
	"context"
	"encoding/json"
	"strings"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc/internal/strictjson"
)

// actor is who acts, in the words of an issuer. tenant is empty unless the
// issuer is configured per tenant.
type actor struct {
	issuer, tenant, subject string
}

// actor returns whom the configuration of an issuer's agent means.
func (a Agent) actor(tokenIssuer string) actor {
	issuer := a.Issuer
	if issuer == "" {
		issuer = tokenIssuer
	}
	return actor{issuer: issuer, tenant: a.Tenant, subject: a.Subject}
}

// party has the same id as a subject of kind agent has that the actor's issuer
// gives us, if that is configured with subject ids derived from sub. So one
// revocation reaches an agent both ways.
func (a actor) party() party {
	return party{kind: KindAgent, uuid: derive(a.issuer, a.tenant, a.subject)}
}

// delegation reads the claim act (RFC 8693, section 4.1). Only the outermost
// actor acts now; those inside it are informational, nobody has verified them
// in this issuer's place, and they are not carried. It returns nils for a token
// on which nobody acts.
//
// The grant's id is the UUIDv5 of issuer ‖ 0 ‖ subject ‖ 0 ‖ actor: the token's
// issuer, and the two parties as they are printed (hm-…, am-…, svc-…).
func (v *verifier) delegation(
	ctx context.Context, c claims, tenant string, subject party,
) (*principalv1.Delegation, *Agent, error) {
	raw, ok := c.object.Get("act")
	if !ok {
		return nil, nil, nil
	}
	claimed, nested, ok := v.readActor(raw, tenant)
	if !ok {
		return nil, nil, refuse(authn.ReasonActor, "act has no sub, or a member of the wrong type")
	}
	agent, ok := v.agents[claimed]
	if !ok {
		return nil, nil, refuse(authn.ReasonActor, "not one of agents")
	}
	if nested > 0 {
		v.log.DebugContext(ctx, "oidc: earlier actors of a token are not carried", "issuer", v.config.Issuer, "count", nested)
	}
	acts := claimed.party()
	grant := derive(v.config.Issuer, subject.String(), acts.String())
	return &principalv1.Delegation{GrantId: grant[:], Actor: acts.identity()}, &agent, nil
}

// readActor returns the actor and how many are nested in it.
func (v *verifier) readActor(raw json.RawMessage, tenant string) (a actor, nested int, ok bool) {
	var act map[string]json.RawMessage
	if json.Unmarshal(raw, &act) != nil { // null leaves act without sub
		return actor{}, 0, false
	}
	if a.subject, ok = strictjson.Text(orNull(act["sub"])); !ok || a.subject == "" {
		return actor{}, 0, false
	}
	a.issuer = v.config.Issuer
	if issuer, there := act["iss"]; there {
		if a.issuer, ok = strictjson.Text(issuer); !ok {
			return actor{}, 0, false
		}
	}
	if strings.Contains(a.issuer+a.subject, "\x00") {
		return actor{}, 0, false
	}
	if a.issuer == v.config.Issuer {
		a.tenant = tenant
	}
	return a, countActors(act["act"]), true
}

// countActors counts a chain of actors, which strictjson has bounded in depth.
func countActors(raw json.RawMessage) int {
	n := 0
	for len(raw) > 0 && raw[0] == '{' {
		var act map[string]json.RawMessage
		if json.Unmarshal(raw, &act) != nil {
			break
		}
		n++
		raw = act["act"]
	}
	return n
}

func orNull(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return json.RawMessage("null")
	}
	return raw
}
