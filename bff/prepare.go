package bff

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/internal/certs"
	"github.com/onbehalf-dev/onbehalf/bff/internal/keys"
	"github.com/onbehalf-dev/onbehalf/bff/internal/mint"
	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// Check reports what would keep [New] from using cfg: mistakes in it, and files
// that it names and that cannot be read. It changes nothing; that the data
// directory or a signing key is yet to be made is in order. As in [LoadConfig],
// the error has a line for each problem.
func Check(cfg *Config, opts ...Option) error {
	o := newOptions(opts)
	c, err := cfg.checked(o)
	if err != nil {
		return err
	}
	_, err = c.prepare(o)
	_, unroutable := c.prepareRoutes(o)
	_, stop, unenriched := c.enrichment(o)
	return errors.Join(err, unroutable, unenriched, stop(), c.checkData())
}

// checked returns a copy with defaults.
func (c *Config) checked(o *options) (*Config, error) {
	own := *c
	own.Routes = slices.Clone(c.Routes)
	own.setDefaults()
	problems := own.problems()
	anonymous := func(r Route) bool { return r.Auth == AuthNone }
	if len(own.Issuers)+len(o.authenticators) == 0 && slices.IndexFunc(own.Routes, func(r Route) bool { return !anonymous(r) }) >= 0 {
		problems = append(problems, problem{"issuers", "missing; describe the provider of your access tokens, or write auth: none in all routes"})
	}
	problems = append(problems, own.Enrich.enricherOption(o.enricher != nil)...)
	problems = append(problems, own.Listen.metricsOption(o)...)
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = p
	}
	return &own, errors.Join(errs...)
}

// parts are what a configuration comes to for as long as the edge runs, without
// being put to use.
type parts struct {
	public, mesh   *certs.Pair
	links          []principal.Key
	peers          *peers            // nil if services show no certificate
	static         *principal.Signer // nil if the edge makes its own keys
	refuseUnlogged bool
}

// routing is where requests go.
type routing struct {
	table    *proxy.Table
	routes   []route
	handlers []*proxy.Handler
}

// route is what happens to a request.
type route struct {
	name    string // in records
	auth    Auth
	observe bool
	spec    mint.Spec
	handler *proxy.Handler
	cors    *crossOrigin // nil if the edge says nothing to browsers
	places  *places      // nil if they are not limited

	idempotent []string // methods
}

// prepare reads the files that c names. Its error has a line for each that
// cannot be used.
func (c *Config) prepare(o *options) (*parts, error) {
	p := &parts{refuseUnlogged: c.Audit.OnFailure == RefuseRequests}
	var public, mesh, err error
	p.public, public = c.TLS.open("tls", o)
	p.mesh, mesh = TLS{Cert: c.MeshTLS.Cert, Key: c.MeshTLS.Key}.open("mesh_tls", o)
	errs := []error{public, mesh}
	if p.peers, err = c.MeshTLS.open(); err != nil {
		errs = append(errs, fmt.Errorf("mesh_tls.%w", err))
	}
	if p.static, err = c.staticKey(); err != nil {
		errs = append(errs, fmt.Errorf("signing_key: %w", err))
	}

	if c.LinkKeys != "" {
		if p.links, err = keys.ReadLinks(c.LinkKeys); err != nil {
			errs = append(errs, fmt.Errorf("link_keys: %w", err))
		}
	}
	return p, errors.Join(errs...)
}

// open returns nil if there is no certificate.
func (t TLS) open(path string, o *options) (*certs.Pair, error) {
	if t.Cert == "" {
		return nil, nil
	}
	pair, err := certs.Load(t.Cert, t.Key, o.log, o.now)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return pair, nil
}

// prepareRoutes reads the files that the routes of c name. Its error has a line
// for each that cannot be used.
func (c *Config) prepareRoutes(o *options) (*routing, error) {
	credentialHeaders := authn.NewList(o.authenticators...).CredentialHeaders() // that of tokens is always removed
	p := new(routing)
	var errs []error
	shared := make(map[destination]*proxy.Handler)
	matches := make([]proxy.Route, len(c.Routes))
	for i := range c.Routes {
		r := &c.Routes[i]
		matches[i] = r.match()
		h := shared[r.destination()]
		if h == nil {
			at := fmt.Sprintf("routes[%d]", i)
			u, err := r.open(at, o)
			if err == nil {
				h, err = proxy.New(u, proxy.Options{
					CredentialHeaders: credentialHeaders, BodyTimeout: c.Limits.BodyTimeout, TakeTimeout: c.Limits.TakeTimeout,
					Answering: o.metrics.Answering(), Logger: o.log, Now: o.now,
				})
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			shared[r.destination()] = h
			p.handlers = append(p.handlers, h)
		}
		own := route{name: r.name(), auth: r.Auth, observe: r.Observe, spec: r.spec(c.TrustDomain), handler: h, idempotent: r.Idempotent}
		var err error
		if own.cors, err = newCrossOrigin(r.CORS); err != nil {
			errs = append(errs, fmt.Errorf("routes[%d].cors.origins: %w", i, err))
		}
		if r.MaxRequests > 0 {
			own.places = newPlaces(r.MaxRequests, 0)
		}
		p.routes = append(p.routes, own)
	}
	table, err := proxy.NewTable(matches)
	p.table = table
	errs = append(errs, err)
	return p, errors.Join(errs...)
}

// destination is all that a route says about its upstream. Routes with the same
// one share its connections.
type destination struct {
	upstream, ca, serverName, cert, key string
	endpoints                           string
	health                              HealthCheck
	webSocket                           bool
	answerWithin                        time.Duration
}

func (r *Route) destination() destination {
	return destination{r.Upstream, r.CA, r.ServerName, r.ClientCert, r.ClientKey, strings.Join(r.Endpoints, " "), r.HealthCheck, r.WebSocket, r.AnswerWithin}
}

func (r *Route) open(at string, o *options) (proxy.Upstream, error) {
	client, err := TLS{Cert: r.ClientCert, Key: r.ClientKey}.open(at+".client_cert", o)
	if err != nil {
		return proxy.Upstream{}, err
	}
	u, err := url.Parse(r.Upstream)
	if err != nil {
		return proxy.Upstream{}, fmt.Errorf("%s.upstream: %w", at, err)
	}
	up := proxy.Upstream{
		URL: u, Endpoints: r.Endpoints, HealthCheck: r.HealthCheck.forProxy(), ServerName: r.ServerName, WebSocket: r.WebSocket, AnswerWithin: r.AnswerWithin,
	}
	if client != nil {
		up.ClientCertificate = client.Client
	}
	if r.CA != "" {
		if up.RootCAs, err = certs.Pool(r.CA); err != nil {
			return up, fmt.Errorf("%s.ca: %w", at, err)
		}
	}
	return up, nil
}

func (r *Route) name() string {
	if r.Service != "" {
		return r.Host + "/" + r.Service
	}
	return r.Host + r.PathPrefix
}

func (r *Route) spec(trustDomain string) mint.Spec {
	s := mint.Spec{Audience: trustDomain, PerRequest: r.Mint == MintRequest}
	if r.Mode == ModeLinked {
		s.Audience, s.Linked, s.MaxLinks = r.Audience, true, defaultMaxLinks
		if r.MaxLinks != nil {
			s.MaxLinks = uint32(*r.MaxLinks)
		}
	}
	return s
}
