package oidc

import (
	"log/slog"
	"net"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/metric"
)

// Option is an optional setting of [New].
type Option interface {
	apply(o *options)
}

type options struct {
	now    func() time.Time
	log    *slog.Logger
	client *http.Client
	meters metric.MeterProvider

	keysOf   *Authenticator // or nil
	resolver *net.Resolver  // nil: the system's
}

type optionFunc func(*options)

func (f optionFunc) apply(o *options) { f(o) }

// WithClock sets the clock by which tokens are judged and fetches are limited;
// background fetches are timed by the system's. The default is [time.Now]. It
// is called from several goroutines.
func WithClock(now func() time.Time) Option {
	return optionFunc(func(o *options) { o.now = now })
}

// WithLogger sets where trouble with issuers is told; tokens and their claims
// never are. The default discards it.
func WithLogger(log *slog.Logger) Option {
	return optionFunc(func(o *options) { o.log = log })
}

// WithHTTPClient sets whose transport and timeout are used for discovery and
// keys, e.g. one that trusts a private CA. Its cookies are not used, and
// redirects are never followed. Of an [http.Transport] a copy is used that dials
// by itself, to addresses that the issuer may have, and uses no proxy. Another
// [http.RoundTripper] has to look itself where it connects to: whoever chooses
// what a name resolves to could have it read the metadata service of a cloud. The
// default is a transport of its own and 5 seconds; that is also the timeout of a
// client that has none.
func WithHTTPClient(client *http.Client) Option {
	return optionFunc(func(o *options) { o.client = client })
}

// WithKeysOf has an issuer's keys taken from another authenticator, which may be
// closed or nil, until they have been fetched: of an issuer that does not answer,
// they are as good, and for as long, as they were there. They are not taken for an
// issuer that is to be asked at another place. The default is none.
func WithKeysOf(other *Authenticator) Option {
	return optionFunc(func(o *options) { o.keysOf = other })
}

// WithMeterProvider sets what counts the fetches of keys (onbehalf.jwks.fetches)
// and tells their age in seconds (onbehalf.jwks.age), both by issuer. The default
// is nothing.
func WithMeterProvider(p metric.MeterProvider) Option {
	return optionFunc(func(o *options) { o.meters = p })
}
