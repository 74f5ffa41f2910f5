package principal

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// Propagator passes the principal of the call at hand on to other services. The
// inbound header decides the mode: a relayed one is forwarded unchanged, a
// linked one gets a link that names the next service. It is safe for concurrent
// use.
type Propagator struct {
	service string
	key     *LinkKeySource // nil: relays only
	now     func() time.Time
	links   *cache[linkKey, heldLink]

	leasing bool
	renewal RenewalSource
}

// linkKey is all that a link depends on. Never the principal's id: in a cycle
// the same principal arrives with different rights.
type linkKey struct {
	key      *PublicKey // a link must not outlive its key because it is held, nor be sent in the name of the next one
	parent   string
	audience string
	narrowed bool
	scopes   string
}

type heldLink struct {
	header Header
	until  int64 // seconds; half of the link's life
}

// Header is a header ready to be sent. The zero value stands for an anonymous
// call: nothing is sent.
type Header struct{ held *held }

// Format keeps every verb of fmt from printing what a bearer could use.
func (Header) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "principal.Header{withheld}") }

// Binary returns the decoded bytes, as grpc-go takes them; "" sends none.
func (h Header) Binary() string {
	if h.held == nil {
		return ""
	}
	return h.held.header
}

// Text returns the value as base64, for HTTP and Connect; "" sends none.
func (h Header) Text() string {
	if h.held == nil {
		return ""
	}
	return h.held.encoded()
}

// PropagatorOption changes a [Propagator].
type PropagatorOption interface{ applyPropagator(*Propagator) error }

type propagatorOption func(*Propagator) error

func (f propagatorOption) applyPropagator(p *Propagator) error { return f(p) }

// NewPropagator returns a propagator that relays. With [WithLinkKey] it also
// signs links.
func NewPropagator(opts ...PropagatorOption) (*Propagator, error) {
	p := &Propagator{now: time.Now, links: newCache[linkKey, heldLink](defaultCacheEntries)}
	for _, opt := range opts {
		if err := opt.applyPropagator(p); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// WithLinkKey gives the propagator the key with which the service signs links.
// Its public half must be in the other services' key sets, in the role of link
// keys and owned by service. keyID is as for [NewSigner].
func WithLinkKey(service string, key crypto.Signer, keyID string) PropagatorOption {
	return propagatorOption(func(p *Propagator) error {
		if !wire.IsServiceName(service) {
			return fmt.Errorf("principal: link key of %q: not a service name", service)
		}
		source := new(LinkKeySource)
		if err := source.Set(key, keyID); err != nil {
			return err
		}
		p.service, p.key = service, source
		return nil
	})
}

// LinkKeySource holds the link key of a service whose key changes while it runs.
// The zero value has none. It is safe for concurrent use.
type LinkKeySource struct{ current atomic.Pointer[blockSigner] }

// Set replaces the key: links are signed with it from then on, and those that
// are held from before are not sent any more. keyID is as for [NewSigner].
func (s *LinkKeySource) Set(key crypto.Signer, keyID string) error {
	signer, err := newBlockSigner(key, keyID)
	if err != nil {
		return err
	}
	s.current.Store(signer)
	return nil
}

// Clear takes the key away. Until another one is set, principals in linked mode
// cannot be passed on.
func (s *LinkKeySource) Clear() { s.current.Store(nil) }

// Format keeps every verb of fmt from printing the private key.
func (s *LinkKeySource) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "principal.LinkKeySource{withheld}")
}

// WithLinkKeySource is [WithLinkKey] for a key that changes.
func WithLinkKeySource(service string, source *LinkKeySource) PropagatorOption {
	return propagatorOption(func(p *Propagator) error {
		if !wire.IsServiceName(service) {
			return fmt.Errorf("principal: link keys of %q: not a service name", service)
		}
		if source == nil {
			return errors.New("principal: the source of link keys is nil")
		}
		p.service, p.key = service, source
		return nil
	})
}

// WithPropagatorClock replaces the clock.
func WithPropagatorClock(now func() time.Time) PropagatorOption {
	return propagatorOption(func(p *Propagator) error {
		p.now = now
		return nil
	})
}

// Format keeps every verb of fmt from printing the private key: %s and others
// follow pointers that %v does not.
func (p *Propagator) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "principal.Propagator{"+p.service+"}")
}

// Key returns the public half of the link key, if there is one now.
func (p *Propagator) Key() (Key, bool) {
	signer := p.signer()
	if signer == nil {
		return Key{}, false
	}
	return Key{KeyRef: KeyRef{Role: RoleLink, Owner: p.service, ID: signer.id}, Public: signer.public}, true
}

// signer returns what signs links now, or nil.
func (p *Propagator) signer() *blockSigner {
	if p.key == nil {
		return nil
	}
	return p.key.current.Load()
}

// Header returns what to send with a call that is made with ctx to procedure
// ("/service/method", or "" for plain HTTP) of the service audience. An error
// means that nothing may be sent at all; see [SendCode].
func (p *Propagator) Header(ctx context.Context, audience, procedure string) (Header, error) {
	s := stateFrom(ctx)
	if s == nil {
		return Header{}, ErrNoPrincipal
	}
	from := s.passes()
	if from == nil {
		return Header{}, nil
	}
	if !wire.IsServiceName(audience) {
		return Header{}, fmt.Errorf("principal: audience %q of the connection is not a service name", audience)
	}
	now := p.now().Unix()
	if now >= from.wire.ExpiresAt+skew {
		return Header{}, deny(ReasonTime)
	}
	if from.Relay() {
		return Header{from.held}, nil
	}
	signer := p.signer()
	if signer == nil {
		return Header{}, errors.New("principal: a linked principal cannot be passed on without a link key: see WithLinkKey")
	}
	key := linkKey{key: signer.public, parent: from.held.header, audience: audience, narrowed: s.narrowed}
	if s.narrowed {
		key.scopes = strings.Join(s.passedScopes(from), "\x00")
	}
	once := registryRules().singleUse(procedure)
	where := spread(key.parent)
	if held, ok := p.links.get(where, key); ok && now < held.until && !once {
		return held.header, nil
	}
	header, until, err := p.link(signer, s, from, audience, now)
	if err != nil {
		return Header{}, err
	}
	if !once {
		p.links.put(where, key, heldLink{header: header, until: until})
	}
	return header, nil
}

// link appends a link to what calls of s pass on.
func (p *Propagator) link(signer *blockSigner, s *callState, from *Principal, audience string, now int64) (Header, int64, error) {
	var env wire.Envelope
	if err := wire.ParseEnvelope(from.held.header, &env); err != nil {
		return Header{}, 0, fmt.Errorf("principal: %w", err) // cannot be: it was verified
	}
	if from.Audience() != p.service {
		return Header{}, 0, fmt.Errorf("principal: the principal was verified for %q, but the link key belongs to %q", from.Audience(), p.service)
	}
	if n := len(env.Links()); n >= int(from.wire.MaxLinks) {
		return Header{}, 0, fmt.Errorf("principal: the principal may be passed on %d times and has been", n)
	}
	var opening wire.ID
	rand.Read(opening[:])
	expires := min(now+maxHold, from.wire.ExpiresAt)
	link := wire.Link{Audience: audience, HasScopes: s.narrowed, Scopes: s.passedScopes(from), ExpiresAt: expires, Commitment: wire.Commitment(opening)}
	payload := string(wire.AppendLinkPayload(nil, &link))

	var scratch [1024]byte
	var transcript wire.Transcript
	for i := range 1 + len(env.Links()) {
		transcript = transcript.Extend(scratch[:0], env.Block(i))
	}
	signature, err := signer.sign(transcript.AppendSigned(scratch[:0], true, signer.id, payload))
	if err != nil {
		return Header{}, 0, err
	}
	header := wire.AppendHead(make([]byte, 0, len(from.held.header)+256), env.Authority)
	for _, b := range env.Links() {
		header = wire.AppendLink(header, b)
	}
	header = wire.AppendLink(header, wire.Block{Payload: payload, KeyID: signer.id, Signature: string(signature)})
	header = wire.AppendOpening(header, opening)
	if len(header) > wire.MaxHeader {
		return Header{}, 0, fmt.Errorf("principal: with this link the header has %d bytes; %d are allowed: mint smaller principals", len(header), wire.MaxHeader)
	}
	return Header{&held{header: string(header)}}, now + (expires-now)/2, nil
}

// SendCode returns the status for a call that [Propagator.Header] refused, and
// CodeOK for nil.
func SendCode(err error) Code {
	if err == nil {
		return CodeOK
	}
	if r := ReasonOf(err); r != 0 {
		return r.Code()
	}
	return CodeFailedPrecondition
}
