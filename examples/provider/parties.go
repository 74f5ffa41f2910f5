package provider

import (
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// The kinds of a token's subject, in its claim "kind".
const (
	kindHuman   = "human"
	kindAgent   = "agent"
	kindService = "service"
)

// user is a human. acr and amr differ between users, so that a rule that asks
// for a level has someone to refuse.
type user struct {
	name, email, tenant, acr string
	amr, roles               []string
}

var users = map[string]user{
	"alice": {
		name: "Alice", email: "alice@example.com", tenant: "acme",
		acr: "aal2", amr: []string{"otp", "pwd"}, roles: []string{"customer"},
	},
	"bob": {
		name: "Bob", email: "bob@example.com", tenant: "globex",
		acr: "aal1", amr: []string{"pwd"}, roles: []string{"customer", "support"},
	},
}

// client implements [op.Client].
type client struct {
	id        string
	secret    string // empty: public
	kind      string // of the client as a subject; empty: never one
	tenant    string
	grants    []oidc.GrantType
	scopes    []string
	redirects []string
}

func newClients(redirects []string) map[string]client {
	if len(redirects) == 0 {
		redirects = []string{"http://127.0.0.1/callback"}
	}
	clients := make(map[string]client)
	for _, c := range []client{{
		id:        "web",
		grants:    []oidc.GrantType{oidc.GrantTypeCode},
		scopes:    []string{"ledger:read", "ledger:write", "orders:read", "orders:write", "payments:read", "payments:write"},
		redirects: redirects,
	}, {
		id: "billing", secret: "billing-secret", kind: kindService, tenant: "acme",
		grants: []oidc.GrantType{oidc.GrantTypeClientCredentials},
		scopes: []string{"ledger:read"},
	}, {
		id: "shopping-agent", secret: "shopping-agent-secret", kind: kindAgent, tenant: "acme",
		grants: []oidc.GrantType{oidc.GrantTypeClientCredentials, oidc.GrantTypeTokenExchange},
		scopes: []string{"ledger:read", "orders:read", "orders:write", "payments:read", "payments:write"},
	}} {
		clients[c.id] = c
	}
	return clients
}

// allowed are the scopes asked for that the client may have; asking for none
// means all of them.
func (c client) allowed(scopes []string) []string {
	if len(scopes) == 0 {
		return c.scopes
	}
	return intersect(scopes, c.scopes)
}

func intersect(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !slices.Contains(b, s) })
}

func (c client) GetID() string                       { return c.id }
func (c client) RedirectURIs() []string              { return c.redirects }
func (c client) PostLogoutRedirectURIs() []string    { return nil }
func (c client) ApplicationType() op.ApplicationType { return op.ApplicationTypeNative }
func (c client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c client) GrantTypes() []oidc.GrantType         { return c.grants }
func (c client) LoginURL(id string) string            { return "/login?id=" + id }
func (c client) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeJWT }
func (c client) IDTokenLifetime() time.Duration       { return lifetime }
func (c client) DevMode() bool                        { return false }
func (c client) IsScopeAllowed(scope string) bool     { return slices.Contains(c.scopes, scope) }
func (c client) IDTokenUserinfoClaimsAssertion() bool { return true }
func (c client) ClockSkew() time.Duration             { return 0 }

func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string { //nolint:staticcheck // op's spelling
	return slices.Clone[[]string]
}

func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return slices.Clone[[]string]
}

func (c client) AuthMethod() oidc.AuthMethod {
	if c.secret == "" {
		return oidc.AuthMethodNone
	}
	return oidc.AuthMethodBasic
}
