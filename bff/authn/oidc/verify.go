package oidc

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc/internal/compact"
)

// verifier applies the configuration of one issuer.
type verifier struct {
	config Issuer // with its defaults
	agents map[actor]Agent
	keys   *keySource
	now    func() time.Time
	log    *slog.Logger
}

func newVerifier(c Issuer, keys *keySource, o options) *verifier {
	c = withDefaults(c)
	v := &verifier{config: c, agents: make(map[actor]Agent, len(c.Agents)), keys: keys, now: o.now, log: o.log}
	for _, a := range c.Agents {
		v.agents[a.actor(c.Issuer)] = a
	}
	return v
}

// withDefaults fills in what c leaves out, and sorts the attributes by name.
func withDefaults(c Issuer) Issuer {
	if c.Typ == "" {
		c.Typ = typAccessToken
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = defaultAlgorithms
	}
	if c.Subject.Claim == "" {
		c.Subject.Claim = "sub"
	}
	if c.Scopes.Claim == "" {
		c.Scopes.Claim = "scope"
	}
	c.Attributes = slices.Clone(c.Attributes)
	slices.SortFunc(c.Attributes, func(a, b Attribute) int { return strings.Compare(a.Name, b.Name) })
	return c
}

// authenticate verifies a token that says it is this issuer's.
func (v *verifier) authenticate(ctx context.Context, u *compact.Unverified) (*authn.Result, error) {
	if !slices.Contains(v.config.Algorithms, u.Algorithm) {
		return nil, refuse(authn.ReasonAlgorithm, "not allowed for this issuer")
	}
	if !v.acceptsType(u.Type) {
		return nil, refuse(authn.ReasonType, "typ is not that of an access token")
	}
	c, t, err := v.verify(ctx, u)
	if err != nil {
		return nil, err
	}
	p, err := v.principal(ctx, c, u.SigningInput)
	if err != nil {
		return nil, err
	}
	return &authn.Result{Principal: p, ExpiresAt: t.expires, Issuer: v.config.Issuer, IssuedAt: t.issued}, nil
}

// verify returns the claims of a token that verifies, is in time and for us.
//
// The token has been parsed, once and strictly, so all that is asked of a library
// is whether the signature is that of the key: one that took the token apart again
// might read it in another way, and takes longer for it than the signature.
func (v *verifier) verify(ctx context.Context, u *compact.Unverified) (claims, times, error) {
	key, err := v.keys.find(ctx, u.KeyID, u.Algorithm)
	if err != nil {
		return claims{}, times{}, err
	}
	if !verifies(u, key) {
		return claims{}, times{}, refuse(authn.ReasonSignature, "does not verify")
	}
	c := claims{object: u.Claims}
	t, err := v.check(c)
	if err != nil {
		return claims{}, times{}, err
	}
	return c, t, nil
}
