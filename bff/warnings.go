package bff

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/netaddr"
)

// Warning is something in a configuration that works, and is seldom what is
// wanted.
type Warning struct {
	// Key is the path of the key, such as routes[2].upstream.
	Key string `json:"key"`
	// What is so, and Do what can be done about it. Both are one line, without
	// anything secret.
	What string `json:"what"`
	Do   string `json:"do"`
}

// String returns "key: what: what to do".
func (w Warning) String() string { return w.Key + ": " + w.What + ": " + w.Do }

// Warnings returns what in cfg is worth a second look, in the order of the file's
// keys as far as they have one. [Check] has found nothing wrong with cfg, which is
// not modified; of what cannot be read nothing is said.
func Warnings(cfg *Config, opts ...Option) []Warning {
	c, err := cfg.checked(newOptions(opts))
	if err != nil {
		return nil
	}
	w := new(warner)
	w.listeners(c)
	w.proxies(c)
	w.issuers(c)
	w.routes(c)
	w.sizes(c)
	w.limits(c)
	w.audit(&c.Audit)
	return w.found
}

type warner struct{ found []Warning }

func (w *warner) warn(key, what, do string) { w.found = append(w.found, Warning{key, what, do}) }

// listeners looks for those that can be reached in clear.
func (w *warner) listeners(c *Config) {
	if c.TLS.Cert == "" && !isLocal(c.Listen.Public) && len(c.TrustedProxies) == 0 {
		w.warn("listen.public", "others can reach it without TLS, and no proxy is named that has it: tokens may come in clear",
			"write tls, listen on 127.0.0.1, or name the proxies before the edge in trusted_proxies")
	}
	if c.MeshTLS.Cert == "" && !isLocal(c.Listen.Mesh) {
		w.warn("mesh_tls", "missing, so that services on other machines than this one cannot join", "write mesh_tls, or listen on 127.0.0.1 only")
	}
	if host, _, err := net.SplitHostPort(c.Listen.Metrics); err == nil {
		if addr, err := netip.ParseAddr(host); err == nil && addr.IsGlobalUnicast() && !addr.IsPrivate() {
			w.warn("listen.metrics", "it is a public address, and whoever reaches it can read the metrics", "listen on 127.0.0.1 or on a private address")
		}
	}
}

// isLocal reports whether an address to listen on is of this machine alone.
func isLocal(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && netaddr.IsLoopback(host)
}

func (w *warner) proxies(c *Config) {
	prefixes, _ := c.proxies() // it was checked
	for i, p := range prefixes {
		if p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 32 {
			w.warn(fmt.Sprintf("trusted_proxies[%d]", i), "nearly everybody is in it, and could write any address into x-forwarded-for",
				"name the addresses of the proxies")
		}
	}
}

func (w *warner) issuers(c *Config) {
	used := false
	for i := range c.Routes {
		used = used || c.Routes[i].Auth != AuthNone
	}
	for i := range c.Issuers {
		at := fmt.Sprintf("issuers[%d]", i)
		if !used {
			w.warn(at, "no route uses it, as all have auth: none", "remove it, or write auth: required where it is meant")
		}
		if c.Issuers[i].Typ == "any" {
			w.warn(at+".typ", "tokens need not say that they are access tokens, so that others of this issuer for the same audience pass too",
				"have the issuer write typ: at+jwt and remove this, or make sure that no ID token has this audience")
		}
	}
}

func (w *warner) audit(a *Audit) {
	if a.File == "" {
		w.warn("audit.file", "records go to the standard output only; if nobody keeps that they are lost, and if its reader stops so does the edge",
			"name a file, or see to it that the output is collected")
	}
}

// limits looks for numbers that limit nothing, or too much.
func (w *warner) limits(c *Config) {
	l := &c.Limits
	above(w, "limits.header_bytes", l.HeaderBytes, 256<<10, "each connection may hold that much")
	above(w, "limits.body_timeout", l.BodyTimeout, 10*time.Minute, "a client that sends nothing keeps its place for as long")
	above(w, "limits.take_timeout", l.TakeTimeout, time.Hour, "a client that takes nothing keeps its place for as long")
	above(w, "limits.requests", l.Requests, 1_000_000, "idle streams alone would take some 30 GB")
	above(w, "limits.failed_credentials", l.FailedCredentials, 10_000, "one address may guess that often each minute")
	above(w, "limits.streams", l.Streams, 10_000, "one connection may begin that many requests at once")
	above(w, "limits.mint_window", l.MintWindow, 2*time.Minute, "a credential that its issuer takes back is good for as long")
	above(w, "limits.credentials", l.Credentials, 1_000_000, "they would take some 4 GB")
	above(w, "limits.link_key_life", l.LinkKeyLife, 31*24*time.Hour, "a stolen key of a service is good for as long, unless it is revoked")
	above(w, "keys.life", c.Keys.Life, 365*24*time.Hour, "a stolen key of the edge is good for as long, unless it is revoked")
	above(w, "store.outage", c.Store.Outage, 15*time.Minute, "what another edge revokes may be missed for as long")
	above(w, "audit.refusals", c.Audit.Refusals, 100_000, "a flood of bad requests fills the disk with as many records a second")
	if l.PrincipalLife < 30*time.Second {
		w.warn("limits.principal_life", fmt.Sprintf("%v is less than clocks may be apart", l.PrincipalLife), "write 1m or more")
	}
	if l.Requests < 10 {
		w.warn("limits.requests", fmt.Sprintf("%d requests at a time are less than one page of a browser makes", l.Requests), "write some thousands")
	}
}

func above[T int | time.Duration](w *warner, key string, value, sensible T, what string) {
	if value > sensible {
		w.warn(key, fmt.Sprintf("%v is very much: %s", value, what), fmt.Sprintf("write %v or less", sensible))
	}
}

func (w *warner) routes(c *Config) {
	for i := range c.Routes {
		r, at := &c.Routes[i], fmt.Sprintf("routes[%d]", i)
		if r.Mode == ModeRelay {
			w.relay(at, r)
		}
		if r.Auth == AuthNone {
			w.anonymous(at, r, c.Routes)
		}
		if r.Observe {
			w.warn(at+".observe", "requests without a valid credential are let through, without a principal", "remove it once the records have no would_refuse")
		}
		w.shadowed(at, r, c.Routes)
	}
}

// relay looks for relayed principals that others could read, or that others than
// the edge could send. Whoever has one is taken for its subject everywhere.
func (w *warner) relay(at string, r *Route) {
	u, err := url.Parse(r.Upstream)
	if err != nil || netaddr.IsLoopback(u.Hostname()) {
		return
	}
	const proof = "; onbehalf doctor --service tries whether others get through"
	switch {
	case u.Scheme != "https":
		w.warn(at+".upstream", "relayed principals go there in clear: who reads one can use it in the whole trust domain until it ends",
			"write https and client_cert, or have a sidecar add mTLS and a network policy let only that in"+proof)
	case r.ClientCert == "":
		w.warn(at+".client_cert", "the edge does not show who it is: who holds a relayed principal can send it there too",
			"write client_cert and have the service ask for it, or have a network policy let only the platform in"+proof)
	}
}

// anonymous looks for routes that take principals to the same upstream.
func (w *warner) anonymous(at string, r *Route, routes []Route) {
	for j := range routes {
		if routes[j].Auth == AuthRequired && routes[j].Upstream == r.Upstream {
			w.warn(at+".auth", fmt.Sprintf("anonymous requests go to the upstream of routes[%d], which requires a credential: a path that the service reads otherwise than the edge gets around that", j),
				"have the service verify principals by its own rules, or serve what is public elsewhere")
			return
		}
	}
}

// shadowed looks for routes of a host that take a part of what r is for: they go
// first however short their path is.
func (w *warner) shadowed(at string, r *Route, routes []Route) {
	if r.Host != "" {
		return
	}
	for j := range routes {
		other := &routes[j]
		if other.Host != "" && other.PathPrefix != "" && below(r, strings.TrimSuffix(other.PathPrefix, "/")) {
			w.warn(at, fmt.Sprintf("is never reached for host %s: its routes[%d] takes %s and all below, before routes without a host", other.Host, j, other.PathPrefix),
				"write it once more with this host, if it is meant there too")
			return
		}
	}
}

// below reports whether all that r takes is below a prefix, and r says more than
// that.
func below(r *Route, prefix string) bool {
	path := strings.TrimSuffix(r.PathPrefix, "/")
	if r.Service != "" {
		path = "/" + r.Service
	}
	return strings.HasPrefix(path, prefix+"/")
}
