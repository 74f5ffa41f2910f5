package principal

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// peers maps the SPIFFE ID in a client certificate to a service name.
type peers struct {
	prefix string // "spiffe://<trust domain>/"
	table  map[string]string
}

// WithMTLS makes the verifier check who hands a header over: the TLS client
// certificate must carry exactly one URI name, which is
// spiffe://<spiffeTrustDomain>/<service name> or stands in table (SPIFFE ID to
// service name; may be nil). The server's TLS configuration must itself verify
// client certificates. A call without one is refused if it carries a principal.
// With the binding a header stolen from a log cannot be used, except a relayed
// one by a member of the mesh.
func WithMTLS(spiffeTrustDomain string, table map[string]string) VerifierOption {
	return verifierOption(func(v *Verifier) error {
		if spiffeTrustDomain == "" || strings.ContainsAny(spiffeTrustDomain, "/:@ ") {
			return fmt.Errorf("principal: SPIFFE trust domain %q: use the bare name, such as \"prod.example\"", spiffeTrustDomain)
		}
		for id, name := range table {
			if !strings.HasPrefix(id, "spiffe://") || !wire.IsServiceName(name) {
				return fmt.Errorf("principal: peer %q = %q: map a SPIFFE ID to a service name", id, name)
			}
		}
		v.mtls = &peers{prefix: "spiffe://" + spiffeTrustDomain + "/", table: maps.Clone(table)}
		return nil
	})
}

// WithTransparentGateways names mTLS peers that hand over what others signed,
// such as a layer-7 proxy between services. What they present is accepted
// without a check of the presenter; [Principal.Presenter] says so.
func WithTransparentGateways(services ...string) VerifierOption {
	return verifierOption(func(v *Verifier) error {
		if len(services) == 0 {
			return errors.New("principal: name at least one gateway")
		}
		v.gateways = make(map[string]bool)
		for _, s := range services {
			v.gateways[s] = true
		}
		return nil
	})
}

// name returns the service name of a TLS peer, or "" if the peer showed no
// verified certificate or one that names no service. It never takes the last
// segment of a path: anyone who may choose a path could choose a name.
func (m *peers) name(state *tls.ConnectionState) string {
	if m == nil || state == nil || len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return ""
	}
	leaf := state.VerifiedChains[0][0]
	if len(leaf.URIs) != 1 || leaf.IsCA {
		return ""
	}
	id := leaf.URIs[0].String()
	if name, ok := m.table[id]; ok {
		return name
	}
	name, ok := strings.CutPrefix(id, m.prefix)
	if !ok || !wire.IsServiceName(name) {
		return ""
	}
	return name
}
