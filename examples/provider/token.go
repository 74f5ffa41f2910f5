package provider

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
	httphelper "github.com/zitadel/oidc/v3/pkg/http"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const lifetime = time.Hour

// TokenRequest says which access token [Provider.Token] is to make.
type TokenRequest struct {
	// User is "alice" or "bob". Empty means that the client acts for itself.
	User string
	// Client is "web", "billing" or "shopping-agent"; empty means "web".
	Client string
	// Scopes are taken as they are, also those the client could not get otherwise.
	Scopes []string
	// Actors become the act claim (RFC 8693), the one who acts now first. Any
	// name is accepted.
	Actors []string
	// Audience defaults to the provider's.
	Audience string
	// Session is the sid. A user's token without one gets a new one.
	Session string
	// Algorithm chooses the key; empty means the provider's first.
	Algorithm jose.SignatureAlgorithm
	// Lifetime is an hour if zero; a negative one makes an expired token.
	Lifetime time.Duration
	// AuthTime is when the user logged in; zero means now.
	AuthTime time.Time
}

// Token makes an access token without asking anyone for a password. It fails
// for users, clients and algorithms that the provider does not have.
func (p *Provider) Token(r TokenRequest) (string, error) {
	claims, err := p.claims(r)
	if err != nil {
		return "", err
	}
	k, ok := p.signingKey(r.Algorithm)
	if !ok {
		return "", fmt.Errorf("provider: no key for algorithm %q", r.Algorithm)
	}
	token, err := k.sign(accessTokenType, claims)
	if err != nil {
		return "", fmt.Errorf("provider: %w", err)
	}
	return token, nil
}

// claims are those of RFC 9068, and kind, tenant, roles and sid.
func (p *Provider) claims(r TokenRequest) (*oidc.AccessTokenClaims, error) {
	now := p.now()
	c, ok := p.clients[cmp.Or(r.Client, "web")]
	if !ok {
		return nil, fmt.Errorf("provider: unknown client %q", r.Client)
	}
	claims := &oidc.AccessTokenClaims{
		TokenClaims: oidc.TokenClaims{
			Issuer:     p.issuer,
			Subject:    cmp.Or(r.User, c.id),
			Audience:   oidc.Audience{cmp.Or(r.Audience, p.audience)},
			Expiration: oidc.FromTime(now.Add(cmp.Or(r.Lifetime, lifetime))),
			IssuedAt:   oidc.FromTime(now),
			JWTID:      uuid.NewString(),
			ClientID:   c.id,
			Actor:      actor(r.Actors),
		},
		Scopes: r.Scopes,
		Claims: make(map[string]any),
	}
	if r.User == "" {
		return claims, claimClient(claims, c, r)
	}
	return claims, p.claimUser(claims, r)
}

func claimClient(claims *oidc.AccessTokenClaims, c client, r TokenRequest) error {
	if c.kind == "" {
		return fmt.Errorf("provider: client %q does not act for itself", c.id)
	}
	claims.Claims["kind"] = c.kind
	claims.Claims["tenant"] = c.tenant
	if r.Session != "" {
		claims.Claims["sid"] = r.Session
	}
	return nil
}

func (p *Provider) claimUser(claims *oidc.AccessTokenClaims, r TokenRequest) error {
	u, ok := users[r.User]
	if !ok {
		return fmt.Errorf("provider: unknown user %q", r.User)
	}
	claims.AuthTime = oidc.FromTime(r.AuthTime)
	if r.AuthTime.IsZero() {
		claims.AuthTime = claims.IssuedAt
	}
	claims.AuthenticationContextClassReference = u.acr
	claims.AuthenticationMethodsReferences = u.amr
	claims.Claims["kind"] = kindHuman
	claims.Claims["tenant"] = u.tenant
	claims.Claims["roles"] = u.roles
	claims.Claims["sid"] = cmp.Or(r.Session, uuid.NewString())
	return nil
}

func actor(names []string) *oidc.ActorClaims {
	var act *oidc.ActorClaims
	for _, name := range slices.Backward(names) {
		act = &oidc.ActorClaims{Subject: name, Actor: act}
	}
	return act
}

// devToken is Token over HTTP, for scripts. Its form fields are user, client,
// scope (separated by spaces), act (repeated, the one who acts now first), aud,
// sid, alg and expires_in (seconds, may be negative). It answers as the token
// endpoint does:
//
//	curl -d user=alice -d scope='orders:read orders:write' -d act=shopping-agent $URL/dev/token
func (p *Provider) devToken(w http.ResponseWriter, r *http.Request) {
	request, err := parseTokenRequest(r)
	if err != nil {
		op.WriteError(w, r, oidc.ErrInvalidRequest().WithDescription("%v", err), p.logger)
		return
	}
	token, err := p.Token(request)
	if err != nil {
		op.WriteError(w, r, oidc.ErrInvalidRequest().WithDescription("%v", err), p.logger)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	httphelper.MarshalJSON(w, oidc.AccessTokenResponse{
		AccessToken: token,
		TokenType:   oidc.BearerToken,
		ExpiresIn:   uint64(max(0, cmp.Or(request.Lifetime, lifetime).Seconds())),
		Scope:       request.Scopes,
	})
}

func parseTokenRequest(r *http.Request) (TokenRequest, error) {
	if err := r.ParseForm(); err != nil {
		return TokenRequest{}, err
	}
	seconds, err := strconv.ParseInt(cmp.Or(r.PostForm.Get("expires_in"), "0"), 10, 32)
	if err != nil {
		return TokenRequest{}, fmt.Errorf("expires_in: %w", err)
	}
	return TokenRequest{
		User:      r.PostForm.Get("user"),
		Client:    r.PostForm.Get("client"),
		Scopes:    strings.Fields(r.PostForm.Get("scope")),
		Actors:    r.PostForm["act"],
		Audience:  r.PostForm.Get("aud"),
		Session:   r.PostForm.Get("sid"),
		Algorithm: jose.SignatureAlgorithm(r.PostForm.Get("alg")),
		Lifetime:  time.Duration(seconds) * time.Second,
	}, nil
}

// verify checks an access token of this provider, for its own audience. The typ
// keeps ID tokens out.
func (p *Provider) verify(token string) (*oidc.AccessTokenClaims, error) {
	parsed, err := jwt.ParseSigned(token, p.algorithms())
	if err != nil {
		return nil, err
	}
	if typ := parsed.Headers[0].ExtraHeaders[jose.HeaderType]; typ != accessTokenType {
		return nil, fmt.Errorf("typ is %v", typ)
	}
	var registered jwt.Claims
	var claims oidc.AccessTokenClaims
	if err := parsed.Claims(p.publicKeys(), &registered, &claims); err != nil {
		return nil, err
	}
	expected := jwt.Expected{Issuer: p.issuer, AnyAudience: jwt.Audience{p.audience}, Time: p.now()}
	if err := registered.ValidateWithLeeway(expected, 0); err != nil {
		return nil, err
	}
	if !p.now().Before(claims.GetExpiration()) {
		return nil, jwt.ErrExpired
	}
	return &claims, nil
}
