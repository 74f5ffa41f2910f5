package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"

	"github.com/onbehalf-dev/onbehalf/bff"

	"github.com/onbehalf-dev/onbehalf/bff/internal/certs"
	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// stolen is what relayed principals are open to.
const stolen = "whoever reaches this port can present a principal that they got hold of"

// service is what takes principals.
type service struct {
	name   string
	url    *url.URL
	relay  bool
	conf   *tls.Config
	client *tls.Certificate // what the edge shows to it; nil if it shows none

	endpoint string            // where it is reached, if not as its URL says
	health   proxy.HealthCheck // if it is asked whether it is well
}

// ofRoutes returns a check for each upstream, and for each endpoint of those that
// have several. Routes to the same one are looked at once, as the more demanding of
// them.
func (d *doctor) ofRoutes(cfg *bff.Config) []check {
	type destination struct {
		upstream, endpoint, ca, name, cert string
		health                             bff.HealthCheck
	}
	seen := make(map[destination]*service)
	var checks []check
	for i := range cfg.Routes {
		r := &cfg.Routes[i]
		for j := range max(1, len(r.Endpoints)) {
			name, endpoint := fmt.Sprintf("routes[%d].upstream", i), ""
			if len(r.Endpoints) > 0 {
				name, endpoint = fmt.Sprintf("routes[%d].endpoints[%d]", i, j), r.Endpoints[j]
			}
			key := destination{r.Upstream, endpoint, r.CA, r.ServerName, r.ClientCert, r.HealthCheck}
			relay := r.Auth != bff.AuthNone && r.Mode == bff.ModeRelay
			if s := seen[key]; s != nil {
				s.relay = s.relay || relay
				continue
			}
			s, err := ofRoute(name, r)
			if err != nil {
				continue // the configuration's check has said so
			}
			s.relay, s.endpoint = relay, endpoint
			seen[key] = s
			checks = append(checks, func(ctx context.Context) []Finding { return d.look(ctx, s) })
		}
	}
	return checks
}

func ofRoute(name string, r *bff.Route) (*service, error) {
	s, err := newService(name, r.Upstream, r.CA, r.ServerName)
	if err == nil && r.ClientCert != "" {
		err = s.show(r.ClientCert, r.ClientKey)
	}
	if err != nil {
		return nil, err
	}
	h := r.HealthCheck
	s.health = proxy.HealthCheck{
		Kind: proxy.HealthKind(h.Kind), Service: h.Service, Path: h.Path,
		Interval: h.Interval, Timeout: h.Timeout, HealthyAfter: h.HealthyAfter, UnhealthyAfter: h.UnhealthyAfter,
	}
	return s, nil
}

// ofServices returns a check for each service of the command line.
func (d *doctor) ofServices() []check {
	checks := make([]check, len(d.Services))
	for i, u := range d.Services {
		s, err := newService("service", u, d.CA, "")
		if err != nil {
			checks[i] = fixed(lines("service", err)...)
			continue
		}
		s.relay = true
		checks[i] = func(ctx context.Context) []Finding { return d.look(ctx, s) }
	}
	return checks
}

func newService(name, raw, caFile, serverName string) (*service, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return nil, fmt.Errorf("%.64q is not a URL; write one such as https://orders.internal:9000", raw)
	}
	switch u.Scheme {
	case "http", "h2c", "https":
	default:
		return nil, fmt.Errorf("%.64q has another scheme than http, h2c and https", raw)
	}
	if serverName == "" {
		serverName = u.Hostname()
	}
	s := &service{name: name, url: u, conf: &tls.Config{ServerName: serverName, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}}
	if caFile == "" {
		return s, nil
	}
	if s.conf.RootCAs, err = certs.Pool(caFile); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *service) show(certFile, keyFile string) error {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	s.client = &cert
	return err
}

func (s *service) address() string {
	if s.endpoint != "" {
		return s.endpoint
	}
	return proxy.Upstream{URL: s.url}.Address()
}

func (d *doctor) look(ctx context.Context, s *service) []Finding {
	status, text := d.lookPlain, s.url.Redacted()
	if s.endpoint != "" {
		text += " at " + s.endpoint
	}
	if s.url.Scheme == "https" {
		status = d.lookTLS
	}
	st, what := status(ctx, s)
	found := one(s.name, st, text+" "+what)
	if st == Problem || s.health == (proxy.HealthCheck{}) {
		return found
	}
	if err := proxy.Probe(ctx, s.upstream(), s.address()); err != nil {
		return append(found, one(s.name+".health_check", Problem, text+" fails its health check ("+err.Error()+"): repair it, or correct health_check")...)
	}
	return append(found, one(s.name+".health_check", OK, text+" passes its health check")...)
}

// upstream is s as the edge has it.
func (s *service) upstream() proxy.Upstream {
	u := proxy.Upstream{URL: s.url, HealthCheck: s.health}
	if s.url.Scheme == "https" {
		u.RootCAs, u.ServerName = s.conf.RootCAs, s.conf.ServerName
	}
	if s.client != nil {
		u.ClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.client, nil }
	}
	return u
}

// lookPlain is for a service that is called without TLS.
func (d *doctor) lookPlain(ctx context.Context, s *service) (Status, string) {
	speaks := true // HTTP/1.1 has no handshake
	err := d.connects(ctx, anywhere, s.address())
	if err == nil && s.url.Scheme == "h2c" {
		speaks, err = d.speaksH2C(ctx, s.address())
	}
	switch {
	case err != nil:
		return Problem, "does not answer (" + reason(err) + "): start it, or correct the URL"
	case d.sidecar && !loopback(s.address()):
		return Unknown, "is answered for by the sidecar here: ask from a pod without one whether the service takes plaintext, with onbehalf doctor --service"
	case !speaks:
		return Problem, "answers, but not in HTTP/2 without TLS: write https if it has TLS, or http if it speaks HTTP/1.1"
	case loopback(s.address()):
		return OK, "answers, on this machine"
	case s.relay:
		return Warning, "takes plaintext: " + stolen + "; have it demand client certificates, or let a sidecar do so, and write https"
	default:
		return Warning, "takes plaintext: requests and answers are readable on the way; use https, or a sidecar"
	}
}

// lookTLS is for a service that is called with TLS: does it take the edge, and
// does it take anybody?
func (d *doctor) lookTLS(ctx context.Context, s *service) (Status, string) {
	if s.client != nil {
		switch err := d.shakesHands(ctx, anywhere, s.address(), s.conf, s.client); {
		case errors.Is(err, errRefused):
			return Problem, "refuses the client certificate: have an authority issue it that the service trusts"
		case errors.Is(err, errClosed):
			return Unknown, "takes the connection and ends it: look at its log"
		case err != nil:
			return Problem, hindered(err)
		}
	}
	anybody := d.shakesHands(ctx, anywhere, s.address(), s.conf, nil)
	refused, ended := errors.Is(anybody, errRefused), errors.Is(anybody, errClosed)
	if anybody != nil && !refused && !ended {
		return Problem, hindered(anybody)
	}
	if plain, _ := d.speaksH2C(ctx, s.address()); plain && !d.sidecar { // that it answers was seen
		return Warning, "takes plaintext on the same port: " + stolen + "; switch that off"
	}
	switch {
	case refused && s.client == nil && s.name != "service":
		return Problem, "refuses callers without a certificate: name the edge's in client_cert and client_key"
	case refused:
		return OK, "has TLS, and refuses callers without a certificate"
	case ended:
		return Unknown, "asks for a certificate, and ends the connection of who has none without saying why: look at its log whether that is the reason"
	case s.relay:
		return Warning, "has TLS, and takes callers without a certificate: " + stolen + "; have it demand client certificates"
	default:
		return OK, "has TLS; callers need no certificate"
	}
}

// hindered says what kept a handshake from its end.
func hindered(err error) string {
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "has a certificate that is not trusted here (" + e.Err.Error() + "): name its authority in ca, or the name that it is for in server_name"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "answers, but without TLS: write h2c or http, or give it TLS"
	}
	return "does not answer (" + reason(err) + "): start it, or correct the URL"
}

// reason is the innermost of an error of the network, which tells it best.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return "no answer in time"
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.SyscallError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}
