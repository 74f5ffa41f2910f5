package bff

import (
	"log/slog"
	"net"
	"os"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/enrich"
	"github.com/onbehalf-dev/onbehalf/bff/internal/keys"
	"github.com/onbehalf-dev/onbehalf/bff/internal/metrics"
)

// Option is an optional setting of [New] and [Check].
type Option interface {
	apply(*options)
}

type options struct {
	log            *slog.Logger
	now            func() time.Time
	authenticators []authn.Authenticator
	enricher       enrich.Enricher // or nil
	vault          Vault
	listeners      Listeners
	meters         metric.MeterProvider // or nil
	metrics        *metrics.Metrics     // that New has made of meters; or nil
}

type optionFunc func(*options)

func (f optionFunc) apply(o *options) { f(o) }

func newOptions(opts []Option) *options {
	o := &options{log: slog.New(slog.NewTextHandler(os.Stderr, nil)), now: time.Now}
	for _, opt := range opts {
		opt.apply(o)
	}
	return o
}

// WithLogger sets where the edge tells its operator what happens to it; audit
// records go elsewhere. Credentials and header values never appear in it. The
// default writes text to the standard error.
func WithLogger(log *slog.Logger) Option {
	return optionFunc(func(o *options) { o.log = log })
}

// WithClock sets the clock by which credentials and principals are judged. The
// default is [time.Now].
func WithClock(now func() time.Time) Option {
	return optionFunc(func(o *options) { o.now = now })
}

// WithAuthenticator adds a type of credential to those of Config.Issuers. What
// an authenticator says about the headers that it names is believed for up to
// [Limits.MintWindow]; it is shown no others.
func WithAuthenticator(a authn.Authenticator) Option {
	return optionFunc(func(o *options) { o.authenticators = append(o.authenticators, a) })
}

// WithEnricher adds to principals what e says about their subjects. Config.Enrich
// then says for how long it is waited for and remembered, and what happens when it
// fails; it names no other source. e is only asked for credentials that are good.
func WithEnricher(e enrich.Enricher) Option {
	return optionFunc(func(o *options) { o.enricher = e })
}

// Vault makes and holds the private keys with which an edge signs, such as one
// in an HSM.
type Vault = keys.Vault

// WithVault has the edge keep its signing keys there. The default is files in the
// data directory. Package bff/hsm has one for PKCS#11.
func WithVault(v Vault) Option {
	return optionFunc(func(o *options) { o.vault = v })
}

// Listeners are connections to serve in place of addresses to listen on. A nil
// one is opened by [Server.Run] at the configured address.
type Listeners struct {
	Public, Mesh, Admin net.Listener
	Metrics             net.Listener // nil, without an address too: nothing is counted
}

// WithListeners sets what [Server.Run] serves; it closes them.
func WithListeners(l Listeners) Option {
	return optionFunc(func(o *options) { o.listeners = l })
}
