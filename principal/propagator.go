package principal

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// Propagator passes the principal of the call at hand on to other services. The
// inbound header decides the mode: a relayed one is forwarded unchanged, a
// linked one gets a link that names the next service. It is safe for concurrent
// use.
type Propagator struct {
	service string
	key     *blockSigner // nil: relays only
	now     func() time.Time
	links   *cache[linkKey, heldLink]
}

// linkKey is all that a link depends on. Never the principal's id: in a cycle
// the same principal arrives with different rights.
type linkKey struct {
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
		signer, err := newBlockSigner(key, keyID)
		if err != nil {
			return err
		}
		p.service, p.key = service, signer
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

// Key returns the public half of the link key, if there is one.
func (p *Propagator) Key() (Key, bool) {
	if p.key == nil {
		return Key{}, false
	}
	return Key{KeyRef: KeyRef{Role: RoleLink, Owner: p.service, ID: p.key.id}, Public: p.key.public}, true
}

// Header returns what to send with a call that is made with ctx to procedure
// ("/service/method", or "" for plain HTTP) of the service audience. An error
// means that nothing may be sent at all; see [SendCode].
func (p *Propagator) Header(ctx context.Context, audience, procedure string) (Header, error) {
	s := stateFrom(ctx)
	if s == nil {
		return Header{}, ErrNoPrincipal
	}
	if s.principal == nil {
		return Header{}, nil
	}
	if !wire.IsServiceName(audience) {
		return Header{}, fmt.Errorf("principal: audience %q of the connection is not a service name", audience)
	}
	now := p.now().Unix()
	if now >= s.principal.wire.ExpiresAt+skew {
		return Header{}, deny(ReasonTime)
	}
	if s.principal.Relay() {
		return Header{s.principal.held}, nil
	}
	if p.key == nil {
		return Header{}, errors.New("principal: a linked principal cannot be passed on without a link key: see WithLinkKey")
	}
	key := linkKey{parent: s.principal.held.header, audience: audience, narrowed: s.narrowed}
	if s.narrowed {
		key.scopes = strings.Join(s.scopes, "\x00")
	}
	once := registryRules().singleUse(procedure)
	where := spread(key.parent)
	if held, ok := p.links.get(where, key); ok && now < held.until && !once {
		return held.header, nil
	}
	header, until, err := p.link(s, audience, now)
	if err != nil {
		return Header{}, err
	}
	if !once {
		p.links.put(where, key, heldLink{header: header, until: until})
	}
	return header, nil
}

// link appends a link to the principal of s.
func (p *Propagator) link(s *callState, audience string, now int64) (Header, int64, error) {
	var env wire.Envelope
	if err := wire.ParseEnvelope(s.principal.held.header, &env); err != nil {
		return Header{}, 0, fmt.Errorf("principal: %w", err) // cannot be: it was verified
	}
	if s.principal.Audience() != p.service {
		return Header{}, 0, fmt.Errorf("principal: the principal was verified for %q, but the link key belongs to %q", s.principal.Audience(), p.service)
	}
	if n := len(env.Links()); n >= int(s.principal.wire.MaxLinks) {
		return Header{}, 0, fmt.Errorf("principal: the principal may be passed on %d times and has been", n)
	}
	var opening wire.ID
	rand.Read(opening[:])
	expires := min(now+maxHold, s.principal.wire.ExpiresAt)
	link := wire.Link{Audience: audience, HasScopes: s.narrowed, Scopes: s.scopes, ExpiresAt: expires, Commitment: wire.Commitment(opening)}
	payload := string(wire.AppendLinkPayload(nil, &link))

	var scratch [1024]byte
	var transcript wire.Transcript
	for i := range 1 + len(env.Links()) {
		transcript = transcript.Extend(scratch[:0], env.Block(i))
	}
	signature, err := p.key.sign(transcript.AppendSigned(scratch[:0], true, p.key.id, payload))
	if err != nil {
		return Header{}, 0, err
	}
	header := wire.AppendHead(make([]byte, 0, len(s.principal.held.header)+256), env.Authority)
	for _, b := range env.Links() {
		header = wire.AppendLink(header, b)
	}
	header = wire.AppendLink(header, wire.Block{Payload: payload, KeyID: p.key.id, Signature: string(signature)})
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
