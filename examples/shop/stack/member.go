package stack

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
)

// member is what a service has of its own: a name and a key with which it signs
// what it passes on.
type member struct {
	name       string
	propagator *principal.Propagator
	keys       *keyset.Remote
	observer   principal.Observer
	options    []principal.VerifierOption
}

// newMembers makes a link key for each service, in a file that only the service
// reads, and writes the public halves to link-keys.json, which the edge
// publishes.
func newMembers(dir string, names ...string) (map[string]*member, error) {
	members := make(map[string]*member)
	var public []principal.Key
	for _, name := range names {
		key, err := keyset.CreatePrivateKey(filepath.Join(dir, name+".pem"))
		if err != nil {
			return nil, err
		}
		propagator, err := principal.NewPropagator(principal.WithLinkKey(name, key, ""))
		if err != nil {
			return nil, err
		}
		k, _ := propagator.Key()
		public = append(public, k)
		members[name] = &member{name: name, propagator: propagator}
	}
	jwks, err := keyset.Marshal(public)
	if err != nil {
		return nil, err
	}
	return members, os.WriteFile(filepath.Join(dir, "link-keys.json"), jwks, 0o600)
}

// join follows the keys that the edge publishes, of all who may be on the way to
// this service.
func (m *member) join(ctx context.Context, keysURL string, observer principal.Observer) error {
	keys, err := keyset.NewRemote(ctx, keysURL, keyset.Trust{
		Issuers: []string{issuer}, Services: []string{"orders", "payments"},
	}, keyset.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	m.keys, m.observer = keys, observer
	return keys.Ready(ctx)
}

// guard is the service's guard, unless its rules could not be read.
func (m *member) guard(rules *principal.Rules, err error) (*principal.Guard, error) {
	if err != nil {
		return nil, err
	}
	verifier, err := principal.NewVerifier(m.name, m.keys, m.options...)
	if err != nil {
		return nil, err
	}
	if m.observer == nil {
		return principal.NewGuard(verifier, rules)
	}
	return principal.NewGuard(verifier, rules, principal.WithObserver(m.observer))
}
