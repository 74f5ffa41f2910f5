// Package principaltest makes principals for tests: an issuer with throwaway
// keys whose headers are really signed and really verified. There is no back
// door: what a test gets into a context has been through a [principal.Guard].
package principaltest

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

const (
	// IssuerName is the name in which an [Issuer] signs.
	IssuerName = "https://issuer.test"
	// Presenter is the service name of the edge that hands out the principals.
	Presenter = "bff"
	// TrustDomain is the audience of relayed principals.
	TrustDomain = "mesh:test"

	life = 5 * time.Minute
)

// Issuer signs principals with a key of its own and keeps a link key for each
// service that is asked for. It is safe for concurrent use.
type Issuer struct {
	t      testing.TB
	signer *principal.Signer
	now    func() time.Time

	mu    sync.Mutex
	keys  map[principal.KeyRef]*principal.Key
	links map[string]crypto.Signer
}

// NewIssuer returns an issuer whose clock is time.Now, which is what a test
// inside a synctest bubble needs.
func NewIssuer(t testing.TB) *Issuer { return NewIssuerAt(t, time.Now) }

// NewIssuerAt returns an issuer whose clock, and that of all it makes, is now.
func NewIssuerAt(t testing.TB, now func() time.Time) *Issuer {
	t.Helper()
	signer, err := principal.NewSigner(IssuerName, newKey(t), "")
	if err != nil {
		t.Fatal(err)
	}
	i := &Issuer{t: t, signer: signer, now: now, keys: make(map[principal.KeyRef]*principal.Key), links: make(map[string]crypto.Signer)}
	i.add(signer.Key())
	return i
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (i *Issuer) add(key principal.Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys[key.KeyRef] = &key
}

// Find implements [principal.KeySet].
func (i *Issuer) Find(_ context.Context, ref principal.KeyRef) (*principal.Key, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[ref], nil
}

// Version implements [principal.KeySet].
func (i *Issuer) Version() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return uint64(len(i.keys))
}

// Verifier returns a verifier for the service, for linked principals; for
// relayed ones add principal.AcceptRelay(principaltest.TrustDomain).
func (i *Issuer) Verifier(service string, opts ...principal.VerifierOption) *principal.Verifier {
	i.t.Helper()
	opts = slices.Concat([]principal.VerifierOption{principal.WithClock(i.now)}, opts)
	v, err := principal.NewVerifier(service, i, opts...)
	if err != nil {
		i.t.Fatal(err)
	}
	return v
}

// Guard returns a guard of the service.
func (i *Issuer) Guard(service string, rules *principal.Rules, opts ...principal.GuardOption) *principal.Guard {
	i.t.Helper()
	g, err := principal.NewGuard(i.Verifier(service), rules, opts...)
	if err != nil {
		i.t.Fatal(err)
	}
	return g
}

// Propagator returns a propagator of the service, with a link key that the
// verifiers of this issuer know.
func (i *Issuer) Propagator(service string) *principal.Propagator {
	i.t.Helper()
	p, err := principal.NewPropagator(principal.WithLinkKey(service, i.LinkKey(service), ""), principal.WithPropagatorClock(i.now))
	if err != nil {
		i.t.Fatal(err)
	}
	key, _ := p.Key()
	i.add(key)
	return p
}

// LinkKey returns the private link key of a service.
func (i *Issuer) LinkKey(service string) crypto.Signer {
	i.t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.links[service] == nil {
		i.links[service] = newKey(i.t)
	}
	return i.links[service]
}

// Header signs p, decoded, for an audience: a service name, or [TrustDomain] for
// a relayed principal. What p leaves open is filled in: it is issued now, lives
// five minutes and, linked, may be passed on six times.
func (i *Issuer) Header(audience string, p *principalv1.Principal) string {
	i.t.Helper()
	p = proto.CloneOf(p)
	p.Audience = audience
	if p.IssuedAt == 0 {
		p.IssuedAt = i.now().Unix()
	}
	if p.ExpiresAt == 0 {
		p.ExpiresAt = p.IssuedAt + int64(life/time.Second)
	}
	if audience != TrustDomain {
		p.Presenter = Presenter
		if p.MaxLinks == 0 {
			p.MaxLinks = 6
		}
	}
	header, err := i.signer.Sign(p)
	if err != nil {
		i.t.Fatal(err)
	}
	return header
}

// Context returns the context that a handler of the service sees when it is
// called by p. No method's rule is checked.
func (i *Issuer) Context(service string, p *principalv1.Principal, opts ...principal.VerifierOption) context.Context {
	i.t.Helper()
	return i.ContextOf(service, i.Header(service, p), opts...)
}

// ContextOf returns the context that a handler of the service sees for a
// header.
func (i *Issuer) ContextOf(service, header string, opts ...principal.VerifierOption) context.Context {
	i.t.Helper()
	const anything = "/principaltest/Any"
	rules := (&principal.Rules{}).WithMethod(anything, &principalv1.AccessRule{
		Kinds: []principalv1.Kind{principalv1.Kind_KIND_HUMAN, principalv1.Kind_KIND_AGENT, principalv1.Kind_KIND_SERVICE},
	})
	guard, err := principal.NewGuard(i.Verifier(service, append(opts, principal.AcceptRelay(TrustDomain))...), rules)
	if err != nil {
		i.t.Fatal(err)
	}
	a, err := guard.Admit(context.Background(), principal.Call{Procedure: anything, Values: []string{header}})
	if err != nil {
		i.t.Fatal(err)
	}
	return a.Context
}

// Pass returns the header that the service from sends on to the service to
// after it got header. With scopes it narrows to them.
func (i *Issuer) Pass(header, from, to string, scopes ...string) string {
	i.t.Helper()
	ctx := i.ContextOf(from, header)
	if len(scopes) > 0 {
		var err error
		if ctx, err = principal.Narrow(ctx, scopes...); err != nil {
			i.t.Fatal(err)
		}
	}
	h, err := i.Propagator(from).Header(ctx, to, "")
	if err != nil {
		i.t.Fatal(err)
	}
	return h.Binary()
}
