package provider_test

import (
	"maps"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/onbehalf-dev/onbehalf/examples/provider"
)

// facts are the claims that remain when those that differ each time are gone.
func facts(claims map[string]any) map[string]any {
	for _, name := range []string{"iss", "aud", "iat", "exp", "jti", "sid", "auth_time", "acr", "amr", "roles"} {
		delete(claims, name)
	}
	return claims
}

func TestClientCredentials(t *testing.T) {
	t.Parallel()
	p := start(t, provider.Options{})
	for name, test := range map[string]struct {
		id     string
		scopes []string
		want   map[string]any
	}{
		"service": {"billing", nil, map[string]any{
			"sub": "billing", "client_id": "billing", "scope": "ledger:read", "kind": "service", "tenant": "acme",
		}},
		"agent": {"shopping-agent", []string{"orders:read", "ledger:write"}, map[string]any{
			"sub": "shopping-agent", "client_id": "shopping-agent", "scope": "orders:read", "kind": "agent", "tenant": "acme",
		}},
	} {
		for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				config := clientcredentials.Config{
					ClientID: test.id, ClientSecret: test.id + "-secret", Scopes: test.scopes,
					TokenURL: discover(t, p).TokenEndpoint, AuthStyle: style,
				}
				token, err := config.Token(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				header, claims := verify(t, p, token.AccessToken)
				if typ := header.ExtraHeaders[jose.HeaderType]; typ != "at+jwt" {
					t.Errorf("typ %v", typ)
				}
				if diff := cmp.Diff(test.want, facts(claims)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestTokenEndpointRefuses(t *testing.T) {
	t.Parallel()
	p := start(t, provider.Options{})
	for name, test := range map[string]struct {
		form url.Values
		code string
		want int
	}{
		"secret": {url.Values{"client_id": {"billing"}, "client_secret": {"wrong"}}, "invalid_client", http.StatusUnauthorized},
		"client": {url.Values{"client_id": {"stranger"}}, "invalid_client", http.StatusUnauthorized},
		"public": {url.Values{"client_id": {"web"}}, "unauthorized_client", http.StatusBadRequest},
		"scope": {url.Values{"client_id": {"billing"}, "client_secret": {"billing-secret"}, "scope": {"orders:write"}},
			"invalid_scope", http.StatusBadRequest},
		"grant": {url.Values{"client_id": {"billing"}, "client_secret": {"billing-secret"}, "grant_type": {"refresh_token"}, "refresh_token": {"x"}},
			"unauthorized_client", http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !test.form.Has("grant_type") {
				test.form.Set("grant_type", "client_credentials")
			}
			checkRefused(t, post(t, discover(t, p).TokenEndpoint, test.form), test.want, test.code)
		})
	}
}

func checkRefused(t *testing.T, a answer, status int, code string) {
	t.Helper()
	body := unmarshal[struct {
		Error string `json:"error"`
	}](t, a)
	if a.StatusCode != status || body.Error != code {
		t.Errorf("%s %s, want %d %s", a.Status, a.body, status, code)
	}
}

func TestDevToken(t *testing.T) {
	t.Parallel()
	p := start(t, provider.Options{Algorithms: []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}})
	for name, test := range map[string]struct {
		form      url.Values
		algorithm string
		want      map[string]any
	}{
		"user": {url.Values{"user": {"bob"}, "scope": {"orders:read any:scope"}}, "RS256", map[string]any{
			"sub": "bob", "client_id": "web", "scope": "orders:read any:scope", "kind": "human", "tenant": "globex",
		}},
		"agent for a user": {url.Values{"user": {"alice"}, "client": {"shopping-agent"}, "act": {"shopping-agent"}, "alg": {"ES256"}}, "ES256", map[string]any{
			"sub": "alice", "client_id": "shopping-agent", "kind": "human", "tenant": "acme",
			"act": map[string]any{"sub": "shopping-agent"},
		}},
		"sub-agent": {url.Values{"user": {"alice"}, "act": {"price-finder", "shopping-agent"}, "alg": {"EdDSA"}}, "EdDSA", map[string]any{
			"sub": "alice", "client_id": "web", "kind": "human", "tenant": "acme",
			"act": map[string]any{"sub": "price-finder", "act": map[string]any{"sub": "shopping-agent"}},
		}},
		"service": {url.Values{"client": {"billing"}}, "RS256", map[string]any{
			"sub": "billing", "client_id": "billing", "kind": "service", "tenant": "acme",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := post(t, p.URL()+"/dev/token", test.form)
			header, claims := verify(t, p, unmarshal[oauth2.Token](t, a).AccessToken)
			if header.Algorithm != test.algorithm {
				t.Errorf("signed with %s", header.Algorithm)
			}
			if diff := cmp.Diff(test.want, facts(claims)); diff != "" {
				t.Error(diff)
			}
		})
	}
	for name, form := range map[string]url.Values{
		"user":      {"user": {"mallory"}},
		"client":    {"user": {"alice"}, "client": {"stranger"}},
		"no user":   {},
		"algorithm": {"user": {"alice"}, "alg": {"HS256"}},
		"seconds":   {"user": {"alice"}, "expires_in": {"soon"}},
	} {
		t.Run("unknown "+name, func(t *testing.T) {
			t.Parallel()
			checkRefused(t, post(t, p.URL()+"/dev/token", form), http.StatusBadRequest, "invalid_request")
		})
	}
}

func TestDevTokenSettings(t *testing.T) {
	t.Parallel()
	clock := newClock()
	p := start(t, provider.Options{Now: clock.Now, Audience: "platform"})
	for name, test := range map[string]struct {
		form    url.Values
		aud     any
		expires time.Duration
	}{
		"defaults": {url.Values{"sid": {"s"}}, "platform", time.Hour},
		"chosen":   {url.Values{"sid": {"s"}, "aud": {"elsewhere"}, "expires_in": {"60"}}, "elsewhere", time.Minute},
		"expired":  {url.Values{"sid": {"s"}, "expires_in": {"-60"}}, "platform", -time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.form.Set("user", "alice")
			_, claims := verify(t, p, unmarshal[oauth2.Token](t, post(t, p.URL()+"/dev/token", test.form)).AccessToken)
			got := []any{claims["sid"], claims["aud"], claims["exp"]}
			want := []any{"s", []any{test.aud}, float64(clock.Now().Add(test.expires).Unix())}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func exchange(t *testing.T, p *provider.Provider, subjectToken string, more url.Values) answer {
	t.Helper()
	form := url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"client_id":          {"shopping-agent"},
		"client_secret":      {"shopping-agent-secret"},
		"subject_token":      {subjectToken},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
	}
	maps.Copy(form, more)
	return post(t, discover(t, p).TokenEndpoint, form)
}

func TestTokenExchange(t *testing.T) {
	t.Parallel()
	clock := newClock()
	p := start(t, provider.Options{Now: clock.Now})
	subject, err := p.Token(provider.TokenRequest{
		User: "alice", Scopes: []string{"orders:read", "ledger:write", "orders:write"}, Session: "s", Lifetime: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	clock.Advance(20 * time.Second)
	response := exchange(t, p, subject, url.Values{"scope": {"orders:read payments:read"}})
	if got := response.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	body := unmarshal[struct {
		AccessToken     string `json:"access_token"`
		IssuedTokenType string `json:"issued_token_type"`
		ExpiresIn       int    `json:"expires_in"`
	}](t, response)
	if body.IssuedTokenType != "urn:ietf:params:oauth:token-type:access_token" || body.ExpiresIn != 40 {
		t.Errorf("%+v", body)
	}
	_, claims := verify(t, p, body.AccessToken)
	if claims["sid"] != "s" {
		t.Errorf("sid %v", claims["sid"])
	}
	want := map[string]any{
		"sub": "alice", "client_id": "shopping-agent", "scope": "orders:read", "kind": "human", "tenant": "acme",
		"act": map[string]any{"sub": "shopping-agent"},
	}
	if diff := cmp.Diff(want, facts(claims)); diff != "" {
		t.Error(diff)
	}
}

func TestTokenExchangeNestsActors(t *testing.T) {
	t.Parallel()
	p := start(t, provider.Options{})
	subject, err := p.Token(provider.TokenRequest{User: "alice", Scopes: []string{"orders:read"}, Actors: []string{"assistant", "planner"}})
	if err != nil {
		t.Fatal(err)
	}
	_, claims := verify(t, p, unmarshal[oauth2.Token](t, exchange(t, p, subject, nil)).AccessToken)
	want := map[string]any{"sub": "shopping-agent", "act": map[string]any{"sub": "assistant", "act": map[string]any{"sub": "planner"}}}
	if diff := cmp.Diff(want, claims["act"]); diff != "" {
		t.Error(diff)
	}
}

func TestTokenExchangeRefuses(t *testing.T) {
	t.Parallel()
	// With this audience, only its typ tells an ID token of the client web apart.
	p := start(t, provider.Options{Audience: "web"})
	other := start(t, provider.Options{Audience: "web"})
	alice := provider.TokenRequest{User: "alice", Scopes: []string{"orders:read"}}
	token := func(p *provider.Provider, r provider.TokenRequest) string {
		token, err := p.Token(r)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	expired, elsewhere, powerless := alice, alice, alice
	expired.Lifetime, elsewhere.Audience, powerless.Scopes = -time.Minute, "elsewhere", nil
	for name, test := range map[string]struct {
		token string
		more  url.Values
		want  string
	}{
		"ID token":        {idToken(t, p), nil, "invalid_request"},
		"other issuer":    {token(other, alice), nil, "invalid_request"},
		"expired":         {token(p, expired), nil, "invalid_request"},
		"audience":        {token(p, elsewhere), nil, "invalid_request"},
		"service":         {token(p, provider.TokenRequest{Client: "billing"}), nil, "invalid_request"},
		"nothing left":    {token(p, powerless), nil, "invalid_scope"},
		"wider":           {token(p, alice), url.Values{"scope": {"orders:write"}}, "invalid_scope"},
		"subject type":    {token(p, alice), url.Values{"subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"}}, "invalid_request"},
		"requested type":  {token(p, alice), url.Values{"requested_token_type": {"urn:ietf:params:oauth:token-type:id_token"}}, "invalid_request"},
		"actor token":     {token(p, alice), url.Values{"actor_token": {"x"}}, "invalid_request"},
		"chosen audience": {token(p, alice), url.Values{"audience": {"elsewhere"}}, "invalid_target"},
		"client's grant":  {token(p, alice), url.Values{"client_id": {"billing"}, "client_secret": {"billing-secret"}}, "unauthorized_client"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkRefused(t, exchange(t, p, test.token, test.more), http.StatusBadRequest, test.want)
		})
	}
}

func idToken(t *testing.T, p *provider.Provider) string {
	t.Helper()
	config, verifier := web(t, p, "openid", "orders:read"), oauth2.GenerateVerifier()
	code := login(t, config.AuthCodeURL("", oauth2.S256ChallengeOption(verifier)), "alice").Get("code")
	token, err := config.Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	id, _ := token.Extra("id_token").(string)
	return id
}
