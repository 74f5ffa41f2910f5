package bff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
	"github.com/onbehalf-dev/onbehalf/bff/internal/audit"
	"github.com/onbehalf-dev/onbehalf/bff/internal/mint"
	"github.com/onbehalf-dev/onbehalf/bff/internal/requestid"
)

// issuersWithin is how long New waits for the keys of issuers. One that does not
// answer must not keep the edge from serving the others.
const issuersWithin = 3 * time.Second

// Server is an edge. As an [http.Handler] it serves what its public listener
// does. It is safe for concurrent use.
type Server struct {
	*parts
	*trust

	log         *slog.Logger
	now         func() time.Time
	issuer      string
	trustDomain string
	services    map[string]Service
	addresses   Listen
	listeners   Listeners
	limits      Limits

	ids    *requestid.Source
	minter *mint.Minter
	audit  *audit.Log
	opened []io.Closer

	running  inflight
	ready    atomic.Bool
	closeAll func() error
}

var _ http.Handler = (*Server)(nil)

// New returns an edge, which has opened its files and its store and, on its first
// start, made its signing key. It follows the store and rotates its keys until it
// is closed. Its error has a line for each problem; see [Check]. cfg is
// not kept.
//
// New asks for the keys of all issuers and waits for them for up to three
// seconds. It does not fail for one that does not answer: that is logged and
// tried again, and meanwhile only tokens of that issuer are refused, as
// unavailable.
//
// Who does not call [Server.Run] calls [Server.Close] in the end.
func New(cfg *Config, opts ...Option) (*Server, error) {
	o := newOptions(opts)
	c, err := cfg.checked(o)
	if err != nil {
		return nil, err
	}
	proxies, err := c.proxies()
	if err != nil {
		return nil, err
	}
	s := &Server{
		log: o.log, now: o.now, issuer: c.Issuer, trustDomain: c.TrustDomain, services: make(map[string]Service),
		addresses: c.Listen, listeners: o.listeners, limits: c.Limits,
		ids: requestid.NewSource(proxies, o.now),
	}
	for _, service := range c.Services {
		s.services[service.Name] = service.sorted()
	}
	s.closeAll = sync.OnceValue(s.close)
	if err := s.open(c, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) open(c *Config, o *options) (err error) {
	if s.parts, err = c.prepare(o); err != nil {
		return err
	}
	if s.audit, err = audit.Open(c.Audit.File, audit.Options{Logger: o.log, Stdout: os.Stdout}); err != nil {
		return fmt.Errorf("audit.file: %w", err)
	}
	s.opened = append(s.opened, s.audit)
	if err := s.openTrust(c, o); err != nil {
		return err
	}
	credentials, err := s.authenticator(c, o)
	if err != nil {
		return err
	}
	s.minter = mint.New(mint.Settings{
		Authenticator: credentials,
		Signer:        s.authority,
		Revocations:   s.state,
		Memory:        c.Limits.RevocationMemory,
		Issuer:        c.Issuer,
		Presenter:     c.Presenter,
		Life:          c.Limits.PrincipalLife,
		Window:        c.Limits.MintWindow,
		Entries:       c.Limits.Credentials,
		Now:           o.now,
	})
	return nil
}

func (s *Server) authenticator(c *Config, o *options) (*authn.List, error) {
	var all []authn.Authenticator
	if len(c.Issuers) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), issuersWithin)
		defer cancel()
		tokens, err := oidc.New(ctx, c.Issuers, oidc.WithClock(o.now), oidc.WithLogger(o.log))
		if err != nil {
			return nil, err
		}
		s.opened = append(s.opened, tokens)
		all = append(all, tokens)
	}
	return authn.NewList(append(all, o.authenticators...)...), nil
}

// Close ends all background work and closes the files that the edge holds. Run
// does it by itself. Requests must have ended.
func (s *Server) Close() error { return s.closeAll() }

func (s *Server) close() error {
	var errs []error
	for _, c := range slices.Backward(s.opened) {
		errs = append(errs, c.Close())
	}
	if s.trust != nil {
		errs = append(errs, s.trust.close())
	}
	if s.parts != nil {
		for _, h := range s.handlers {
			h.Close()
		}
	}
	return errors.Join(errs...)
}
