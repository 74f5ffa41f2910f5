package provider_test

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"github.com/onbehalf-dev/onbehalf/examples/provider"
)

const callback = "http://127.0.0.1:4321/callback"

func web(t *testing.T, p *provider.Provider, scopes ...string) *oauth2.Config {
	t.Helper()
	d := discover(t, p)
	return &oauth2.Config{
		ClientID:    "web",
		RedirectURL: callback,
		Scopes:      scopes,
		Endpoint:    oauth2.Endpoint{AuthURL: d.AuthorizationEndpoint, TokenURL: d.TokenEndpoint},
	}
}

// login chooses a user on the login page, and answers what the browser brings to
// the callback.
func login(t *testing.T, authURL, user string) url.Values {
	t.Helper()
	page := get(t, authURL)
	if page.StatusCode != http.StatusOK || !strings.Contains(page.body, `value="`+user+`"`) {
		t.Fatalf("%s: %s", page.Status, page.body)
	}
	action := page.Request.URL
	return redirected(t, post(t, action.Scheme+"://"+action.Host+"/login",
		url.Values{"id": {action.Query().Get("id")}, "user": {user}}))
}

func redirected(t *testing.T, a answer) url.Values {
	t.Helper()
	target, err := a.Location()
	if err != nil {
		t.Fatalf("%s: %s", a.Status, a.body)
	}
	query := target.Query()
	if target.RawQuery = ""; target.String() != callback {
		t.Fatalf("redirected to %s", target)
	}
	return query
}

func TestAuthorizationCode(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA} {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			clock := newClock()
			p := start(t, provider.Options{Algorithms: []jose.SignatureAlgorithm{algorithm}, Now: clock.Now})
			config := web(t, p, "openid", "email", "orders:read", "not:allowed")
			verifier := oauth2.GenerateVerifier()
			brought := login(t, config.AuthCodeURL("state-1", oauth2.S256ChallengeOption(verifier),
				oauth2.SetAuthURLParam("nonce", "nonce-1")), "alice")
			if brought.Get("state") != "state-1" {
				t.Errorf("state %q", brought.Get("state"))
			}
			clock.Advance(30 * time.Second)
			token, err := config.Exchange(t.Context(), brought.Get("code"), oauth2.VerifierOption(verifier))
			if err != nil {
				t.Fatal(err)
			}
			session := checkAccessToken(t, p, clock.Now(), token.AccessToken)
			id, _ := token.Extra("id_token").(string)
			checkIDToken(t, p, clock.Now(), id, token.AccessToken, session)
		})
	}
}

func checkAccessToken(t *testing.T, p *provider.Provider, now time.Time, token string) (session any) {
	t.Helper()
	header, claims := verify(t, p, token)
	if typ := header.ExtraHeaders[jose.HeaderType]; typ != "at+jwt" {
		t.Errorf("typ %v", typ)
	}
	session = claims["sid"]
	if jti, _ := claims["jti"].(string); jti == "" {
		t.Error("no jti")
	}
	delete(claims, "jti")
	want := map[string]any{
		"iss": p.URL(), "sub": "alice", "aud": []any{"shop"}, "client_id": "web", "scope": "openid email orders:read",
		"iat": float64(now.Unix()), "exp": float64(now.Add(time.Hour).Unix()), "auth_time": float64(now.Add(-30 * time.Second).Unix()),
		"acr": "aal2", "amr": []any{"otp", "pwd"}, "kind": "human", "tenant": "acme", "roles": []any{"customer"}, "sid": session,
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Error(diff)
	}
	return session
}

func checkIDToken(t *testing.T, p *provider.Provider, now time.Time, token, accessToken string, session any) {
	t.Helper()
	header, claims := verify(t, p, token)
	if typ := header.ExtraHeaders[jose.HeaderType]; typ != "JWT" {
		t.Errorf("typ %v", typ)
	}
	want := map[string]any{
		"iss": p.URL(), "sub": "alice", "aud": []any{"web"}, "azp": "web", "nonce": "nonce-1",
		"iat": float64(now.Unix()), "exp": float64(now.Add(time.Hour).Unix()), "auth_time": float64(now.Add(-30 * time.Second).Unix()),
		"acr": "aal2", "amr": []any{"otp", "pwd"}, "sid": session, "email": "alice@example.com", "email_verified": true,
		"at_hash": accessTokenHash(jose.SignatureAlgorithm(header.Algorithm), accessToken),
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Error(diff)
	}
}

// accessTokenHash is OpenID Connect Core's, 3.1.3.6.
func accessTokenHash(algorithm jose.SignatureAlgorithm, token string) string {
	sum := sha256.Sum256([]byte(token))
	half := sum[:16]
	if algorithm == jose.EdDSA {
		sum := sha512.Sum512([]byte(token))
		half = sum[:32]
	}
	return base64.RawURLEncoding.EncodeToString(half)
}

func TestAuthorizeRefuses(t *testing.T) {
	t.Parallel()
	p := start(t, provider.Options{})
	config := web(t, p, "openid")
	s256 := oauth2.S256ChallengeOption(oauth2.GenerateVerifier())
	for name, test := range map[string]struct {
		options []oauth2.AuthCodeOption
		want    string
	}{
		"no PKCE":       {nil, "invalid_request"},
		"plain PKCE":    {[]oauth2.AuthCodeOption{s256, oauth2.SetAuthURLParam("code_challenge_method", "plain")}, "invalid_request"},
		"form post":     {[]oauth2.AuthCodeOption{s256, oauth2.SetAuthURLParam("response_mode", "form_post")}, "invalid_request"},
		"silent log-in": {[]oauth2.AuthCodeOption{s256, oauth2.SetAuthURLParam("prompt", "none")}, "login_required"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			brought := redirected(t, get(t, config.AuthCodeURL("state-1", test.options...)))
			if brought.Get("error") != test.want || brought.Get("state") != "state-1" {
				t.Errorf("%v", brought)
			}
		})
	}
	for name, option := range map[string]oauth2.AuthCodeOption{
		"redirect URI":   oauth2.SetAuthURLParam("redirect_uri", "https://evil.example/callback"),
		"redirect path":  oauth2.SetAuthURLParam("redirect_uri", "http://127.0.0.1/elsewhere"),
		"client":         oauth2.SetAuthURLParam("client_id", "stranger"),
		"other client":   oauth2.SetAuthURLParam("client_id", "billing"),
		"response type":  oauth2.SetAuthURLParam("response_type", "id_token token"),
		"request object": oauth2.SetAuthURLParam("request", "e30.e30."),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := get(t, config.AuthCodeURL("state-1", s256, option)); r.StatusCode != http.StatusBadRequest {
				t.Errorf("%s at %s: %s", r.Status, r.Request.URL, r.body)
			}
		})
	}
}

func TestLoginRefuses(t *testing.T) {
	t.Parallel()
	clock := newClock()
	p := start(t, provider.Options{Now: clock.Now})
	page := get(t, web(t, p, "openid").AuthCodeURL("", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
	id := page.Request.URL.Query().Get("id")
	for name, form := range map[string]url.Values{
		"user": {"id": {id}, "user": {"mallory"}},
		"id":   {"id": {"stranger"}, "user": {"alice"}},
	} {
		if r := post(t, p.URL()+"/login", form); r.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", name, r.Status)
		}
	}
	clock.Advance(10 * time.Minute)
	if r := get(t, page.Request.URL.String()); r.StatusCode != http.StatusBadRequest {
		t.Errorf("page too late: %s", r.Status)
	}
	if r := post(t, p.URL()+"/login", url.Values{"id": {id}, "user": {"alice"}}); r.StatusCode != http.StatusBadRequest {
		t.Errorf("log-in too late: %s", r.Status)
	}
}

func TestCodeExchangeRefuses(t *testing.T) {
	t.Parallel()
	verifier := oauth2.GenerateVerifier()
	redeem := func(ctx context.Context, config *oauth2.Config, code string) error {
		_, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
		return err
	}
	for name, attempt := range map[string]func(context.Context, *clock, *oauth2.Config, string) error{
		"no verifier": func(ctx context.Context, _ *clock, config *oauth2.Config, code string) error {
			_, err := config.Exchange(ctx, code)
			return err
		},
		"other verifier": func(ctx context.Context, _ *clock, config *oauth2.Config, code string) error {
			_, err := config.Exchange(ctx, code, oauth2.VerifierOption(oauth2.GenerateVerifier()))
			return err
		},
		"other redirect": func(ctx context.Context, _ *clock, config *oauth2.Config, code string) error {
			config.RedirectURL = "http://127.0.0.1:4322/callback"
			return redeem(ctx, config, code)
		},
		"other code": func(ctx context.Context, _ *clock, config *oauth2.Config, code string) error {
			return redeem(ctx, config, code+"x")
		},
		"too late": func(ctx context.Context, clock *clock, config *oauth2.Config, code string) error {
			clock.Advance(time.Minute)
			return redeem(ctx, config, code)
		},
		"twice": func(ctx context.Context, _ *clock, config *oauth2.Config, code string) error {
			if err := redeem(ctx, config, code); err != nil {
				return err
			}
			return redeem(ctx, config, code)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := newClock()
			config := web(t, start(t, provider.Options{Now: clock.Now}), "openid")
			code := login(t, config.AuthCodeURL("", oauth2.S256ChallengeOption(verifier)), "bob").Get("code")
			var refused *oauth2.RetrieveError
			if err := attempt(t.Context(), clock, config, code); !errors.As(err, &refused) || refused.ErrorCode != "invalid_grant" {
				t.Errorf("%v", err)
			}
		})
	}
}
