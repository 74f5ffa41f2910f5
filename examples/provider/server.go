package provider

import (
	"context"
	"crypto/subtle"
	"net/http"
	"slices"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// endpoints without a value are not served.
var endpoints = op.Endpoints{
	Authorization: op.NewEndpoint("/authorize"),
	Token:         op.NewEndpoint("/oauth/token"),
	JwksURI:       op.NewEndpoint("/keys"),
}

// server implements [op.Server]: op parses and validates, and leaves it to us to
// sign, because the tokens of its own implementation all have the typ "JWT".
type server struct {
	op.UnimplementedServer
	*Provider
}

func (s *server) Discovery(context.Context, *op.Request[struct{}]) (*op.Response, error) {
	algorithms := make([]string, 0, len(s.keys))
	for _, a := range s.algorithms() {
		algorithms = append(algorithms, string(a))
	}
	return op.NewResponse(&oidc.DiscoveryConfiguration{
		Issuer:                            s.issuer,
		AuthorizationEndpoint:             endpoints.Authorization.Absolute(s.issuer),
		TokenEndpoint:                     endpoints.Token.Absolute(s.issuer),
		JwksURI:                           endpoints.JwksURI.Absolute(s.issuer),
		ScopesSupported:                   append([]string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeEmail}, s.clients["web"].scopes...),
		ResponseTypesSupported:            []string{string(oidc.ResponseTypeCode)},
		ResponseModesSupported:            []string{string(oidc.ResponseModeQuery)},
		GrantTypesSupported:               []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeClientCredentials, oidc.GrantTypeTokenExchange},
		SubjectTypesSupported:             []string{"public"},
		IDTokenSigningAlgValuesSupported:  algorithms,
		TokenEndpointAuthMethodsSupported: []oidc.AuthMethod{oidc.AuthMethodNone, oidc.AuthMethodBasic, oidc.AuthMethodPost},
		CodeChallengeMethodsSupported:     []oidc.CodeChallengeMethod{oidc.CodeChallengeMethodS256},
	}), nil
}

func (s *server) Keys(context.Context, *op.Request[struct{}]) (*op.Response, error) {
	return op.NewResponse(s.publicKeys()), nil
}

func (s *server) VerifyAuthRequest(_ context.Context, r *op.Request[oidc.AuthRequest]) (*op.ClientRequest[oidc.AuthRequest], error) {
	if r.Data.RequestParam != "" {
		return nil, oidc.ErrRequestNotSupported()
	}
	c, ok := s.clients[r.Data.ClientID]
	if !ok || !slices.Contains(c.grants, oidc.GrantTypeCode) {
		return nil, oidc.ErrInvalidRequest().WithDescription("no such client")
	}
	return &op.ClientRequest[oidc.AuthRequest]{Request: r, Client: c}, nil
}

// Authorize is called once op has found the redirect URI to be the client's, so
// that errors may go there.
func (s *server) Authorize(ctx context.Context, r *op.ClientRequest[oidc.AuthRequest]) (*op.Redirect, error) {
	if err := checkAuthRequest(r.Data); err != nil {
		return op.TryErrorRedirect(ctx, r.Data, err, oidc.NewEncoder(), s.logger)
	}
	return op.NewRedirect(r.Client.LoginURL(s.logins.add(login{request: r.Data}))), nil
}

func checkAuthRequest(r *oidc.AuthRequest) error {
	switch {
	case r.CodeChallenge == "" || r.CodeChallengeMethod != oidc.CodeChallengeMethodS256:
		return oidc.ErrInvalidRequest().WithDescription("PKCE with S256 is required")
	case r.ResponseMode != "" && r.ResponseMode != oidc.ResponseModeQuery:
		return oidc.ErrInvalidRequest().WithDescription("only response_mode query is supported")
	case slices.Contains(r.Prompt, oidc.PromptNone):
		return oidc.ErrLoginRequired()
	}
	return nil
}

func (s *server) VerifyClient(_ context.Context, r *op.Request[op.ClientCredentials]) (op.Client, error) {
	c, ok := s.clients[r.Data.ClientID]
	if !ok || subtle.ConstantTimeCompare([]byte(c.secret), []byte(r.Data.ClientSecret)) != 1 {
		return nil, op.NewStatusError(oidc.ErrInvalidClient(), http.StatusUnauthorized)
	}
	return c, nil
}

// CodeExchange spends the code whatever the outcome. Unlike op's own server it
// also asks that the client be the one the code was given to (RFC 6749, 4.1.3).
func (s *server) CodeExchange(_ context.Context, r *op.ClientRequest[oidc.AccessTokenRequest]) (*op.Response, error) {
	one, ok := s.codes.take(r.Data.Code)
	if !ok || one.request.ClientID != r.Client.GetID() || one.request.RedirectURI != r.Data.RedirectURI {
		return nil, oidc.ErrInvalidGrant()
	}
	challenge := &oidc.CodeChallenge{Challenge: one.request.CodeChallenge, Method: one.request.CodeChallengeMethod}
	if !oidc.VerifyCodeChallenge(challenge, r.Data.CodeVerifier) {
		return nil, oidc.ErrInvalidGrant()
	}
	token, err := s.Token(TokenRequest{
		User: one.user, Client: one.request.ClientID, Scopes: one.request.Scopes, Session: one.session, AuthTime: one.authTime,
	})
	if err != nil {
		return nil, err
	}
	response := &oidc.AccessTokenResponse{
		AccessToken: token,
		TokenType:   oidc.BearerToken,
		ExpiresIn:   uint64(lifetime.Seconds()),
		Scope:       one.request.Scopes,
	}
	if slices.Contains(one.request.Scopes, oidc.ScopeOpenID) {
		response.IDToken, err = s.idToken(one, token)
	}
	return tokenResponse(response), err
}

func (s *server) idToken(one login, accessToken string) (string, error) {
	k, u, now := s.keys[0], users[one.user], s.now()
	hash, err := oidc.ClaimHash(accessToken, k.algorithm)
	if err != nil {
		return "", err
	}
	claims := &oidc.IDTokenClaims{
		TokenClaims: oidc.TokenClaims{
			Issuer:                              s.issuer,
			Subject:                             one.user,
			Audience:                            oidc.Audience{one.request.ClientID},
			Expiration:                          oidc.FromTime(now.Add(lifetime)),
			IssuedAt:                            oidc.FromTime(now),
			AuthTime:                            oidc.FromTime(one.authTime),
			Nonce:                               one.request.Nonce,
			AuthenticationContextClassReference: u.acr,
			AuthenticationMethodsReferences:     u.amr,
			AuthorizedParty:                     one.request.ClientID,
		},
		AccessTokenHash: hash,
		SessionID:       one.session,
	}
	if slices.Contains(one.request.Scopes, oidc.ScopeProfile) {
		claims.Name = u.name
	}
	if slices.Contains(one.request.Scopes, oidc.ScopeEmail) {
		claims.Email, claims.EmailVerified = u.email, true
	}
	return k.sign(idTokenType, claims)
}

func (s *server) ClientCredentialsExchange(_ context.Context, r *op.ClientRequest[oidc.ClientCredentialsRequest]) (*op.Response, error) {
	c := s.clients[r.Client.GetID()]
	scopes := c.allowed(r.Data.Scope)
	if len(scopes) == 0 {
		return nil, oidc.ErrInvalidScope()
	}
	token, err := s.Token(TokenRequest{Client: c.id, Scopes: scopes})
	if err != nil {
		return nil, err
	}
	return tokenResponse(&oidc.AccessTokenResponse{
		AccessToken: token,
		TokenType:   oidc.BearerToken,
		ExpiresIn:   uint64(lifetime.Seconds()),
		Scope:       scopes,
	}), nil
}

// tokenResponse is not to be stored by anyone on its way (RFC 6749, 5.1).
func tokenResponse(data any) *op.Response {
	r := op.NewResponse(data)
	r.Header.Set("Cache-Control", "no-store")
	return r
}
