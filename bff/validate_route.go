package bff

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

var methodName = regexp.MustCompile(`^[A-Za-z_]\w*$`)

func (v *validator) routes(c *Config) {
	if len(c.Routes) == 0 {
		v.problemf("routes", "missing; say where requests go")
	}
	for i := range c.Routes {
		at := fmt.Sprintf("routes[%d]", i)
		r := &c.Routes[i]
		v.match(c.Routes, i)
		v.upstream(at, r)
		v.minting(at, r, c.TrustDomain)
		v.cors(at+".cors", r.CORS, r.Auth)
	}
}

// match checks which requests a route takes, in the words of the table of
// routes.
func (v *validator) match(routes []Route, i int) {
	at := fmt.Sprintf("routes[%d]", i)
	if _, err := proxy.NewTable([]proxy.Route{routes[i].match()}); err != nil {
		v.problemf(at, "%s", plain(err))
		return
	}
	for j := range i {
		if _, err := proxy.NewTable([]proxy.Route{routes[j].match()}); err != nil {
			continue
		}
		if _, err := proxy.NewTable([]proxy.Route{routes[j].match(), routes[i].match()}); err != nil {
			v.problemf(at, "takes the same requests as routes[%d]; remove one of them", j)
			return
		}
	}
}

func (r *Route) match() proxy.Route {
	return proxy.Route{Host: r.Host, PathPrefix: r.PathPrefix, Service: r.Service}
}

// plain takes off what an error of package proxy says about where it is.
func plain(err error) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "proxy: "), "route 0: ")
}

func (v *validator) endpoints(at string, endpoints []string) {
	for i, endpoint := range endpoints {
		key := fmt.Sprintf("%s.endpoints[%d]", at, i)
		host, port, err := net.SplitHostPort(endpoint)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
			v.problemf(key, "%.64q is not a host and a port; write one such as 10.0.0.1:9000", endpoint)
		} else if slices.Contains(endpoints[:i], endpoint) {
			v.problemf(key, "%q is there already; remove it", endpoint)
		}
	}
}

func (v *validator) idempotent(at string, r *Route) {
	if len(r.Idempotent) > 0 && r.Service == "" {
		v.problemf(at, "is about methods of a service; write service in place of path_prefix, or remove it")
	}
	for i, method := range r.Idempotent {
		if !methodName.MatchString(method) {
			v.problemf(fmt.Sprintf("%s[%d]", at, i), "%.64q is not the name of a method; write one such as Get", method)
		}
	}
}

func (v *validator) upstream(at string, r *Route) {
	u, err := url.Parse(r.Upstream)
	switch {
	case r.Upstream == "":
		v.problemf(at+".upstream", "missing; write the URL to forward to, such as http://127.0.0.1:8081")
		return
	case err != nil:
		v.problemf(at+".upstream", "%.64q is not a URL; write one such as http://127.0.0.1:8081", r.Upstream)
		return
	}
	if _, err := proxy.New(proxy.Upstream{URL: u}, proxy.Options{}); err != nil {
		v.problemf(at+".upstream", "%s; write one such as http://127.0.0.1:8081", plain(err))
	}
	v.endpoints(at, r.Endpoints)
	v.healthCheck(at+".health_check", &r.HealthCheck, u.Scheme)
	v.idempotent(at+".idempotent", r)
	for _, setting := range []struct{ key, value string }{
		{"ca", r.CA}, {"server_name", r.ServerName}, {"client_cert", r.ClientCert},
	} {
		if setting.value != "" && u.Scheme != "https" {
			v.problemf(at+"."+setting.key, "is for an https upstream; remove it, or write https in upstream")
		}
	}
	v.clientPair(at, r.ClientCert, r.ClientKey)
	between(v, at+".answer_within", r.AnswerWithin, 0, time.Hour)
	between(v, at+".max_requests", r.MaxRequests, 0, 10_000_000)
}

func (v *validator) minting(at string, r *Route, domain string) {
	switch r.Auth {
	case AuthRequired, AuthOptional:
	case AuthNone:
		v.nothingMinted(at, r)
		return
	default:
		v.problemf(at+".auth", "%.64q is unknown; write required, optional or none", r.Auth)
	}
	switch r.Mode {
	case ModeRelay:
		v.relay(at, r, domain)
	case ModeLinked:
		v.linked(at, r)
	default:
		v.problemf(at+".mode", "%.64q is unknown; write relay or linked", r.Mode)
	}
	if r.Mint != MintWindow && r.Mint != MintRequest {
		v.problemf(at+".mint", "%.64q is unknown; write window or request", r.Mint)
	}
}

func (v *validator) relay(at string, r *Route, domain string) {
	if domain == "" {
		v.problemf(at+".mode", "relay needs a trust domain; write trust_domain: mesh: and a name, at the top")
	}
	if r.Audience != "" {
		v.problemf(at+".audience", "in mode relay it is the trust domain; remove it, or write mode: linked")
	}
	if r.MaxLinks != nil {
		v.problemf(at+".max_links", "relayed principals have no links; remove it, or write mode: linked")
	}
}

func (v *validator) linked(at string, r *Route) {
	if r.Audience == "" {
		v.problemf(at+".audience", "missing; name the service that principals are for, or write mode: relay")
	} else if !serviceName.MatchString(r.Audience) {
		v.problemf(at+".audience", "%.64q is not a service name; use up to 63 of a-z, 0-9, . and -", r.Audience)
	}
	if r.MaxLinks != nil {
		between(v, at+".max_links", *r.MaxLinks, 0, defaultMaxLinks)
	}
}

// nothingMinted refuses settings that would have no effect: whoever wrote them
// expects one.
func (v *validator) nothingMinted(at string, r *Route) {
	for _, setting := range []struct {
		key     string
		present bool
	}{
		{"mode", r.Mode != ""}, {"audience", r.Audience != ""}, {"mint", r.Mint != ""}, {"max_links", r.MaxLinks != nil},
		{"observe", r.Observe},
	} {
		if setting.present {
			v.problemf(at+"."+setting.key, "is of no use with auth: none, which sends no principal; remove it")
		}
	}
}
