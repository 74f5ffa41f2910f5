// Package provider is an OpenID provider for demonstrations and tests: a real
// issuer on the loopback interface whose users log in by choosing who they are.
//
// [Start] serves discovery, a JWK set, the authorization code grant with PKCE
// for the public client "web", client credentials for the service "billing" and
// the agent "shopping-agent", and token exchange, with which the agent turns a
// user's access token into one of its own. Access tokens are RFC 9068 JWTs
// (typ at+jwt). [Provider.Token], over HTTP "POST /dev/token", gives any
// of them at once, without a login.
//
// The protocol is github.com/zitadel/oidc's; users, clients and keys live in
// memory and end with the process. Nothing here protects a user: whoever reaches
// the port is whoever they like, and a client's secret is its name and
// "-secret". It serves loopback addresses only, and only requests that name one,
// so that neither the network nor a web page (DNS rebinding) can ask it.
package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Options are the settings of [Start]. The zero value is usable.
type Options struct {
	// Listen is a loopback address; empty means "127.0.0.1:0".
	Listen string
	// Issuer is the URL that tokens and discovery name, without a path. Empty
	// means the address listened on.
	Issuer string
	// Audience is the aud of access tokens that ask for no other; empty means
	// "shop".
	Audience string
	// Algorithms has a key for each. The first signs what asks for no other.
	// Empty means RS256, ES256 and EdDSA.
	Algorithms []jose.SignatureAlgorithm
	// RedirectURIs are those of the client "web"; empty means
	// "http://127.0.0.1/callback". Of a loopback URI any port is accepted
	// (RFC 8252).
	RedirectURIs []string
	// Logger gets what the provider refuses; nil discards it.
	Logger *slog.Logger
	// Now is the clock; nil means [time.Now].
	Now func() time.Time
}

// Provider is a running OpenID provider. It is safe for concurrent use.
type Provider struct {
	issuer   string
	audience string
	keys     []key
	clients  map[string]client
	logins   *logins // under way, by request id
	codes    *logins // done, by code
	logger   *slog.Logger
	now      func() time.Time

	http    *http.Server
	served  chan error
	release func() bool
	close   func() error
}

// Start listens and serves until ctx ends or [Provider.Close] is called.
func Start(ctx context.Context, o Options) (*Provider, error) {
	listen := cmp.Or(o.Listen, "127.0.0.1:0")
	if !isLoopback(listen) {
		return nil, fmt.Errorf("provider: %q is not a loopback address", listen)
	}
	keys, err := newKeys(o.Algorithms)
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("provider: %w", err)
	}
	p := &Provider{
		issuer:   cmp.Or(o.Issuer, "http://"+l.Addr().String()),
		audience: cmp.Or(o.Audience, "shop"),
		keys:     keys,
		clients:  newClients(o.RedirectURIs),
		logger:   o.Logger,
		now:      o.Now,
		served:   make(chan error, 1),
	}
	if p.logger == nil {
		p.logger = slog.New(slog.DiscardHandler)
	}
	if p.now == nil {
		p.now = time.Now
	}
	p.logins = newLogins(10*time.Minute, p.now)
	p.codes = newLogins(time.Minute, p.now)
	if err := checkIssuer(p.issuer); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	p.serve(ctx, l)
	return p, nil
}

func (p *Provider) serve(ctx context.Context, l net.Listener) {
	spare := &unused{conns: make(map[net.Conn]struct{})}
	p.http = &http.Server{
		Handler:           p.handler(),
		ConnState:         spare.track,
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(p.logger.Handler(), slog.LevelWarn),
	}
	p.http.RegisterOnShutdown(spare.close)
	p.close = sync.OnceValue(p.shutdown)
	p.release = context.AfterFunc(ctx, func() { _ = p.Close() })
	go func() { p.served <- p.http.Serve(l) }()
}

// URL is the issuer, to which "/.well-known/openid-configuration" is appended.
func (p *Provider) URL() string { return p.issuer }

// Close stops listening and waits up to five seconds for requests in flight.
// Calls after the first return what the first returned.
func (p *Provider) Close() error { return p.close() }

func (p *Provider) shutdown() error {
	p.release()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := p.http.Shutdown(ctx)
	if served := <-p.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("provider: %w", errors.Join(err, p.http.Close()))
	}
	return nil
}

func (p *Provider) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", p.showLogin)
	mux.HandleFunc("POST /login", p.login)
	mux.HandleFunc("POST /dev/token", p.devToken)
	mux.Handle("/", op.RegisterServer(&server{Provider: p}, endpoints,
		op.WithServerCORSOptions(nil), op.WithFallbackLogger(p.logger)))
	return p.localOnly(http.NewCrossOriginProtection().Handler(mux))
}

// localOnly refuses requests whose Host is neither the issuer nor loopback. A
// page whose name was rebound to 127.0.0.1 could read tokens otherwise.
func (p *Provider) localOnly(next http.Handler) http.Handler {
	issuer, _ := url.Parse(p.issuer)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != issuer.Host && !isLoopback(r.Host) {
			http.Error(w, "this provider serves loopback addresses only", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func checkIssuer(issuer string) error {
	if err := op.ValidateIssuer(issuer, true); err != nil {
		return fmt.Errorf("provider: issuer %q: %w", issuer, err)
	}
	if u, err := url.Parse(issuer); err != nil || u.Path != "" {
		return fmt.Errorf("provider: issuer %q has a path", issuer)
	}
	return nil
}
