package bff

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
	"github.com/onbehalf-dev/onbehalf/bff/internal/mint"
	"github.com/onbehalf-dev/onbehalf/bff/internal/netaddr"
	"github.com/onbehalf-dev/onbehalf/bff/internal/requestid"
)

// issuersWithin is how long New waits for the keys of issuers. One that does not
// answer must not keep the edge from serving the others.
const issuersWithin = 3 * time.Second

// rules are what a configuration comes to that may be replaced while the edge
// runs. A request is let in by one set of them, and goes on by it.
type rules struct {
	*routing

	config   *Config
	services map[string]Service
	issuers  map[string]bool // of credentials, by their names
	ids      *requestid.Source
	proxies  netaddr.Proxies
	minter   *mint.Minter
	tokens   *oidc.Authenticator // nil without issuers
	opened   []io.Closer
	users    inflight // requests that are let in or refused by them
}

// newRules opens what c says. What it opened is closed if it fails.
func (s *Server) newRules(c *Config) (_ *rules, err error) {
	proxies, err := c.proxies()
	if err != nil {
		return nil, err
	}
	r := &rules{
		config: c, services: make(map[string]Service), issuers: make(map[string]bool),
		ids: requestid.NewSource(proxies, s.now), proxies: proxies,
	}
	for _, service := range c.Services {
		r.services[service.Name] = service.sorted()
	}
	for i := range c.Issuers {
		r.issuers[c.Issuers[i].Issuer] = true
	}
	if r.routing, err = c.prepareRoutes(s.options); err != nil {
		return nil, err
	}
	credentials, err := r.authenticator(c, s.options, s.rules.Load())
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	enrichment, stop, err := c.enrichment(s.options)
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	r.opened = append(r.opened, closer(stop))
	r.minter = mint.New(mint.Settings{
		Authenticator: credentials,
		Enrichment:    enrichment,
		Signer:        s.authority,
		Revocations:   s.state,
		Memory:        c.Limits.RevocationMemory,
		Issuer:        c.Issuer,
		Presenter:     c.Presenter,
		Life:          c.Limits.PrincipalLife,
		Window:        c.Limits.MintWindow,
		Entries:       c.Limits.Credentials,
		Metrics:       s.metrics,
		Now:           s.now,
	})
	return r, nil
}

// authenticator takes the keys of issuers from the rules before, if there are any.
func (r *rules) authenticator(c *Config, o *options, before *rules) (*authn.List, error) {
	var all []authn.Authenticator
	if len(c.Issuers) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), issuersWithin)
		defer cancel()
		opts := []oidc.Option{oidc.WithClock(o.now), oidc.WithLogger(o.log), oidc.WithMeterProvider(o.metrics.Provider())}
		if before != nil {
			opts = append(opts, oidc.WithKeysOf(before.tokens))
		}
		tokens, err := oidc.New(ctx, c.Issuers, opts...)
		if err != nil {
			return nil, err
		}
		r.tokens = tokens
		r.opened = append(r.opened, tokens)
		all = append(all, tokens)
	}
	return authn.NewList(append(all, o.authenticators...)...), nil
}

// enforce puts r in force, and has the health of its endpoints checked until r is
// closed.
func (s *Server) enforce(r *rules) {
	for _, h := range r.handlers {
		h.Start()
	}
	s.rules.Store(r)
	s.warnObserved(r)
}

// use returns the rules in force, and what to call when they are not used any
// more.
func (s *Server) use() (*rules, func()) {
	for {
		r := s.rules.Load()
		if r.users.begin() {
			return r, r.users.end
		}
		// They were replaced between the two lines above.
	}
}

func (r *rules) close() error {
	var errs []error
	for _, c := range r.opened {
		errs = append(errs, c.Close())
	}
	for _, h := range r.handlers {
		h.Close()
	}
	return errors.Join(errs...)
}
