package principal

import (
	"crypto/rand"
	"encoding/base64"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// LeaseHeaderName is the header by which a stream outlives the principal that it
// was opened with. A client that wants that sends "new" when it opens the stream,
// and the server answers with a header of the same name: an id that nobody can
// guess. Later calls of the same method that carry the id and a fresh principal
// renew the stream instead of being handled.
const LeaseHeaderName = "x-principal-lease"

// LeaseWanted is the value of LeaseHeaderName with which a stream is opened.
const LeaseWanted = "new"

type leaseID [16]byte

var leaseText = base64.RawURLEncoding.Strict()

// leaseCall is what a call's lease header says.
type leaseCall struct {
	wanted, renewal bool
	id              leaseID
	bad             Reason
}

func parseLease(values []string) leaseCall {
	switch {
	case len(values) == 0:
		return leaseCall{}
	case len(values) > 1:
		return leaseCall{bad: ReasonMultiple}
	case values[0] == LeaseWanted:
		return leaseCall{wanted: true}
	}
	c := leaseCall{renewal: true}
	if len(values[0]) != leaseText.EncodedLen(len(c.id)) {
		return leaseCall{bad: ReasonMalformed}
	}
	if n, err := leaseText.Decode(c.id[:], []byte(values[0])); err != nil || n != len(c.id) {
		return leaseCall{bad: ReasonMalformed}
	}
	return c
}

// lease is the principal of a stream that can be replaced by a fresh one.
type lease struct {
	current atomic.Pointer[Principal]
	// outgoing, if any, is what calls pass on in place of the current one. It has
	// not been verified, and nobody else sees it.
	outgoing *Principal

	mu      sync.Mutex
	renewed chan struct{} // closed with the next renewal
}

func newLease(p *Principal) *lease {
	l := &lease{renewed: make(chan struct{})}
	l.current.Store(p)
	return l
}

// next returns a channel that is closed when the principal is replaced again.
func (l *lease) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.renewed
}

// renew replaces the principal, or says why not. The rights of a stream never
// grow: not beyond those that it was opened with, nor beyond those that it was
// renewed with last.
func (l *lease) renew(p *Principal) Reason {
	l.mu.Lock()
	defer l.mu.Unlock()
	have := l.current.Load()
	switch {
	case !isSubset(p.scopes, have.scopes):
		return ReasonScope
	case !isSubset(p.roles, have.roles):
		return ReasonRole
	case p.wire.IssuedAt < have.wire.IssuedAt, p.wire.ExpiresAt < have.wire.ExpiresAt:
		return ReasonTime // it has been overtaken
	}
	l.current.Store(p)
	if p.wire.ExpiresAt > have.wire.ExpiresAt {
		close(l.renewed)
		l.renewed = make(chan struct{})
	}
	return 0
}

// Lease gives the stream a lease, if its caller has asked for one, and returns
// the id that the caller is to be told; else "". It is called once.
func (h *Hold) Lease() string {
	if h.lease == nil {
		return ""
	}
	rand.Read(h.id[:])
	h.guard.verifier.leases.put(h)
	return leaseText.EncodeToString(h.id[:])
}

// renew gives the stream with that id the principal of another call, which has
// been let in. An id that belongs to nobody and one that belongs to somebody
// else look alike.
func (g *Guard) renew(id leaseID, event *Event, generation uint64) Reason {
	v := g.verifier
	h := v.leases.get(id)
	if h == nil || h.guard != g || !h.isFor(event) {
		return ReasonCaller
	}
	if reason := h.lease.renew(event.Principal); reason != 0 {
		return reason
	}
	if v.revocations != nil && v.changedSince(generation) { // which was reviewed with the old one
		if reason := v.check(event.Principal, false); reason != 0 {
			h.end.Terminate(reason)
			return reason
		}
	}
	return 0
}

// isFor reports whether a call comes from where the stream's came from, and is
// for the same session, acted for by the same agents under the same grants.
func (h *Hold) isFor(call *Event) bool {
	have, p := h.latest(), call.Principal
	a, b := &have.wire, &p.wire
	return h.event.Procedure == call.Procedure && h.event.Peer == call.Peer &&
		a.Issuer == b.Issuer && a.Audience == b.Audience && a.Presenter == b.Presenter &&
		a.Tenant == b.Tenant && a.ClientID == b.ClientID &&
		have.Subject() == p.Subject() && have.actor == p.actor && slices.Equal(have.Delegations(), p.Delegations()) &&
		slices.EqualFunc(have.chain, p.chain, func(x, y hop) bool { return x.signer == y.signer && x.audience == y.audience }) &&
		have.presenter == p.presenter && have.presenterVerified == p.presenterVerified && have.caller == p.caller &&
		sameSession(a, b)
}

// sameSession reports whether both are of one session. A service that acts for
// itself has none and needs none.
func sameSession(a, b *wire.Principal) bool {
	if a.HasSessionID || b.HasSessionID {
		return a.HasSessionID && b.HasSessionID && a.SessionID == b.SessionID
	}
	return a.Subject.Spelling == wire.ServiceName && len(a.Delegations) == 0
}

// leases are the streams that can be renewed. There are never more than streams
// that are open.
type leases struct {
	mu   sync.RWMutex
	byID map[leaseID]*Hold
}

func (l *leases) put(h *Hold) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID == nil {
		l.byID = make(map[leaseID]*Hold)
	}
	l.byID[h.id] = h
}

func (l *leases) get(id leaseID) *Hold {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.byID[id]
}

func (l *leases) remove(h *Hold) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID[h.id] == h {
		delete(l.byID, h.id)
	}
}
