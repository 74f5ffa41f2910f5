package trust

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// Option changes how a service joins.
type Option interface{ applyJoin(*config) error }

type option func(*config) error

func (f option) applyJoin(c *config) error { return f(c) }

type config struct {
	transport *http.Transport
	tls       *tls.Config
	token     string
	issuer    string
	relayOnly bool
	verifier  []principal.VerifierOption
	logger    *slog.Logger
	now       func() time.Time
	pace      pace
}

// pace is how often things are done. Tests hurry.
type pace struct {
	redialFirst, redialLast time.Duration // between attempts to follow the feed
	enrollFirst, enrollLast time.Duration // between attempts to enrol
	rewatch                 time.Duration // how long one Watch lasts
	report                  time.Duration // when there is nothing new
	spread                  time.Duration // after which services report the same news, and over which
	pull                    time.Duration // between fetches for unknown keys
	confirm                 time.Duration // how long an online check takes at most
	quarantine              time.Duration // how long a key that may be enrolled is waited for
}

var defaultPace = pace{
	redialFirst: 50 * time.Millisecond,
	redialLast:  5 * time.Second,
	enrollFirst: 100 * time.Millisecond,
	enrollLast:  30 * time.Second,
	rewatch:     time.Hour,
	report:      30 * time.Second,
	spread:      250 * time.Millisecond,
	pull:        10 * time.Second,
	confirm:     200 * time.Millisecond,
	quarantine:  5 * time.Second,
}

func newConfig(opts []Option) (*config, error) {
	c := &config{logger: slog.Default(), now: time.Now, pace: defaultPace} // a feed that is away must not be silent
	for _, opt := range opts {
		if err := opt.applyJoin(c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// WithTLSConfig is for certificate authorities of your own, and for the client
// certificate that shows the edge which service this is. TLS 1.2 is the oldest
// version that is spoken, whatever the configuration says.
func WithTLSConfig(conf *tls.Config) Option {
	return option(func(c *config) error {
		if conf == nil {
			return errors.New("trust: the TLS configuration is nil")
		}
		c.tls = conf.Clone()
		return nil
	})
}

// WithHTTPClient takes the settings of a client's transport, such as its dialer
// and its TLS configuration. It has to be an [*http.Transport]; of the client
// nothing else is used. Connections are still the node's own, over HTTP/2 only,
// and redirects are not followed.
func WithHTTPClient(client *http.Client) Option {
	return option(func(c *config) error {
		if client == nil {
			return errors.New("trust: the HTTP client is nil")
		}
		transport, ok := client.Transport.(*http.Transport)
		switch {
		case client.Transport == nil:
			return nil
		case !ok:
			return errors.New("trust: the transport of the HTTP client is not an *http.Transport")
		case transport.DialTLSContext != nil || transport.DialTLS != nil: //nolint:staticcheck // whoever still uses it must not lose it silently
			return errors.New("trust: the transport of the HTTP client makes its TLS connections itself: use TLSClientConfig")
		}
		c.transport = transport
		return nil
	})
}

// WithEnrollmentToken shows the edge which service this is, where no client
// certificate does: a token that an operator made with "onbehalf services
// enroll". It is good once and is forgotten when it has been used. Keys that
// follow are enrolled on the strength of the one before.
func WithEnrollmentToken(token string) Option {
	return option(func(c *config) error {
		if token == "" {
			return errors.New("trust: the enrolment token is empty")
		}
		c.token = token
		return nil
	})
}

// WithIssuer pins the issuer whose feed this must be, by the name in its
// principals. Without it, whoever answers first decides; either way, the feed of
// another one is refused for the life of the node.
func WithIssuer(name string) Option {
	return option(func(c *config) error {
		if name == "" {
			return errors.New("trust: the name of the issuer is empty")
		}
		c.issuer = name
		return nil
	})
}

// WithVerifierOptions configures the node's verifier: its binding, whether it
// accepts relays, how stale it may be. Where revocations come from is the node's
// to say.
func WithVerifierOptions(opts ...principal.VerifierOption) Option {
	return option(func(c *config) error {
		c.verifier = append(c.verifier, opts...)
		return nil
	})
}

// WithLogger gets a line when the feed is lost and when it is back, for keys that
// cannot be used, and for what happens to the service's own key. The default is
// [slog.Default]. No line holds a token, a header or a private key.
func WithLogger(logger *slog.Logger) Option {
	return option(func(c *config) error {
		if logger == nil {
			return errors.New("trust: no logger")
		}
		c.logger = logger
		return nil
	})
}

// WithoutLinkKey is for services that only relay, or that call no other service:
// they have no link key, and nothing to enrol.
func WithoutLinkKey() Option {
	return option(func(c *config) error {
		c.relayOnly = true
		return nil
	})
}

// WithClock replaces the clock of the node, its verifier and its propagator;
// tests need no other. Its times should have a monotonic reading, as time.Now's
// do: how old knowledge is must not depend on somebody setting the clock.
func WithClock(now func() time.Time) Option {
	return option(func(c *config) error {
		if now == nil {
			return errors.New("trust: the clock is nil")
		}
		c.now = now
		return nil
	})
}
