package principal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// The limits that a verifier holds every header to, whatever was signed. In
// seconds.
const (
	skew    = 30
	maxLife = 300 // of a principal
	maxHold = 60  // of a link, from now

	minTime = -1 << 62
	maxTime = 1<<62 - 1
)

const defaultCacheEntries = 4096

// Verifier decides whether a header is genuine and meant for this service. It
// keeps what it verified in a bounded cache, by exact bytes; what can change
// (time, keys, revocations) is checked on every use. It is safe for concurrent
// use.
type Verifier struct {
	audience    string
	audiences   map[string]string // by RPC service, where they differ
	keys        KeySet
	trustDomain string // "" refuses relays
	mtls        *peers

	identityIssuers map[string]map[string]bool // by the principal's issuer, whose identities else it may name
	gateways        map[string]bool
	revocations     Revocations
	staleness       time.Duration
	online          OnlineCheck
	now             func() time.Time

	verified *cache[presentation, *verifiedEntry]
	prefixes *cache[string, *prefixEntry]
	decoded  *cache[string, string] // verified headers by their text
	uses     uses                   // of all guards that stand on this verifier
	calls    calls                  // that are under way
	leases   leases                 // streams among them
}

// presentation is a header and the circumstances that its verification depends
// on.
type presentation struct {
	header   string
	audience string
	peer     string
}

type verifiedEntry struct {
	principal   *Principal
	version     uint64 // of the key set
	from, until int64  // when all its times and key windows hold
	generation  atomic.Uint64
}

// prefixEntry saves the signatures and the narrowing of all blocks but the last,
// and the reading of the first.
type prefixEntry struct {
	version    uint64
	authority  wire.Principal
	transcript wire.Transcript
	scopes     []string
	roles      []string
}

// VerifierOption changes a [Verifier].
type VerifierOption interface{ applyVerifier(*Verifier) error }

type verifierOption func(*Verifier) error

func (f verifierOption) applyVerifier(v *Verifier) error { return f(v) }

// NewVerifier returns a verifier for the service with this name, which is the
// audience that a linked header must name. There is no verifier without an
// audience: one that accepted any would let a service replay what it received.
func NewVerifier(audience string, keys KeySet, opts ...VerifierOption) (*Verifier, error) {
	if !wire.IsServiceName(audience) {
		return nil, fmt.Errorf("principal: audience %q is not a service name: use 1 to 63 of a-z, 0-9, '.', '-', such as %q", audience, "payments")
	}
	if keys == nil {
		return nil, errors.New("principal: a verifier needs a key set")
	}
	v := &Verifier{
		audience:  audience,
		keys:      keys,
		now:       time.Now,
		staleness: defaultStaleness,
		verified:  newCache[presentation, *verifiedEntry](defaultCacheEntries),
		prefixes:  newCache[string, *prefixEntry](defaultCacheEntries),
		decoded:   newCache[string, string](defaultCacheEntries),
	}
	for _, opt := range opts {
		if err := opt.applyVerifier(v); err != nil {
			return nil, err
		}
	}
	if v.gateways != nil && v.mtls == nil {
		return nil, errors.New("principal: WithTransparentGateways needs WithMTLS: without it no presenter is checked")
	}
	if v.revocations != nil {
		v.revocations.OnChange(v.review)
	} else if v.online != nil {
		return nil, errors.New("principal: WithOnlineCheck needs WithRevocations: it brings those up to date")
	}
	return v, nil
}

// Format keeps every verb of fmt from printing the headers in the cache.
func (v *Verifier) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "principal.Verifier{"+v.audience+"}")
}

// AcceptRelay accepts relayed headers whose audience is the trust domain
// "mesh:<name>". Without it only linked headers are accepted: any member of the
// trust domain can replay a relayed header for as long as it lives.
func AcceptRelay(trustDomain string) VerifierOption {
	return verifierOption(func(v *Verifier) error {
		if !wire.IsTrustDomain(trustDomain) {
			return fmt.Errorf("principal: trust domain %q: use \"mesh:\" and a name, such as \"mesh:prod\"", trustDomain)
		}
		v.trustDomain = trustDomain
		return nil
	})
}

// WithIdentityIssuers lets an issuer name identities of other issuers too, such
// as the agents of a partner. By default the identities in a principal are its
// own issuer's: an issuer cannot speak for the users of another one.
func WithIdentityIssuers(issuer string, others ...string) VerifierOption {
	return verifierOption(func(v *Verifier) error {
		if !wire.IsText(issuer) || len(others) == 0 {
			return errors.New("principal: WithIdentityIssuers needs an issuer and the other issuers whose identities it may name")
		}
		if v.identityIssuers == nil {
			v.identityIssuers = make(map[string]map[string]bool)
		}
		if v.identityIssuers[issuer] == nil {
			v.identityIssuers[issuer] = make(map[string]bool)
		}
		for _, other := range others {
			v.identityIssuers[issuer][other] = true
		}
		return nil
	})
}

// WithServiceAudience names the audience of one RPC service, such as
// "shop.ledger.v1.LedgerService", in a process that hosts several.
func WithServiceAudience(rpcService, audience string) VerifierOption {
	return verifierOption(func(v *Verifier) error {
		if !wire.IsServiceName(audience) {
			return fmt.Errorf("principal: audience %q of %s is not a service name", audience, rpcService)
		}
		if v.audiences == nil {
			v.audiences = make(map[string]string)
		}
		v.audiences[rpcService] = audience
		return nil
	})
}

// WithClock replaces the clock; tests need no other.
func WithClock(now func() time.Time) VerifierOption {
	return verifierOption(func(v *Verifier) error {
		if now == nil {
			return errors.New("principal: the clock is nil")
		}
		v.now = now
		return nil
	})
}

// WithCacheSize bounds how many verified headers are kept; 4,096 by default,
// about 2 KB each.
func WithCacheSize(entries int) VerifierOption {
	return verifierOption(func(v *Verifier) error {
		if entries < 1 {
			return errors.New("principal: a cache has at least one entry")
		}
		v.verified = newCache[presentation, *verifiedEntry](entries)
		v.prefixes = newCache[string, *prefixEntry](entries)
		v.decoded = newCache[string, string](entries)
		return nil
	})
}

// Verify verifies a header, decoded, for this verifier's audience, where no TLS
// peer is known. Interceptors go through a [Guard] instead. The error is a
// [*Denial]; with an error the principal is nil.
func (v *Verifier) Verify(ctx context.Context, header string) (*Principal, error) {
	p, d := v.verify(ctx, presentation{header: header, audience: v.audience})
	switch {
	case d != nil:
		return nil, d
	case v.revocations != nil && v.staleIn(nil) <= 0:
		return nil, deny(ReasonStale)
	}
	return p, nil
}

// Context verifies a header as [Verifier.Verify] does and returns ctx with its
// principal, as a handler would see it: for work that begins with a message or a
// job instead of a call. No method's rule is checked.
func (v *Verifier) Context(ctx context.Context, header string) (context.Context, error) {
	p, err := v.Verify(ctx, header)
	if err != nil {
		return nil, err
	}
	return withState(ctx, callState{principal: p, requestID: RequestID(ctx)}), nil
}

// Settings says in a few words each how v verifies, in ascending order, for
// people who compare services: "audience=orders", "binding=mtls".
func (v *Verifier) Settings() []string {
	binding := "none"
	if v.mtls != nil {
		binding = "mtls"
	}
	all := []string{"audience=" + v.audience, "binding=" + binding, "staleness=" + v.staleness.String()}
	if v.trustDomain != "" {
		all = append(all, "relay="+v.trustDomain)
	}
	for service, audience := range v.audiences {
		all = append(all, "audience["+service+"]="+audience)
	}
	for gateway := range v.gateways {
		all = append(all, "gateway="+gateway)
	}
	for issuer := range v.identityIssuers {
		all = append(all, "identities_of_others="+issuer)
	}
	slices.Sort(all)
	return all
}

func (v *Verifier) verify(ctx context.Context, in presentation) (*Principal, *Denial) {
	if len(in.header) > wire.MaxHeader { // before it is hashed under the cache's lock
		return nil, deny(ReasonSize)
	}
	now := v.now().Unix()
	e, ok := v.verified.get(spread(in.header), in)
	if !ok || e.version != v.keys.Version() || now < e.from || now >= e.until {
		var d *Denial
		if e, d = v.verifyCold(ctx, in, now); d != nil {
			return nil, d
		}
	}
	if v.revocations == nil {
		return e.principal, nil
	}
	generation := v.revocations.Generation()
	if generation == 0 || e.generation.Load() != generation { // 0 is what an unchecked entry has
		if r := v.revocations.Check(e.principal, false); r != 0 {
			return nil, deny(r)
		}
		e.generation.Store(generation)
	}
	return e.principal, nil
}

// audienceFor returns the audience of the RPC service that a procedure
// ("/service/method") belongs to.
func (v *Verifier) audienceFor(procedure string) string {
	if v.audiences != nil {
		if a, ok := v.audiences[serviceOf(procedure)]; ok {
			return a
		}
	}
	return v.audience
}
