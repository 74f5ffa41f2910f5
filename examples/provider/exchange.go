package provider

import (
	"context"
	"slices"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// TokenExchange (RFC 8693) turns a user's access token into one with which the
// client acts for the user: scopes are those of the token that the client may
// have too, and it ends when the token does. The user is not asked for consent.
func (s *server) TokenExchange(_ context.Context, r *op.ClientRequest[oidc.TokenExchangeRequest]) (*op.Response, error) {
	if err := checkExchange(r.Data); err != nil {
		return nil, err
	}
	subject, err := s.verify(r.Data.SubjectToken)
	if err != nil {
		return nil, oidc.ErrInvalidRequest().WithDescription("subject_token is invalid").WithParent(err)
	}
	if _, ok := users[subject.Subject]; !ok {
		return nil, oidc.ErrInvalidRequest().WithDescription("subject_token is not a user's")
	}
	life := min(lifetime, subject.GetExpiration().Sub(s.now()))
	c := s.clients[r.Client.GetID()]
	scopes := intersect(c.allowed(r.Data.Scopes), subject.Scopes)
	if len(scopes) == 0 {
		return nil, oidc.ErrInvalidScope()
	}
	session, _ := subject.Claims["sid"].(string)
	token, err := s.Token(TokenRequest{
		User: subject.Subject, Client: c.id, Scopes: scopes, Actors: append([]string{c.id}, actors(subject.Actor)...),
		Session: session, AuthTime: subject.GetAuthTime(), Lifetime: life,
	})
	if err != nil {
		return nil, err
	}
	return tokenResponse(&oidc.TokenExchangeResponse{
		AccessToken:     token,
		IssuedTokenType: oidc.AccessTokenType,
		TokenType:       oidc.BearerToken,
		ExpiresIn:       uint64(life.Seconds()),
		Scopes:          scopes,
	}), nil
}

func checkExchange(r *oidc.TokenExchangeRequest) error {
	switch {
	case r.SubjectTokenType != oidc.AccessTokenType:
		return oidc.ErrInvalidRequest().WithDescription("subject_token is to be an access token")
	case r.ActorToken != "":
		return oidc.ErrInvalidRequest().WithDescription("the actor is the client, without an actor_token")
	case r.RequestedTokenType != "" && r.RequestedTokenType != oidc.AccessTokenType:
		return oidc.ErrInvalidRequest().WithDescription("only access tokens are issued")
	case len(r.Audience)+len(r.Resource) > 0:
		return oidc.ErrInvalidTarget().WithDescription("neither audience nor resource can be chosen")
	}
	return nil
}

// actors are the names in an act claim, outermost first.
func actors(act *oidc.ActorClaims) []string {
	var names []string
	for ; act != nil; act = act.Actor {
		names = append(names, act.Subject)
	}
	return slices.Clip(names)
}
