package oidc_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
)

// Whatever a configured issuer signs, the outcome is a refusal with a reason or
// a principal within the limits of the wire format.
func FuzzClaims(f *testing.F) {
	p, c := newLocalIDP(local), newClock()
	config := p.config()
	config.TenantClaim = "tid"
	config.Roles.Claim = "realm_access.roles"
	config.Attributes = []oidc.Attribute{{Name: "a", Claim: "a"}, {Name: "b", Claim: "b.c"}}
	config.Agents = []oidc.Agent{{Subject: "shopping-agent", Scopes: []string{"orders:read"}}}
	a := start(f, []oidc.Issuer{config}, oidc.WithClock(c.now), oidc.WithHTTPClient(client(p)))
	for _, edit := range []func(header, claims object){
		set("x", 1),
		both(set("act", object{"sub": "shopping-agent", "act": object{"sub": "b"}}), set("tid", "acme")),
		both(set("realm_access", object{"roles": []string{"b", "a"}}), set("amr", []string{"pwd"}), set("auth_time", 1)),
		both(set("a", true), set("b", object{"c": 1.5}), set("aud", []string{audience, "x"}), set("azp", "x")),
		set("kind", "service"),
	} {
		f.Add(payloadOf(p.token(c.now(), edit)))
	}
	const head = `{"alg":"EdDSA","kid":"k1","typ":"at+jwt"}`
	f.Fuzz(func(t *testing.T, claims string) {
		result, err := authenticate(t.Context(), a, p.keys[0].sign(head, claims))
		if err != nil {
			if _, ok := errors.AsType[*authn.Error](err); !ok || result != nil {
				t.Errorf("got %v and %v", result, err)
			}
			return
		}
		if !json.Valid([]byte(claims)) {
			t.Error("accepted what is no JSON")
		}
		principal := result.Principal
		if principal.GetSubject().GetId() == nil || len(principal.GetSessionId()) != 16 || result.ExpiresAt.Before(c.now().Add(-30_000_000_000)) {
			t.Errorf("incomplete: %v", result)
		}
		checkList(t, principal.GetScopes(), 64)
		checkList(t, principal.GetRoles(), 16)
		checkList(t, principal.GetAuthentication().GetAmr(), 16)
		for _, text := range []string{principal.GetTenant(), principal.GetClientId(), principal.GetAuthentication().GetAcr()} {
			checkText(t, text)
		}
		for _, attribute := range principal.GetAttributes() {
			checkText(t, attribute.GetValue())
		}
	})
}

func checkList(t *testing.T, list []string, limit int) {
	t.Helper()
	if len(list) > limit || !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
		t.Errorf("%q is too long or not strictly ascending", list)
	}
	for _, text := range list {
		checkText(t, text)
	}
}

func checkText(t *testing.T, text string) {
	t.Helper()
	if len(text) > 256 || strings.ContainsAny(text, "\x00\r\n\x1b\x7f") {
		t.Errorf("%q is beyond the limits", text)
	}
}
