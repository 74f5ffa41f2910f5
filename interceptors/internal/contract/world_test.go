package contract_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

const (
	edgeA       = "https://edge-a.example"
	edgeB       = "https://edge-b.example"
	mesh        = "mesh:td"
	trustDomain = "td.example"

	// canary stands in a field that nobody logs.
	canary = "CANARY-in-an-attribute"
)

// The parties. x is an attacker; s9 is a service without a key in the role of
// links.
var (
	i1 = newForgeKey(principal.RoleAuthority, edgeA, "i1")
	b1 = newForgeKey(principal.RoleAuthority, edgeB, "b1")
	s1 = newForgeKey(principal.RoleLink, "s1", "s1-key")
	s2 = newForgeKey(principal.RoleLink, "s2", "s2-key")
	s3 = newForgeKey(principal.RoleLink, "s3", "s3-key")
	s9 = newForgeKey(principal.RoleLink, "s9", "s9-key")
	x  = newForgeKey(principal.RoleAuthority, "https://x.example", "x1")
)

// keySet holds the keys of all but x and s9, and counts what it is asked.
type keySet struct {
	keys  map[principal.KeyRef]*principal.Key
	finds atomic.Int64
}

func newKeySet() *keySet {
	k := &keySet{keys: make(map[principal.KeyRef]*principal.Key)}
	for _, key := range []forgeKey{i1, b1, s1, s2, s3} {
		k.keys[key.KeyRef] = key.public()
	}
	return k
}

func (k *keySet) Find(_ context.Context, ref principal.KeyRef) (*principal.Key, error) {
	k.finds.Add(1)
	return k.keys[ref], nil
}

func (*keySet) Version() uint64 { return 1 }

// alice returns the fixture: a human with a tenant, acted for by nobody.
func alice(audience string, edit ...func(*principalv1.Principal)) *principalv1.Principal {
	now := time.Now().Unix()
	p := &principalv1.Principal{
		Id:             []byte("0123456789abcdef"),
		Issuer:         edgeA,
		Audience:       audience,
		IssuedAt:       now,
		ExpiresAt:      now + 300,
		Subject:        human("alice"),
		Scopes:         []string{"orders:read", "orders:write"},
		Roles:          []string{"buyer"},
		Tenant:         "acme",
		SessionId:      []byte("session-of-alice"),
		Authentication: &principalv1.Authentication{Time: now - 60, Acr: "loa2", Amr: []string{"hwk", "pwd"}, Source: "oidc"},
		Attributes:     []*principalv1.Attribute{{Name: "note", Value: canary}},
	}
	if audience != mesh {
		p.Presenter, p.MaxLinks, p.Commitment = "bff", 6, commitmentTo("A")
	}
	for _, f := range edit {
		f(p)
	}
	return p
}

func human(name string) *principalv1.Identity {
	return &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: name}}
}

func bob(p *principalv1.Principal) { p.Subject = human("bob") }

// delegated makes an agent act for an agent that acts for the subject.
func delegated(p *principalv1.Principal) {
	for _, name := range []string{"shopper", "fetcher"} {
		p.Delegations = append(p.Delegations, &principalv1.Delegation{
			GrantId: []byte("grant " + name + "---")[:16],
			Actor:   &principalv1.Identity{Id: &principalv1.Identity_AgentName{AgentName: name}},
		})
	}
}

// authority returns the chain of p's block, signed by its issuer.
func authority(p *principalv1.Principal) chain { return chain{}.with(i1, canonical(p)) }

// relayed returns the header of the fixture in relay mode.
func relayed(edit ...func(*principalv1.Principal)) string {
	return authority(alice(mesh, edit...)).header("")
}

// to returns a link to a service, with that opening; without scopes it inherits.
func to(audience, opening string, scopes ...string) *principalv1.Link {
	l := &principalv1.Link{Audience: audience, ExpiresAt: time.Now().Unix() + 60, Commitment: commitmentTo(opening)}
	if scopes != nil {
		l.Scopes = &principalv1.ScopeSet{Values: scopes}
	}
	return l
}

func (c chain) link(key forgeKey, l *principalv1.Link) chain { return c.with(key, canonical(l)) }

// verifierOf returns the verifier of a service. It accepts relays.
func verifierOf(t testing.TB, service string, keys principal.KeySet, opts ...principal.VerifierOption) *principal.Verifier {
	t.Helper()
	v, err := principal.NewVerifier(service, keys, append([]principal.VerifierOption{principal.AcceptRelay(mesh)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func guardOf(t testing.TB, v *principal.Verifier, rules *principal.Rules, opts ...principal.GuardOption) *principal.Guard {
	t.Helper()
	g, err := principal.NewGuard(v, rules, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func propagatorOf(t testing.TB, key forgeKey) *principal.Propagator {
	t.Helper()
	p, err := principal.NewPropagator(principal.WithLinkKey(key.Owner, key.private, key.ID))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// contextOf returns the context that a handler of the service sees for a header.
func contextOf(t testing.TB, service, header string) context.Context {
	t.Helper()
	g := guardOf(t, verifierOf(t, service, newKeySet()), rulesFor("/any/Thing", anyKind()))
	a, err := g.Admit(t.Context(), principal.Call{Procedure: "/any/Thing", Values: []string{header}, RequestID: "req_1"})
	if err != nil {
		t.Fatal(err)
	}
	return a.Context
}

func rulesFor(method string, rule *principalv1.AccessRule) *principal.Rules {
	return (&principal.Rules{}).WithMethod(method, rule)
}

func anyKind() *principalv1.AccessRule {
	return &principalv1.AccessRule{Kinds: []principalv1.Kind{principalv1.Kind_KIND_HUMAN, principalv1.Kind_KIND_AGENT, principalv1.Kind_KIND_SERVICE}}
}

// facts is what a principal says, in a form that can be compared.
type facts struct {
	ID, Issuer, Subject, Actor, Tenant, ACR string
	Kind                                    principal.Kind
	Delegations, Scopes, Roles, Path        []string
	IssuedAt, ExpiresAt                     int64
	Attributes                              map[string]string
}

func factsOf(p *principal.Principal) facts {
	f := facts{
		ID: p.ID().String(), Issuer: p.Issuer(), Subject: p.Subject().String(), Actor: p.Actor().String(),
		Tenant: p.Tenant(), ACR: p.Authentication().ACR, Kind: p.Kind(), Scopes: p.Scopes(), Roles: p.Roles(), Path: p.Path(),
		IssuedAt: p.IssuedAt().Unix(), ExpiresAt: p.ExpiresAt().Unix(), Attributes: p.Attributes(),
	}
	for _, d := range p.Delegations() {
		f.Delegations = append(f.Delegations, d.Actor.String())
	}
	return f
}

// expected works the same out from what was signed: the authority's payload and
// the links'.
func expected(c chain) facts {
	var p principalv1.Principal
	if err := proto.Unmarshal(c[0].GetPayload(), &p); err != nil {
		panic(err)
	}
	f := facts{
		ID: principal.ID(p.GetId()).String(), Issuer: p.GetIssuer(), Subject: "hm-" + p.GetSubject().GetHumanName(),
		Tenant: p.GetTenant(), ACR: p.GetAuthentication().GetAcr(), Kind: principal.KindHuman,
		Scopes: p.GetScopes(), Roles: p.GetRoles(), Path: []string{},
		IssuedAt: p.GetIssuedAt(), ExpiresAt: p.GetExpiresAt(), Attributes: map[string]string{},
	}
	f.Actor = f.Subject
	for _, d := range p.GetDelegations() {
		f.Kind, f.Actor = principal.KindAgent, "am-"+d.GetActor().GetAgentName()
		f.Delegations = append(f.Delegations, f.Actor)
	}
	for _, a := range p.GetAttributes() {
		f.Attributes[a.GetName()] = a.GetValue()
	}
	if p.GetPresenter() != "" {
		f.Path = append(f.Path, p.GetPresenter())
	}
	signer := p.GetAudience()
	for _, b := range c[1:] {
		var l principalv1.Link
		if err := proto.Unmarshal(b.GetPayload(), &l); err != nil {
			panic(err)
		}
		f.Path = append(f.Path, signer)
		signer = l.GetAudience()
		if l.GetScopes() != nil {
			f.Scopes, f.Roles = l.GetScopes().GetValues(), nil
		}
	}
	return f
}
