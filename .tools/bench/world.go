package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"sync/atomic"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

const (
	edge        = "bff"
	trustDomain = "mesh:prod"
	life        = 300 // seconds, the longest that verifiers accept
)

// path is the order in which services pass a linked principal on.
var path = []string{"orders", "payments", "ledger", "stock"}

// mode is how a principal travels.
type mode string

const (
	relay  mode = "relay"
	linked mode = "linked"
)

var modes = []mode{relay, linked}

// audience returns whom the edge signs for.
func (m mode) audience() string {
	if m == relay {
		return trustDomain
	}
	return path[0]
}

// world is an issuer, the services of path, and the keys of all of them.
type world struct {
	authority ed25519.PrivateKey
	signer    *principal.Signer
	linkKeys  map[string]ed25519.PrivateKey
	keys      *countedKeys
}

// countedKeys counts look-ups: there is one for each block of a header that is
// verified, and none for a header that is still known.
type countedKeys struct {
	*keyset.Static

	found atomic.Int64
}

func (k *countedKeys) Find(ctx context.Context, ref principal.KeyRef) (*principal.Key, error) {
	k.found.Add(1)
	return k.Static.Find(ctx, ref)
}

func newWorld() (*world, error) {
	_, authority, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	w := &world{authority: authority, linkKeys: make(map[string]ed25519.PrivateKey)}
	if w.signer, err = principal.NewSigner(principaltest.StandardIssuer, authority, ""); err != nil {
		return nil, err
	}
	keys := []principal.Key{w.signer.Key()}
	for _, service := range path {
		if _, w.linkKeys[service], err = ed25519.GenerateKey(rand.Reader); err != nil {
			return nil, err
		}
		p, err := w.propagator(service)
		if err != nil {
			return nil, err
		}
		key, _ := p.Key()
		keys = append(keys, key)
	}
	static, err := keyset.NewStatic(keys...)
	if err != nil {
		return nil, err
	}
	w.keys = &countedKeys{Static: static}
	return w, nil
}

// standard returns the standard principal as the edge fills it in.
func standard(m mode) *principalv1.Principal {
	p := principaltest.Standard()
	p.Audience = m.audience()
	p.IssuedAt = time.Now().Unix() //nolint:forbidigo // verifiers are measured with the clock that they have in production
	p.ExpiresAt = p.IssuedAt + life
	if m == linked {
		p.Presenter, p.MaxLinks = edge, 6
	}
	return p
}

func (w *world) sign(m mode) (header string, err error) { return w.signer.Sign(standard(m)) }

func (w *world) verifier(service string) (*principal.Verifier, error) {
	return principal.NewVerifier(service, w.keys, principal.AcceptRelay(trustDomain))
}

func (w *world) propagator(service string) (*principal.Propagator, error) {
	return principal.NewPropagator(principal.WithLinkKey(service, w.linkKeys[service], ""))
}

// guard returns a guard with a rule for one method, of the kind that services
// have: who, and with which rights.
func (w *world) guard(service, method string) (*principal.Guard, error) {
	v, err := w.verifier(service)
	if err != nil {
		return nil, err
	}
	return principal.NewGuard(v, (&principal.Rules{}).WithMethod(method, &principalv1.AccessRule{
		Kinds:     []principalv1.Kind{principalv1.Kind_KIND_HUMAN, principalv1.Kind_KIND_AGENT},
		AllScopes: []string{"payments:read"},
	}))
}

// arrive returns the context that a handler of the service sees.
func (w *world) arrive(service, header string) (context.Context, error) {
	const method = "/bench.Service/Method"
	g, err := w.guard(service, method)
	if err != nil {
		return nil, err
	}
	a, err := g.Admit(context.Background(), principal.Call{Procedure: method, Values: []string{header}})
	return a.Context, err
}

// send returns what from sends to to, with a link that it has not used before.
func (w *world) send(ctx context.Context, from, to string) (header string, err error) {
	p, err := w.propagator(from)
	if err != nil {
		return "", err
	}
	h, err := p.Header(ctx, to, "")
	return h.Binary(), err
}

// travel returns a linked principal as it leaves the last but one of the first
// services of path, and the context of the handler that received it there.
func (w *world) travel(links int) (ctx context.Context, header string, err error) {
	if header, err = w.sign(linked); err != nil {
		return nil, "", err
	}
	for i := range links {
		if ctx, err = w.arrive(path[i], header); err != nil {
			return nil, "", err
		}
		if header, err = w.send(ctx, path[i], path[i+1]); err != nil {
			return nil, "", err
		}
	}
	return ctx, header, nil
}
