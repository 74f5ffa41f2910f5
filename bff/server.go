package bff

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/audit"
	"github.com/onbehalf-dev/onbehalf/bff/internal/failures"
)

// Server is an edge. As an [http.Handler] it serves what its public listener
// does. It is safe for concurrent use.
type Server struct {
	*parts
	*trust
	measuring

	log         *slog.Logger
	now         func() time.Time
	options     *options
	issuer      string
	trustDomain string
	addresses   Listen
	listeners   Listeners

	rules    atomic.Pointer[rules]
	reload   sync.Mutex     // held while rules are changed
	retiring sync.WaitGroup // rules that were replaced and are still used
	closed   bool           // under reload
	audit    *audit.Log

	places   *places
	clients  *clients          // what each has of places
	failures *failures.Counter // of credentials

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
	s := &Server{
		log: o.log, now: o.now, options: o, issuer: c.Issuer, trustDomain: c.TrustDomain,
		addresses: c.Listen, listeners: o.listeners,
		places:   newPlaces(c.Limits.Requests, c.Limits.Requests/reserve),
		clients:  newClients(c.Limits.ClientRequests),
		failures: failures.NewCounter(c.Limits.FailedCredentials, o.now),
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
	if s.audit, err = audit.Open(c.Audit.File, audit.Options{Logger: o.log, Refusals: c.Audit.Refusals, Stdout: os.Stdout}); err != nil {
		return fmt.Errorf("audit.file: %w", err)
	}
	if err := s.openMetrics(c, o); err != nil {
		return err
	}
	if err := s.openTrust(c, o); err != nil {
		return err
	}
	first, err := s.newRules(c)
	if err != nil {
		return err
	}
	s.enforce(first)
	return s.watchMetrics()
}

// Close ends all background work and closes the files that the edge holds. Run
// does it by itself. Requests must have ended.
func (s *Server) Close() error { return s.closeAll() }

func (s *Server) close() error {
	s.reload.Lock() // rules that are being made must not be put in force after this
	defer s.reload.Unlock()
	s.closed = true
	var errs []error
	if r := s.rules.Load(); r != nil {
		errs = append(errs, r.close())
	}
	s.retiring.Wait()
	errs = append(errs, s.measuring.close())
	if s.trust != nil {
		errs = append(errs, s.trust.close())
	}
	if s.audit != nil {
		errs = append(errs, s.audit.Close())
	}
	return errors.Join(errs...)
}
