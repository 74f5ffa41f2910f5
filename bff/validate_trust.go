package bff

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// mesh checks how services show who they are.
func (v *validator) mesh(t *MeshTLS) {
	v.pair("mesh_tls", t.Cert, t.Key)
	switch {
	case t.ClientCA == "" && t.TrustDomain != "":
		v.problemf("mesh_tls.client_ca", "missing; name the file of who vouches for the certificates of services, or remove trust_domain")
	case t.ClientCA == "":
	case t.Cert == "":
		v.problemf("mesh_tls.cert", "missing; without TLS no service can show a certificate")
	case t.TrustDomain == "":
		v.problemf("mesh_tls.trust_domain", "missing; write that of the SPIFFE IDs of services, such as prod.example")
	}
	if _, err := spiffeid.TrustDomainFromString(t.TrustDomain); t.TrustDomain != "" && (err != nil || strings.Contains(t.TrustDomain, "/")) {
		v.problemf("mesh_tls.trust_domain", "%.64q is not a trust domain; write the bare name, such as prod.example", t.TrustDomain)
	}
}

func (v *validator) store(s *Store) {
	between(v, "store.outage", s.Outage, 10*time.Second, 24*time.Hour)
	if s.URL == "" {
		for _, f := range []struct{ path, value string }{
			{"store.credentials", s.Credentials}, {"store.ca", s.CA}, {"store.cert", s.Cert}, {"store.key", s.Key},
		} {
			if f.value != "" {
				v.problemf(f.path, "is for a cluster; write its store.url, or remove this")
			}
		}
		if s.Replicas != 0 {
			v.problemf("store.replicas", "is for a cluster; write its store.url, or remove this")
		}
		return
	}
	for one := range strings.SplitSeq(s.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		switch {
		case err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls":
			v.problemf("store.url", "write URLs such as tls://nats.internal:4222")
		case u.User != nil:
			v.problemf("store.url", "holds a password; use store.credentials or a client certificate")
		}
	}
	v.pair("store", s.Cert, s.Key)
	between(v, "store.replicas", s.Replicas, 1, 5)
}

func (v *validator) services(services []Service) {
	taken := make(map[string]bool)
	for i, s := range services {
		path := fmt.Sprintf("services[%d].name", i)
		switch {
		case !serviceName.MatchString(s.Name):
			v.problemf(path, "%.64q is not a service name; use up to 63 of a-z, 0-9, . and -", s.Name)
		case taken[s.Name]:
			v.problemf(path, "%s is there twice; join the two", s.Name)
		}
		taken[s.Name] = true
	}
}
