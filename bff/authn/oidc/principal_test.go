package oidc_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
)

const local = "https://idp.example"

// What other programs have to derive in the same way, computed with Python's
// uuid and hashlib for the issuer above.
var (
	humanID       = id("e135c796-ba93-511a-b277-2050049846aa") // issuer, 0, 0, 248289761001
	tenantHumanID = id("333a9bc5-3ff7-5fb1-bad5-76414759c5bc") // issuer, 0, acme, 0, 248289761001
	sidID         = id("1eb34f70-7378-594c-8d66-e828e865a93a") // issuer, 0, session-1
	jtiID         = id("840ed264-9cc2-5f57-b6d2-c98c90786b7c") // issuer, 0, token-1
	agentID       = id("0f964266-f076-5294-b78f-0e24423ccfbc") // issuer, 0, 0, shopping-agent
	otherAgentID  = id("c287892e-883a-549e-a7c6-b5673c21812d") // https://agents.example, 0, 0, shopping-agent
	tenantAgentID = id("20d5dddb-2a16-50ce-8519-704bd07daa53") // issuer, 0, acme, 0, shopping-agent
	grantID       = id("84d8535f-a055-5e9b-a66d-380bef591958") // issuer, 0, hm-e135…, 0, am-0f96…
	serviceGrant  = id("c0399da5-80ef-5acb-a933-f8cedde50238") // issuer, 0, svc-billing, 0, am-0f96…
)

func id(s string) []byte {
	u := uuid.MustParse(s)
	return u[:]
}

func human(uuid []byte) *principalv1.Identity {
	return &principalv1.Identity{Id: &principalv1.Identity_HumanUuid{HumanUuid: uuid}}
}

func agent(uuid []byte) *principalv1.Identity {
	return &principalv1.Identity{Id: &principalv1.Identity_AgentUuid{AgentUuid: uuid}}
}

func service(name string) *principalv1.Identity {
	return &principalv1.Identity{Id: &principalv1.Identity_ServiceName{ServiceName: name}}
}

type mapping struct {
	config func(*oidc.Issuer)
	edit   func(header, claims object)
	want   func(*principalv1.Principal) // how it differs from the plain one
	reason authn.Reason                 // or why it is refused
}

func (m mapping) run(t *testing.T) {
	t.Helper()
	p, c := newLocalIDP(local), newClock()
	config := p.config()
	if m.config != nil {
		m.config(&config)
	}
	a := start(t, []oidc.Issuer{config}, oidc.WithClock(c.now), oidc.WithHTTPClient(client(p)))
	edit := m.edit
	if edit == nil {
		edit = func(_, _ object) {}
	}
	token := p.token(c.now(), edit)
	got, err := authenticate(t.Context(), a, token)
	if m.reason != 0 {
		checkRefused(t, got, err, token, m.reason)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	want := &principalv1.Principal{
		Subject: human(humanID), Scopes: []string{"orders:read"}, ClientId: "web", SessionId: jtiID,
		Authentication: &principalv1.Authentication{Source: "oidc"},
	}
	m.want(want)
	if diff := cmp.Diff(want, got.Principal, protocmp.Transform()); diff != "" {
		t.Errorf("principal differs (-want +got):\n%s", diff)
	}
}

func TestPrincipal(t *testing.T) {
	t.Parallel()
	tenants := func(c *oidc.Issuer) { c.TenantClaim = "tid" }
	perTenant := func(c *oidc.Issuer) { c.TenantClaim, c.PerTenant = "tid", true }
	subjectAs := func(claim, as string) func(*oidc.Issuer) {
		return func(c *oidc.Issuer) { c.Subject = oidc.Subject{Claim: claim, As: as} }
	}
	roles := func(claim string, names map[string]string) func(*oidc.Issuer) {
		return func(c *oidc.Issuer) { c.Roles = oidc.Mapping{Claim: claim, Map: names} }
	}
	scopes := func(claim string, names map[string]string) func(*oidc.Issuer) {
		return func(c *oidc.Issuer) { c.Scopes = oidc.Mapping{Claim: claim, Map: names} }
	}
	attributes := func(list ...oidc.Attribute) func(*oidc.Issuer) {
		return func(c *oidc.Issuer) { c.Attributes = list }
	}
	serviceNames := func(names map[string]string) func(*oidc.Issuer) {
		return func(c *oidc.Issuer) { c.Service.Names = names }
	}
	isService := func(client any) func(header, claims object) {
		return both(set("kind", "service"), set("client_id", client))
	}
	unchanged := func(*principalv1.Principal) {}
	withRoles := func(roles ...string) func(*principalv1.Principal) {
		return func(p *principalv1.Principal) { p.Roles = roles }
	}
	withScopes := func(scopes ...string) func(*principalv1.Principal) {
		return func(p *principalv1.Principal) { p.Scopes = scopes }
	}
	withSubject := func(subject *principalv1.Identity) func(*principalv1.Principal) {
		return func(p *principalv1.Principal) { p.Subject = subject }
	}
	withAttributes := func(attributes ...*principalv1.Attribute) func(*principalv1.Principal) {
		return func(p *principalv1.Principal) { p.Attributes = attributes }
	}
	withAuthentication := func(a *principalv1.Authentication) func(*principalv1.Principal) {
		return func(p *principalv1.Principal) { p.Authentication = a }
	}
	withClient := func(client string) func(*principalv1.Principal) {
		return func(p *principalv1.Principal) { p.ClientId = client }
	}
	withSession := func(session []byte) func(*principalv1.Principal) {
		return func(p *principalv1.Principal) { p.SessionId = session }
	}
	for name, test := range map[string]mapping{
		"plain": {want: unchanged},

		"kind agent":         {edit: set("kind", "agent"), want: withSubject(agent(humanID))},
		"kind missing":       {edit: without("kind"), reason: authn.ReasonKind},
		"kind null":          {edit: set("kind", nil), reason: authn.ReasonKind},
		"kind of nobody":     {edit: set("kind", "canary"), reason: authn.ReasonKind},
		"kind in other case": {edit: set("kind", "Human"), reason: authn.ReasonKind},
		"kind in an array":   {edit: set("kind", []string{"human"}), reason: authn.ReasonKind},
		"first rule wins": {
			config: func(c *oidc.Issuer) {
				c.Kinds = []oidc.KindRule{
					{Kind: oidc.KindAgent, When: oidc.Condition{Claim: "bot", Equals: "true"}},
					{Kind: oidc.KindHuman, When: oidc.Condition{Claim: "sub", Present: true}},
				}
			},
			edit: set("bot", true), want: withSubject(agent(humanID)),
		},
		"rule by presence, null": {
			config: func(c *oidc.Issuer) {
				c.Kinds = []oidc.KindRule{{Kind: oidc.KindHuman, When: oidc.Condition{Claim: "bot", Present: true}}}
			},
			edit: set("bot", nil), reason: authn.ReasonKind,
		},
		"rule by path": {
			config: func(c *oidc.Issuer) {
				c.Kinds = []oidc.KindRule{{Kind: oidc.KindHuman, When: oidc.Condition{Claim: "a.b.c", Equals: "1"}}}
			},
			edit: set("a", object{"b.c": 1}), want: unchanged,
		},

		"sub missing":      {edit: without("sub"), reason: authn.ReasonClaims},
		"sub empty":        {edit: set("sub", ""), reason: authn.ReasonClaims},
		"sub no string":    {edit: set("sub", 1), reason: authn.ReasonClaims},
		"sub with NUL":     {edit: set("sub", "\x00evil"), reason: authn.ReasonClaims},
		"sub from a claim": {config: subjectAs("oid", ""), edit: both(set("oid", subject), set("sub", "pairwise")), want: unchanged},
		"sub is a UUID": {
			config: subjectAs("", oidc.SubjectUUID), edit: set("sub", "6BA7B810-9DAD-11D1-80B4-00C04FD430C8"),
			want: withSubject(human(id("6ba7b810-9dad-11d1-80b4-00c04fd430c8"))),
		},
		"sub is no UUID":       {config: subjectAs("", oidc.SubjectUUID), reason: authn.ReasonClaims},
		"sub is the nil UUID":  {config: subjectAs("", oidc.SubjectUUID), edit: set("sub", uuid.Nil.String()), reason: authn.ReasonClaims},
		"sub is a UUID as URN": {config: subjectAs("", oidc.SubjectUUID), edit: set("sub", "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8"), reason: authn.ReasonClaims},
		"sub is a name": {
			config: subjectAs("login", oidc.SubjectName), edit: set("login", "josé"),
			want: withSubject(&principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: "josé"}}),
		},
		"sub is an agent's name": {
			config: subjectAs("login", oidc.SubjectName), edit: both(set("login", "robby"), set("kind", "agent")),
			want: withSubject(&principalv1.Identity{Id: &principalv1.Identity_AgentName{AgentName: "robby"}}),
		},
		"name missing":             {config: subjectAs("login", oidc.SubjectName), reason: authn.ReasonClaims},
		"name is a UUID":           {config: subjectAs("", oidc.SubjectName), edit: set("sub", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"), reason: authn.ReasonClaims},
		"name is a bare UUID":      {config: subjectAs("", oidc.SubjectName), edit: set("sub", "6ba7b8109dad11d180b400c04fd430c8"), reason: authn.ReasonClaims},
		"name is a UUID in braces": {config: subjectAs("", oidc.SubjectName), edit: set("sub", "{6ba7b8109dad11d180b400c04fd430c8}"), reason: authn.ReasonClaims},
		"name is a UUID as URN":    {config: subjectAs("", oidc.SubjectName), edit: set("sub", "URN:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8"), reason: authn.ReasonClaims},
		"name with a prefix":       {config: subjectAs("", oidc.SubjectName), edit: set("sub", "svc-payments"), reason: authn.ReasonClaims},
		"name with a line end":     {config: subjectAs("", oidc.SubjectName), edit: set("sub", "evil\n"), reason: authn.ReasonClaims},
		"name that reads backward": {config: subjectAs("", oidc.SubjectName), edit: set("sub", "evil\u202e"), reason: authn.ReasonClaims},
		"name too long":            {config: subjectAs("", oidc.SubjectName), edit: set("sub", strings.Repeat("x", 257)), reason: authn.ReasonClaims},

		"tenant": {
			config: tenants, edit: set("tid", "acme"),
			want: func(p *principalv1.Principal) { p.Tenant = "acme" },
		},
		"tenant missing": {config: tenants, want: unchanged},
		"per tenant": {
			config: perTenant, edit: set("tid", "acme"),
			want: func(p *principalv1.Principal) { p.Tenant, p.Subject = "acme", human(tenantHumanID) },
		},
		"per tenant, missing":   {config: perTenant, reason: authn.ReasonClaims},
		"per tenant, empty":     {config: perTenant, edit: set("tid", ""), reason: authn.ReasonClaims},
		"per tenant, with NUL":  {config: perTenant, edit: set("tid", "a\x00b"), reason: authn.ReasonClaims},
		"tenant is no string":   {config: tenants, edit: set("tid", 1), reason: authn.ReasonClaims},
		"tenant is too long":    {config: tenants, edit: set("tid", strings.Repeat("x", 257)), reason: authn.ReasonClaims},
		"tenant, not per claim": {edit: set("tid", "acme"), want: unchanged},

		"service":              {edit: isService("billing"), want: serviceIs("billing", "billing")},
		"service, long name":   {edit: isService(strings.Repeat("x", 63)), want: serviceIs(strings.Repeat("x", 63), strings.Repeat("x", 63))},
		"service, too long":    {edit: isService(strings.Repeat("x", 64)), reason: authn.ReasonClaims},
		"service, upper case":  {edit: isService("Billing"), reason: authn.ReasonClaims},
		"service, underscore":  {edit: isService("bil_ling"), reason: authn.ReasonClaims},
		"service, hyphen last": {edit: isService("billing-"), reason: authn.ReasonClaims},
		"service, dot first":   {edit: isService(".billing"), reason: authn.ReasonClaims},
		"service, a domain":    {edit: isService("mesh:prod"), reason: authn.ReasonClaims},
		"service, missing":     {edit: both(set("kind", "service"), without("client_id")), reason: authn.ReasonClaims},
		"service, no string":   {edit: isService(1), reason: authn.ReasonClaims},
		"service by name": {
			config: serviceNames(map[string]string{"0oa1": "billing"}), edit: isService("0oa1"), want: serviceIs("billing", "0oa1"),
		},
		"service not named":   {config: serviceNames(map[string]string{"0oa1": "billing"}), edit: isService("billing"), reason: authn.ReasonClaims},
		"service without sub": {edit: both(isService("billing"), without("sub")), want: serviceIs("billing", "billing")},

		"scopes sorted and once":      {edit: set("scope", "b a  c a "), want: withScopes("a", "b", "c")},
		"scopes missing":              {edit: without("scope"), want: withScopes()},
		"scopes empty":                {edit: set("scope", ""), want: withScopes()},
		"scopes null":                 {edit: set("scope", nil), want: withScopes()},
		"scopes in an array":          {config: scopes("scp", nil), edit: set("scp", []string{"b", "a"}), want: withScopes("a", "b")},
		"scopes of another claim":     {config: scopes("scp", nil), edit: set("scp", "a b"), want: withScopes("a", "b")},
		"scope with a space":          {config: scopes("scp", nil), edit: set("scp", []string{"a b"}), reason: authn.ReasonClaims},
		"scope with a tab":            {edit: set("scope", "a\tb"), reason: authn.ReasonClaims},
		"scope with a quote":          {edit: set("scope", `a"`), reason: authn.ReasonClaims},
		"scope that is not ASCII":     {edit: set("scope", "é"), reason: authn.ReasonClaims},
		"scope that is empty":         {config: scopes("scp", nil), edit: set("scp", []string{""}), reason: authn.ReasonClaims},
		"scope that is too long":      {edit: set("scope", strings.Repeat("x", 257)), reason: authn.ReasonClaims},
		"scopes no strings":           {edit: set("scope", []any{"a", 1}), reason: authn.ReasonClaims},
		"scopes an object":            {edit: set("scope", object{"a": true}), reason: authn.ReasonClaims},
		"64 scopes":                   {edit: set("scope", strings.Join(numbered("s", 64), " ")), want: withScopes(numbered("s", 64)...)},
		"65 scopes":                   {edit: set("scope", strings.Join(numbered("s", 65), " ")), reason: authn.ReasonClaims},
		"65 scopes, one twice":        {edit: set("scope", strings.Join(append(numbered("s", 64), "s00"), " ")), want: withScopes(numbered("s", 64)...)},
		"65 scopes, one of them ours": {config: scopes("", map[string]string{"s00": ""}), edit: set("scope", strings.Join(numbered("s", 65), " ")), want: withScopes("s00")},
		"scopes mapped": {
			config: scopes("", map[string]string{"Orders.Read": "orders:read", "openid": "", "a": "z"}),
			edit:   set("scope", "openid profile a Orders.Read"), want: withScopes("openid", "orders:read", "z"),
		},
		"scopes mapped to nothing": {config: scopes("", map[string]string{}), want: withScopes()},

		"roles unless configured": {edit: set("roles", []string{"admin"}), want: unchanged},
		"roles":                   {config: roles("roles", nil), edit: set("roles", []string{"b", "a", "b"}), want: withRoles("a", "b")},
		"roles by path":           {config: roles("realm_access.roles", nil), edit: set("realm_access", object{"roles": []string{"a"}}), want: withRoles("a")},
		"roles by path to nothing": {
			config: roles("realm_access.roles", nil), edit: set("realm_access", []string{"roles"}), want: unchanged,
		},
		"roles by literal name": {config: roles("https://x.example/roles", nil), edit: set("https://x.example/roles", []string{"a"}), want: withRoles("a")},
		"roles by literal name first": {
			config: roles("a.b", nil), edit: both(set("a.b", []string{"x"}), set("a", object{"b": []string{"y"}})), want: withRoles("x"),
		},
		"a role":          {config: roles("role", nil), edit: set("role", "shift lead"), want: withRoles("shift lead")},
		"roles mapped":    {config: roles("roles", map[string]string{"Admins": "admin", "b": ""}), edit: set("roles", []string{"Admins", "b", "c"}), want: withRoles("admin", "b")},
		"17 roles":        {config: roles("roles", nil), edit: set("roles", numbered("r", 17)), reason: authn.ReasonClaims},
		"16 roles":        {config: roles("roles", nil), edit: set("roles", numbered("r", 16)), want: withRoles(numbered("r", 16)...)},
		"roles no string": {config: roles("roles", nil), edit: set("roles", 1), reason: authn.ReasonClaims},
		"role with DEL":   {config: roles("roles", nil), edit: set("roles", []string{"evil\x7f"}), reason: authn.ReasonClaims},

		"client from azp":       {edit: both(without("client_id"), set("azp", "spa")), want: withClient("spa")},
		"client_id before azp":  {edit: set("azp", "spa"), want: withClient("web")},
		"client of a claim":     {config: func(c *oidc.Issuer) { c.ClientIDClaim = "cid" }, edit: set("cid", "c"), want: withClient("c")},
		"client missing":        {edit: without("client_id"), want: withClient("")},
		"client no string":      {edit: set("client_id", 1), reason: authn.ReasonClaims},
		"client with a control": {edit: set("client_id", "evil\u0085"), reason: authn.ReasonClaims},

		"session from sid":    {edit: set("sid", "session-1"), want: withSession(sidID)},
		"session, sid empty":  {edit: set("sid", ""), want: unchanged},
		"session, sid number": {edit: set("sid", 1), reason: authn.ReasonClaims},
		"session, sid NUL":    {edit: set("sid", "a\x00b"), reason: authn.ReasonClaims},
		"session, jti number": {edit: set("jti", 1), reason: authn.ReasonClaims},

		"authentication": {
			edit: both(set("auth_time", 1_700_000_000), set("acr", "urn:mace:incommon:iap:silver"), set("amr", []string{"pwd", "mfa", "pwd"})),
			want: withAuthentication(&principalv1.Authentication{
				Time: 1_700_000_000, Acr: "urn:mace:incommon:iap:silver", Amr: []string{"mfa", "pwd"}, Source: "oidc",
			}),
		},
		"amr a string":        {edit: set("amr", "pwd"), want: withAuthentication(&principalv1.Authentication{Amr: []string{"pwd"}, Source: "oidc"})},
		"auth_time 0":         {edit: set("auth_time", 0), want: unchanged},
		"auth_time null":      {edit: set("auth_time", nil), want: unchanged},
		"auth_time to come":   {edit: set("auth_time", newClock().now().Unix()+31), reason: authn.ReasonClaims},
		"auth_time no number": {edit: set("auth_time", "yesterday"), reason: authn.ReasonClaims},
		"acr no string":       {edit: set("acr", 2), reason: authn.ReasonClaims},
		"acr too long":        {edit: set("acr", strings.Repeat("x", 257)), reason: authn.ReasonClaims},
		"amr no strings":      {edit: set("amr", []int{1}), reason: authn.ReasonClaims},
		"17 amr":              {edit: set("amr", numbered("m", 17)), reason: authn.ReasonClaims},

		"attributes in order": {
			config: attributes(oidc.Attribute{Name: "region", Claim: "loc.region"}, oidc.Attribute{Name: "beta", Claim: "beta"},
				oidc.Attribute{Name: "level", Claim: "level"}, oidc.Attribute{Name: "none", Claim: "none"}, oidc.Attribute{Name: "empty", Claim: "empty"}),
			edit: both(set("loc", object{"region": "eu"}), set("beta", true), set("level", 3), set("none", nil), set("empty", "")),
			want: withAttributes(&principalv1.Attribute{Name: "beta", Value: "true"}, &principalv1.Attribute{Name: "level", Value: "3"},
				&principalv1.Attribute{Name: "region", Value: "eu"}),
		},
		"attribute an array": {config: attributes(oidc.Attribute{Name: "a", Claim: "a"}), edit: set("a", []string{"x"}), reason: authn.ReasonClaims},
		"attribute too long": {config: attributes(oidc.Attribute{Name: "a", Claim: "a"}), edit: set("a", strings.Repeat("x", 257)), reason: authn.ReasonClaims},
		"attributes too long together": {
			config: attributes(oidc.Attribute{Name: "a", Claim: "a"}, oidc.Attribute{Name: "b", Claim: "a"}, oidc.Attribute{Name: "c", Claim: "a"},
				oidc.Attribute{Name: "d", Claim: "a"}),
			edit: set("a", strings.Repeat("x", 256)), reason: authn.ReasonClaims,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.run(t)
		})
	}
}

func serviceIs(name, client string) func(*principalv1.Principal) {
	return func(p *principalv1.Principal) { p.Subject, p.ClientId = service(name), client }
}

func numbered(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s%02d", prefix, i)
	}
	return list
}

func TestDelegation(t *testing.T) {
	t.Parallel()
	agents := func(list ...oidc.Agent) func(*oidc.Issuer) {
		return func(c *oidc.Issuer) {
			c.Agents = list
			c.Roles.Claim = "roles"
		}
	}
	shopping := oidc.Agent{Subject: "shopping-agent"}
	act := func(act any) func(header, claims object) {
		return both(set("act", act), set("roles", []string{"buyer"}), set("scope", "orders:read orders:write"))
	}
	delegated := func(grant, actor []byte, scopes, roles []string) func(*principalv1.Principal) {
		return func(p *principalv1.Principal) {
			p.Delegations = []*principalv1.Delegation{{GrantId: grant, Actor: agent(actor)}}
			p.Scopes, p.Roles = scopes, roles
		}
	}
	plain := object{"sub": "shopping-agent"}
	all, buyer := []string{"orders:read", "orders:write"}, []string{"buyer"}
	for name, test := range map[string]mapping{
		"an agent": {config: agents(shopping), edit: act(plain), want: delegated(grantID, agentID, all, buyer)},
		"an agent with issuer": {
			config: agents(shopping), edit: act(object{"sub": "shopping-agent", "iss": local}), want: delegated(grantID, agentID, all, buyer),
		},
		"an agent of another issuer": {
			config: agents(oidc.Agent{Issuer: "https://agents.example", Subject: "shopping-agent"}),
			edit:   act(object{"sub": "shopping-agent", "iss": "https://agents.example"}),
			want: delegated(id(derive(local, "hm-"+uuid.UUID(humanID).String(), "am-"+uuid.UUID(otherAgentID).String())),
				otherAgentID, all, buyer),
		},
		"narrowed": {
			config: agents(oidc.Agent{Subject: "shopping-agent", Scopes: []string{"ledger:read", "orders:read"}}),
			edit:   act(plain), want: delegated(grantID, agentID, []string{"orders:read"}, nil),
		},
		"narrowed to nothing": {
			config: agents(oidc.Agent{Subject: "shopping-agent", Scopes: []string{"ledger:read"}}),
			edit:   act(plain), want: delegated(grantID, agentID, []string{}, nil),
		},
		"earlier actors are not carried": {
			config: agents(shopping), edit: act(object{"sub": "shopping-agent", "act": object{"sub": "evil", "act": object{"sub": "evil"}}}),
			want: delegated(grantID, agentID, all, buyer),
		},
		"for a service": {
			config: agents(shopping), edit: both(act(plain), set("kind", "service"), set("client_id", "billing")),
			want: func(p *principalv1.Principal) {
				delegated(serviceGrant, agentID, all, buyer)(p)
				p.Subject, p.ClientId = service("billing"), "billing"
			},
		},
		"per tenant": {
			config: func(c *oidc.Issuer) {
				agents(oidc.Agent{Subject: "shopping-agent", Tenant: "acme"})(c)
				c.TenantClaim, c.PerTenant = "tid", true
			},
			edit: both(act(plain), set("tid", "acme")),
			want: func(p *principalv1.Principal) {
				delegated(id(derive(local, "hm-"+uuid.UUID(tenantHumanID).String(), "am-"+uuid.UUID(tenantAgentID).String())),
					tenantAgentID, all, buyer)(p)
				p.Tenant, p.Subject = "acme", human(tenantHumanID)
			},
		},
		"per tenant, an agent of another issuer": {
			config: func(c *oidc.Issuer) {
				agents(oidc.Agent{Issuer: "https://agents.example", Subject: "shopping-agent"})(c)
				c.TenantClaim, c.PerTenant = "tid", true
			},
			edit: both(act(object{"sub": "shopping-agent", "iss": "https://agents.example"}), set("tid", "acme")),
			want: func(p *principalv1.Principal) {
				delegated(id(derive(local, "hm-"+uuid.UUID(tenantHumanID).String(), "am-"+uuid.UUID(otherAgentID).String())),
					otherAgentID, all, buyer)(p)
				p.Tenant, p.Subject = "acme", human(tenantHumanID)
			},
		},
		"of another tenant": {
			config: func(c *oidc.Issuer) {
				agents(oidc.Agent{Subject: "shopping-agent", Tenant: "acme"})(c)
				c.TenantClaim, c.PerTenant = "tid", true
			},
			edit: both(act(plain), set("tid", "evil")), reason: authn.ReasonActor,
		},
		"may_act is no actor":   {edit: set("may_act", plain), want: func(*principalv1.Principal) {}},
		"nobody configured":     {edit: act(plain), reason: authn.ReasonActor},
		"another subject":       {config: agents(shopping), edit: act(object{"sub": "evil"}), reason: authn.ReasonActor},
		"another issuer":        {config: agents(shopping), edit: act(object{"sub": "shopping-agent", "iss": "https://evil.example"}), reason: authn.ReasonActor},
		"issuer with a slash":   {config: agents(shopping), edit: act(object{"sub": "shopping-agent", "iss": local + "/"}), reason: authn.ReasonActor},
		"an agent further in":   {config: agents(shopping), edit: act(object{"sub": "evil", "act": plain}), reason: authn.ReasonActor},
		"a client_id, no sub":   {config: agents(shopping), edit: act(object{"client_id": "shopping-agent"}), reason: authn.ReasonActor},
		"SUB instead of sub":    {config: agents(shopping), edit: act(object{"SUB": "shopping-agent"}), reason: authn.ReasonActor},
		"sub no string":         {config: agents(shopping), edit: act(object{"sub": 1}), reason: authn.ReasonActor},
		"sub empty":             {config: agents(shopping), edit: act(object{"sub": ""}), reason: authn.ReasonActor},
		"sub with NUL":          {config: agents(shopping), edit: act(object{"sub": "shopping-agent\x00"}), reason: authn.ReasonActor},
		"issuer no string":      {config: agents(shopping), edit: act(object{"sub": "shopping-agent", "iss": 1}), reason: authn.ReasonActor},
		"issuer null":           {config: agents(shopping), edit: act(object{"sub": "shopping-agent", "iss": nil}), reason: authn.ReasonActor},
		"a string":              {config: agents(shopping), edit: act("shopping-agent"), reason: authn.ReasonActor},
		"an array":              {config: agents(shopping), edit: act([]object{plain}), reason: authn.ReasonActor},
		"null":                  {config: agents(shopping), edit: act(nil), reason: authn.ReasonActor},
		"an empty object":       {config: agents(shopping), edit: act(object{}), reason: authn.ReasonActor},
		"an agent, kindless":    {config: agents(shopping), edit: both(act(plain), without("kind")), reason: authn.ReasonKind},
		"an agent, without sub": {config: agents(shopping), edit: both(act(plain), without("sub")), reason: authn.ReasonClaims},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.run(t)
		})
	}
}

func derive(parts ...string) string {
	return uuid.NewSHA1(uuid.MustParse("2bd1d63d-77e2-560e-821a-dcf3b7bef64e"), []byte(strings.Join(parts, "\x00"))).String()
}

// An agent that logs in and the same agent that acts for someone are one party.
func TestAgentIsTheSameAlone(t *testing.T) {
	t.Parallel()
	mapping{
		edit: both(set("kind", "agent"), set("sub", "shopping-agent")),
		want: func(p *principalv1.Principal) { p.Subject = agent(agentID) },
	}.run(t)
}

func TestEarlierActorsAreCounted(t *testing.T) {
	t.Parallel()
	p, c := newLocalIDP(local), newClock()
	config := p.config()
	config.Agents = []oidc.Agent{{Subject: "shopping-agent"}}
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a := start(t, []oidc.Issuer{config}, oidc.WithClock(c.now), oidc.WithHTTPClient(client(p)), oidc.WithLogger(log))
	nested := object{"sub": "canary-1", "act": object{"sub": "canary-2"}}
	token := p.token(c.now(), set("act", object{"sub": "shopping-agent", "act": nested}))
	if _, err := authenticate(t.Context(), a, token); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "count=2") || strings.Contains(got, "canary") || strings.Contains(got, subject) {
		t.Errorf("logged %s", got)
	}
}

// Of a token with neither sid nor jti, the session is named by what is signed:
// the same ECDSA token with its other signature is the same session.
func TestSessionOfTheTokenItself(t *testing.T) {
	t.Parallel()
	k := newKey("k1", "ES256")
	p, c := newLocalIDP(local, k), newClock()
	a := start(t, []oidc.Issuer{p.config()}, oidc.WithClock(c.now), oidc.WithHTTPClient(client(p)))
	token := p.token(c.now(), without("jti"))
	first, err := authenticate(t.Context(), a, token)
	if err != nil {
		t.Fatal(err)
	}
	second, err := authenticate(t.Context(), a, resign(token, k))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first.Principal.GetSessionId(), second.Principal.GetSessionId()); diff != "" {
		t.Errorf("two sessions (-first +second):\n%s", diff)
	}
	other, err := authenticate(t.Context(), a, p.token(c.now(), without("jti"), set("x", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(first.Principal.GetSessionId(), other.Principal.GetSessionId()) {
		t.Error("two tokens with one session")
	}
}

func TestResultTimes(t *testing.T) {
	t.Parallel()
	p, c := newLocalIDP(local), newClock()
	a := start(t, []oidc.Issuer{p.config()}, oidc.WithClock(c.now), oidc.WithHTTPClient(client(p)))
	got, err := authenticate(t.Context(), a, p.token(c.now()))
	if err != nil {
		t.Fatal(err)
	}
	if want := c.now().Add(5 * time.Minute); !got.ExpiresAt.Equal(want) || !got.IssuedAt.Equal(c.now()) {
		t.Errorf("got %v to %v, want %v to %v", got.IssuedAt, got.ExpiresAt, c.now(), want)
	}
	if got, err = authenticate(t.Context(), a, p.token(c.now(), without("iat"))); err != nil || !got.IssuedAt.IsZero() {
		t.Errorf("without iat: got %v and %v", got, err)
	}
}

// Each result belongs to its caller.
func TestResultsAreNotShared(t *testing.T) {
	t.Parallel()
	p, c := newLocalIDP(local), newClock()
	a := start(t, []oidc.Issuer{p.config()}, oidc.WithClock(c.now), oidc.WithHTTPClient(client(p)))
	token := p.token(c.now())
	first, err := authenticate(t.Context(), a, token)
	if err != nil {
		t.Fatal(err)
	}
	first.Principal.Scopes[0] = "changed"
	first.Principal.GetSubject().GetHumanUuid()[0] ^= 1
	second, err := authenticate(t.Context(), a, token)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"orders:read"}, second.Principal.GetScopes()); diff != "" {
		t.Errorf("scopes differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(humanID, second.Principal.GetSubject().GetHumanUuid()); diff != "" {
		t.Errorf("subject differs (-want +got):\n%s", diff)
	}
}
