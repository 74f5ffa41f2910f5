package bff

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
	"github.com/onbehalf-dev/onbehalf/bff/internal/wiretext"
)

// problem is one mistake in a configuration: the path of its key, and what to
// do about it.
type problem struct {
	path, text string
}

func (p problem) Error() string {
	if p.path == "" {
		return p.text
	}
	return p.path + ": " + p.text
}

var (
	serviceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)
	trustDomain = regexp.MustCompile(`^mesh:[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)
)

type validator struct {
	found []problem
}

func (v *validator) problemf(path, format string, args ...any) {
	v.found = append(v.found, problem{path: path, text: fmt.Sprintf(format, args...)})
}

// problems returns what is wrong with c, after setDefaults. Files that it names
// are not looked at.
func (c *Config) problems() []problem {
	v := new(validator)
	v.identity(c)
	v.listen(&c.Listen)
	v.pair("tls", c.TLS.Cert, c.TLS.Key)
	v.mesh(&c.MeshTLS)
	v.store(&c.Store)
	v.services(c.Services)
	if _, err := c.proxies(); err != nil {
		v.problemf("trusted_proxies", "%v", err)
	}
	v.issuers(c.Issuers)
	v.enrich(&c.Enrich)
	v.routes(c)
	v.limits(&c.Limits)
	between(v, "keys.life", c.Keys.Life, 10*time.Minute, 10*365*24*time.Hour)
	between(v, "keys.lead", c.Keys.Lead, 0, c.Keys.Life/2)
	between(v, "audit.refusals", c.Audit.Refusals, 1, 1_000_000)
	switch c.Audit.OnFailure {
	case RefuseRequests, ServeRequests:
	default:
		v.problemf("audit.on_failure", "%q is unknown; write refuse or serve", c.Audit.OnFailure)
	}
	return v.found
}

func (v *validator) identity(c *Config) {
	switch c.Version {
	case 1:
	case 0:
		v.problemf("version", "missing; write version: 1")
	default:
		v.problemf("version", "%d is of another program; this one reads version 1", c.Version)
	}
	if c.Issuer == "" {
		v.problemf("issuer", "missing; name this edge as services are to know it, such as https://edge.example")
	} else if len(c.Issuer) > 256 || !utf8.ValidString(c.Issuer) || strings.ContainsFunc(c.Issuer, wiretext.IsHidden) {
		v.problemf("issuer", "%.64q is longer than 256 bytes or has a control character; choose a plain name", c.Issuer)
	}
	if !serviceName.MatchString(c.Presenter) {
		v.problemf("presenter", "%.64q is not a service name; use up to 63 of a-z, 0-9, . and -", c.Presenter)
	}
	if c.TrustDomain != "" && !trustDomain.MatchString(c.TrustDomain) {
		v.problemf("trust_domain", "%.64q is not a trust domain; write mesh: and a name, such as mesh:prod", c.TrustDomain)
	}
}

func (v *validator) listen(l *Listen) {
	taken := make(map[string]string)
	for _, a := range []struct{ path, address string }{
		{"listen.public", l.Public}, {"listen.mesh", l.Mesh}, {"listen.admin", l.Admin}, {"listen.metrics", l.Metrics},
	} {
		if a.path == "listen.metrics" && a.address == "" {
			continue
		}
		_, port, err := net.SplitHostPort(a.address)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
			v.problemf(a.path, "%.64q is not an address; write a host and a port, such as 127.0.0.1:8080", a.address)
		} else if other, ok := taken[a.address]; ok && n != 0 {
			v.problemf(a.path, "%s is %s too; choose another port", a.address, other)
		}
		taken[a.address] = a.path
	}
}

func (v *validator) pair(path, cert, key string) {
	switch {
	case cert == "" && key != "":
		v.problemf(path+".cert", "missing; name the file of the certificate, or remove key")
	case cert != "" && key == "":
		v.problemf(path+".key", "missing; name the file of the private key, or remove cert")
	}
}

// proxies returns TrustedProxies.
func (c *Config) proxies() ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, s := range c.TrustedProxies {
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			var addr netip.Addr
			if addr, err = netip.ParseAddr(s); err == nil {
				prefix, err = addr.Prefix(addr.BitLen())
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%.64q is neither an address nor a network; write one such as 10.0.0.0/8", s)
		}
		list = append(list, prefix)
	}
	return list, nil
}

func (v *validator) issuers(issuers []oidc.Issuer) {
	joined, ok := oidc.Validate(issuers).(interface{ Unwrap() []error })
	if !ok {
		return
	}
	for _, err := range joined.Unwrap() {
		path, text, _ := strings.Cut(err.Error(), ": ")
		v.found = append(v.found, problem{path: path, text: text})
	}
}

func (v *validator) limits(l *Limits) {
	between(v, "limits.header_bytes", l.HeaderBytes, 4<<10, 1<<20)
	between(v, "limits.body_bytes", l.BodyBytes, 0, 1<<40)
	between(v, "limits.body_timeout", l.BodyTimeout, time.Second, 24*time.Hour)
	between(v, "limits.take_timeout", l.TakeTimeout, time.Second, 24*time.Hour)
	between(v, "limits.requests", l.Requests, 1, 10_000_000)
	between(v, "limits.client_requests", l.ClientRequests, 1, 10_000_000)
	between(v, "limits.failed_credentials", l.FailedCredentials, 1, 1_000_000)
	between(v, "limits.header_timeout", l.HeaderTimeout, time.Millisecond, time.Minute)
	between(v, "limits.idle_timeout", l.IdleTimeout, time.Millisecond, time.Hour)
	between(v, "limits.streams", l.Streams, 1, 100_000)
	between(v, "limits.principal_life", l.PrincipalLife, time.Second, maxLife)
	between(v, "limits.mint_window", l.MintWindow, time.Second, maxWindow)
	between(v, "limits.credentials", l.Credentials, 1, 10_000_000)
	between(v, "limits.revocation_memory", l.RevocationMemory, time.Hour, 365*24*time.Hour)
	between(v, "limits.link_key_life", l.LinkKeyLife, 10*time.Minute, 365*24*time.Hour)
	between(v, "limits.watchers", l.Watchers, 1, 1_000_000)
	between(v, "limits.drain_delay", l.DrainDelay, 0, 10*time.Minute)
	between(v, "limits.drain", l.Drain, time.Millisecond, time.Hour)
}

func between[T int | time.Duration](v *validator, path string, value, least, most T) {
	if value < least || value > most {
		v.problemf(path, "%v is out of range; write %v to %v", value, least, most)
	}
}
