package oidc

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc/internal/compact"
)

// verifier applies the configuration of one issuer.
type verifier struct {
	config Issuer // with its defaults
	agents map[actor]Agent
	keys   *keySource
	tokens *gooidc.IDTokenVerifier
	now    func() time.Time
	log    *slog.Logger
}

func newVerifier(c Issuer, keys *keySource, o options) *verifier {
	c = withDefaults(c)
	v := &verifier{config: c, agents: make(map[actor]Agent, len(c.Agents)), keys: keys, now: o.now, log: o.log}
	for _, a := range c.Agents {
		v.agents[a.actor(c.Issuer)] = a
	}
	v.tokens = gooidc.NewVerifier(c.Issuer, signatureCheck{}, &gooidc.Config{
		SkipClientIDCheck:    true, // it knows one audience only, see checkAudience
		SupportedSigningAlgs: c.Algorithms,
		Now:                  func() time.Time { return o.now().Add(-skew) },
	})
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
func (v *verifier) authenticate(ctx context.Context, token string, u *compact.Unverified) (*authn.Result, error) {
	if !slices.Contains(v.config.Algorithms, u.Algorithm) {
		return nil, refuse(authn.ReasonAlgorithm, "not allowed for this issuer")
	}
	if !v.acceptsType(u.Type) {
		return nil, refuse(authn.ReasonType, "typ is not that of an access token")
	}
	c, t, err := v.verify(ctx, token, u)
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
// go-oidc checks the signature, the issuer and the end; its errors are texts
// that repeat claims. So the verdict on the signature is left in the attempt,
// and what go-oidc finds in the claims comes after our own checks, which have a
// reason for each.
func (v *verifier) verify(ctx context.Context, token string, u *compact.Unverified) (claims, times, error) {
	key, err := v.keys.find(ctx, u.KeyID, u.Algorithm)
	if err != nil {
		return claims{}, times{}, err
	}
	a := attempt{key: key, algorithm: jose.SignatureAlgorithm(u.Algorithm)}
	_, err = v.tokens.Verify(context.WithValue(ctx, attemptKey{}, &a), token)
	if !a.verified {
		return claims{}, times{}, refuse(authn.ReasonSignature, "does not verify")
	}
	c := claims{object: u.Claims}
	t, refusal := v.check(c)
	if refusal != nil {
		return claims{}, times{}, refusal
	}
	if err != nil {
		return claims{}, times{}, refuse(authn.ReasonClaims, "not those of a JWT")
	}
	return c, t, nil
}

// attempt is one verification: with which key, and how it went.
type attempt struct {
	key       *jose.JSONWebKey
	algorithm jose.SignatureAlgorithm
	verified  bool
}

type attemptKey struct{}

// signatureCheck is the key set that go-oidc asks. It has no keys: the one to be
// used was chosen before go-oidc parsed anything, and is in the attempt.
type signatureCheck struct{}

var _ gooidc.KeySet = signatureCheck{}

// VerifySignature implements the interface for a context with an attempt.
func (signatureCheck) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	a, ok := ctx.Value(attemptKey{}).(*attempt)
	if !ok {
		return nil, errors.New("oidc: no key")
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{a.algorithm})
	if err != nil {
		return nil, err
	}
	payload, err := jws.Verify(a.key)
	a.verified = err == nil
	return payload, err
}
