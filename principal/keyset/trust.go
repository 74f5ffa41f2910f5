package keyset

import (
	"errors"
	"fmt"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// Trust names those whose keys a remote set may publish. All else that the
// server sends is ignored: it cannot give itself, or a service, the name of
// another issuer. The zero value trusts nobody and is refused.
type Trust struct {
	// Issuers are those whose authority keys are accepted, by the name in
	// their principals, e.g. "https://bff.example.com".
	Issuers []string
	// Services are those whose link keys are accepted: all that may be on the
	// way from the edge to this service.
	Services []string
}

// names returns what t trusts, as references without a key id.
func (t Trust) names() (map[principal.KeyRef]bool, error) {
	names := make(map[principal.KeyRef]bool)
	for _, issuer := range t.Issuers {
		if issuer == "" {
			return nil, errors.New("keyset: an issuer without a name")
		}
		names[principal.KeyRef{Role: principal.RoleAuthority, Owner: issuer}] = true
	}
	for _, service := range t.Services {
		if !wire.IsServiceName(service) {
			return nil, fmt.Errorf("keyset: %q is not a service name", service)
		}
		names[principal.KeyRef{Role: principal.RoleLink, Owner: service}] = true
	}
	if len(names) == 0 {
		return nil, errors.New("keyset: a remote set needs the names of the issuers and services whose keys it trusts")
	}
	return names, nil
}
