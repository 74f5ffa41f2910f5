package bff

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/onbehalf-dev/onbehalf/bff/internal/certs"
)

// peers tells services by their certificates.
type peers struct {
	roots       *x509.CertPool
	trustDomain spiffeid.TrustDomain
}

// open returns nil if no certificates are asked for.
func (t *MeshTLS) open() (*peers, error) {
	if t.ClientCA == "" {
		return nil, nil
	}
	trustDomain, err := spiffeid.TrustDomainFromString(t.TrustDomain)
	if err != nil {
		return nil, fmt.Errorf("trust_domain: %w", err)
	}
	roots, err := certs.Pool(t.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("client_ca: %w", err)
	}
	return &peers{roots: roots, trustDomain: trustDomain}, nil
}

// configure makes a server ask for certificates. Those of services are required
// by the feed, not by the handshake: the public keys are for everybody.
func (p *peers) configure(c *tls.Config) {
	if p != nil && c != nil {
		c.ClientCAs, c.ClientAuth = p.roots, tls.VerifyClientCertIfGiven
	}
}

// identify returns the service that a connection is with: its one SPIFFE ID is
// the trust domain's and its path exactly a service name.
func (p *peers) identify(state *tls.ConnectionState) (service string, ok bool) {
	if p == nil || state == nil || len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return "", false
	}
	leaf := state.VerifiedChains[0][0]
	id, err := x509svid.IDFromCert(leaf)
	if err != nil || leaf.IsCA || !id.MemberOf(p.trustDomain) || id.Path() == "" {
		return "", false
	}
	service = id.Path()[1:]
	return service, serviceName.MatchString(service)
}
