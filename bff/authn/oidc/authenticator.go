package oidc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc/internal/compact"
)

const (
	authorization = "Authorization"
	scheme        = "Bearer"
)

// Authenticator verifies the access tokens of several issuers. It is safe for
// concurrent use and keeps a goroutine for each issuer until [Authenticator.Close].
type Authenticator struct {
	verifiers  map[string]*verifier
	algorithms []string       // of all issuers
	clients    []*http.Client // one for each issuer
	stop       context.CancelFunc
	running    sync.WaitGroup
	metrics    *measured
}

var _ authn.Authenticator = (*Authenticator)(nil)

// New returns an authenticator for the tokens of issuers, of which there is at
// least one and which are not modified afterwards. Its error is that of
// [Validate].
//
// New waits until each issuer's keys have been asked for once, all at the same
// time, or ctx ends. It does not fail for an issuer that does not answer, or
// answers for another issuer: that is logged and tried again in the background,
// and until then tokens of that issuer alone are refused as unavailable.
func New(ctx context.Context, issuers []Issuer, opts ...Option) (*Authenticator, error) {
	if len(issuers) == 0 {
		return nil, errors.New("oidc: issuers: missing; name at least one")
	}
	if err := Validate(issuers); err != nil {
		return nil, fmt.Errorf("oidc: %w", err)
	}
	o := options{now: time.Now, log: slog.New(slog.DiscardHandler)}
	for _, opt := range opts {
		opt.apply(&o)
	}
	sources := make([]*keySource, len(issuers))
	for i := range issuers {
		sources[i] = newKeySource(&issuers[i], o)
		o.keysOf.lend(&issuers[i], sources[i])
	}
	metrics, err := measure(o.meters, sources)
	if err != nil {
		return nil, err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	a := &Authenticator{verifiers: make(map[string]*verifier, len(issuers)), stop: stop, metrics: metrics}
	asked := make([]<-chan struct{}, len(issuers))
	for i, keys := range sources {
		keys.metrics = metrics
		a.clients = append(a.clients, keys.fetcher.client)
		v := newVerifier(issuers[i], keys, o)
		a.verifiers[v.config.Issuer] = v
		a.algorithms = append(a.algorithms, v.config.Algorithms...)
		asked[i] = keys.pending
		a.running.Go(func() { keys.run(background) })
	}
	for _, done := range asked {
		select {
		case <-done:
		case <-ctx.Done():
			return a, nil // it bounds the wait, not the work
		}
	}
	return a, nil
}

// lend gives to what a has of the issuer's keys, see [WithKeysOf].
func (a *Authenticator) lend(c *Issuer, to *keySource) {
	if a == nil {
		return
	}
	v, ok := a.verifiers[c.Issuer]
	if ok && v.config.JWKSURI == c.JWKSURI && v.config.PrivateNetwork == c.PrivateNetwork {
		to.fetched.Store(v.keys.fetched.Load())
	}
}

// Close ends all background work and waits for it. Tokens are then verified
// with the keys that are there, for up to 24 hours.
func (a *Authenticator) Close() error {
	a.stop()
	a.running.Wait()
	for _, c := range a.clients {
		c.CloseIdleConnections()
	}
	return a.metrics.close()
}

// CredentialHeaders implements [authn.Authenticator].
func (a *Authenticator) CredentialHeaders() []string { return []string{authorization} }

// Authenticate implements [authn.Authenticator]. A Bearer credential is always
// ours, also if it is no JWT: taken for no credential, a broken one would pass
// as anonymous.
func (a *Authenticator) Authenticate(ctx context.Context, h http.Header) (*authn.Result, error) {
	token, err := bearer(h.Values(authorization))
	if err != nil {
		return nil, err
	}
	u, err := compact.Parse(token, a.algorithms)
	if err != nil {
		return nil, err
	}
	v, ok := a.verifiers[u.Issuer] // the token's word for whose keys and rules it is to be measured by
	if !ok {
		return nil, refuse(authn.ReasonIssuer, "not configured")
	}
	result, err := v.authenticate(ctx, u)
	if refused, ok := errors.AsType[*authn.Error](err); ok {
		own := *refused
		own.Issuer = v.config.Issuer
		return nil, &own
	}
	return result, err
}

// bearer returns the token of the one credential (RFC 6750, section 2.1).
func bearer(values []string) (string, error) {
	switch {
	case !slices.ContainsFunc(values, isBearer):
		return "", authn.ErrNoCredential
	case len(values) > 1:
		return "", refuse(authn.ReasonAmbiguous, "more than one Authorization header")
	default:
		return strings.TrimLeft(values[0][len(scheme):], " "), nil
	}
}

// isBearer also holds for what follows the scheme with something other than a
// space, which is a broken Bearer credential rather than none.
func isBearer(value string) bool {
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return false
	}
	longer := len(value) > len(scheme) && isTokenChar(value[len(scheme)])
	return !longer
}

// isTokenChar reports whether c may be part of a scheme's name (RFC 9110,
// section 5.6.2).
func isTokenChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
