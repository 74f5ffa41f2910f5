package principal

import (
	"context"
	"crypto/subtle"
	"errors"
	"slices"

	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// candidate is a header on its way to being verified. The steps below run in
// the order in which they are written: cheap refusals before signatures, and
// one reason for each header, the same in every implementation of the format.
type candidate struct {
	v   *Verifier
	in  presentation
	now int64

	env    wire.Envelope
	links  [wire.MaxLinks]wire.Link
	keys   [1 + wire.MaxLinks]*Key
	prefix *prefixEntry
	p      *Principal
}

func (v *Verifier) verifyCold(ctx context.Context, in presentation, now int64) (*verifiedEntry, *Denial) {
	room := new(struct { // one allocation
		p    Principal
		held held
	})
	room.held.header, room.p.held = in.header, &room.held
	c := candidate{v: v, in: in, now: now, p: &room.p}
	version := v.keys.Version() // before the look-ups: a change in between makes the entry stale, never fresh
	if err := c.parse(version); err != nil {
		return nil, denyWire(err)
	}
	if c.tailAudience() != in.audience && (v.trustDomain == "" || c.tailAudience() != v.trustDomain) {
		return nil, deny(ReasonAudience)
	}
	from, until, ok := c.times()
	if !ok {
		return nil, deny(ReasonTime)
	}
	c.p.until = until // before the windows of keys, which can be extended
	from, until, d := c.findKeys(ctx, from, until)
	if d != nil {
		return nil, d
	}
	if c.namesForeign() {
		return nil, denyWith(ReasonUnknownKey, errForeignIdentity)
	}
	if !c.opens() {
		return nil, deny(ReasonOpening)
	}
	if !c.narrows() {
		return nil, deny(ReasonWiden)
	}
	if r := c.signatures(version); r != 0 {
		return nil, deny(r)
	}
	c.complete()
	if !c.presented() {
		return nil, deny(ReasonPresenter)
	}
	e := &verifiedEntry{principal: c.p, version: version, from: from, until: until}
	v.verified.put(spread(in.header), in, e)
	return e, nil
}

// parse reads all blocks and checks that they fit the mode. The principal of a
// known prefix has been read from the same bytes.
func (c *candidate) parse(version uint64) error {
	if err := wire.ParseEnvelope(c.in.header, &c.env); err != nil {
		return err
	}
	if c.findPrefix(version); c.prefix != nil {
		c.p.wire = c.prefix.authority
	} else if err := wire.ParsePrincipal(c.env.Authority.Payload, &c.p.wire); err != nil {
		return err
	}
	blocks := c.env.Links()
	for i := range blocks {
		if err := wire.ParseLink(blocks[i].Payload, &c.links[i]); err != nil {
			return err
		}
	}
	return wire.CheckMode(&c.env, &c.p.wire)
}

func (c *candidate) tailAudience() string {
	if n := len(c.env.Links()); n > 0 {
		return c.links[n-1].Audience
	}
	return c.p.wire.Audience
}

// times checks the life of the principal and of the links, and returns the
// seconds between which the header stays valid.
func (c *candidate) times() (from, until int64, ok bool) {
	w := &c.p.wire
	from, until = w.IssuedAt-skew, w.ExpiresAt+skew
	if w.ExpiresAt <= w.IssuedAt || w.ExpiresAt-w.IssuedAt > maxLife || w.StreamUntil != 0 && w.StreamUntil < w.ExpiresAt {
		return 0, 0, false
	}
	n := len(c.env.Links())
	for i := range n {
		if c.links[i].ExpiresAt > w.ExpiresAt {
			return 0, 0, false
		}
	}
	if n > 0 {
		deadline := c.links[n-1].ExpiresAt
		from, until = max(from, deadline-maxHold-skew), min(until, deadline+skew)
	}
	return from, until, from <= c.now && c.now < until
}

// findKeys looks up the key of every block under the name of the one who must
// have signed it: the issuer, and for a link the audience of the block before.
func (c *candidate) findKeys(ctx context.Context, from, until int64) (int64, int64, *Denial) {
	ref := KeyRef{Role: RoleAuthority, Owner: c.p.wire.Issuer, ID: c.env.Authority.KeyID}
	next := c.p.wire.Audience
	blocks := c.env.Links()
	c.p.keys = make([]KeyRef, 0, 1+len(blocks))
	for i := 0; ; i++ {
		key, err := c.v.keys.Find(ctx, ref)
		if err != nil {
			return 0, 0, denyWith(ReasonNoKeys, err)
		}
		if key == nil || key.Public == nil || key.KeyRef != ref {
			return 0, 0, deny(ReasonUnknownKey)
		}
		opens, closes := key.window()
		if c.now < opens || c.now >= closes {
			return 0, 0, deny(ReasonUnknownKey)
		}
		from, until = max(from, opens), min(until, closes)
		c.keys[i] = key
		c.p.keys = append(c.p.keys, ref)
		if i == len(blocks) {
			return from, until, nil
		}
		ref = KeyRef{Role: RoleLink, Owner: next, ID: blocks[i].KeyID}
		next = c.links[i].Audience
	}
}

// errForeignIdentity names nobody: the signatures have not been checked yet.
var errForeignIdentity = errors.New("an identity is not for this issuer to name: see WithIdentityIssuers")

// namesForeign reports whether there is an identity that the principal's issuer
// may not name. Otherwise every issuer that is trusted at all could speak
// for the humans and agents of all others.
func (c *candidate) namesForeign() bool {
	w := &c.p.wire
	may := c.v.identityIssuers[w.Issuer]
	if i := w.Subject.Issuer; i != "" && !may[i] {
		return true
	}
	for k := range w.Delegations {
		if i := w.Delegations[k].Actor.Issuer; i != "" && !may[i] {
			return true
		}
	}
	return false
}

// opens checks that whoever presents the header holds the whole chain: only the
// last block's opening is handed on, so a shorter prefix cannot be presented.
// Two blocks with the same commitment would be opened by the same opening.
func (c *candidate) opens() bool {
	if c.p.wire.Relay() {
		return true
	}
	seen := make([]wire.ID, 0, 1+wire.MaxLinks)
	commitment := c.p.wire.Commitment
	for i := range c.env.Links() {
		seen = append(seen, commitment)
		commitment = c.links[i].Commitment
		if slices.Contains(seen, commitment) {
			return false
		}
	}
	want := wire.Commitment(wire.ID([]byte(c.env.Opening)))
	return subtle.ConstantTimeCompare(want[:], commitment[:]) == 1
}

func (c *candidate) findPrefix(version uint64) {
	if n := c.env.PrefixLen(); n > 0 {
		prefix := c.in.header[:n]
		if e, ok := c.v.prefixes.get(spread(prefix), prefix); ok && e.version == version {
			c.prefix = e
		}
	}
}

// narrows checks that each link claims at most what its parent had, and works
// out what is left. A link that claims more is a refusal, not an intersection:
// it is an error of the service that signed it, and hiding it would teach
// others to rely on it.
func (c *candidate) narrows() bool {
	p, blocks := c.p, c.env.Links()
	if len(blocks) > int(p.wire.MaxLinks) {
		return false
	}
	p.scopes, p.roles = p.wire.Scopes, p.wire.Roles
	first := 0
	if c.prefix != nil {
		p.scopes, p.roles = c.prefix.scopes, c.prefix.roles
		first = len(blocks) - 1
	}
	for i := first; i < len(blocks); i++ {
		var ok bool
		if p.scopes, p.roles, ok = narrow(p.scopes, p.roles, &c.links[i]); !ok {
			return false
		}
	}
	return true
}

// narrow returns what a link leaves of scopes and roles, and whether it claims
// no more than them.
func narrow(scopes, roles []string, link *wire.Link) (leftScopes, leftRoles []string, ok bool) {
	switch {
	case !link.HasScopes:
		return scopes, roles, true
	case !isSubset(link.Scopes, scopes):
		return nil, nil, false
	default:
		return link.Scopes, nil, true
	}
}

// isSubset reports whether all of sub is in super; both are strictly ascending.
func isSubset(sub, super []string) bool {
	for _, s := range sub {
		at, found := slices.BinarySearch(super, s)
		if !found {
			return false
		}
		super = super[at+1:]
	}
	return true
}

// signatures verifies the tail's signature first, so that a header with a bad
// tail costs one verification however long it is.
func (c *candidate) signatures(version uint64) Reason {
	tail := len(c.env.Links())
	buf := make([]byte, 0, len(c.in.header)+64)
	var before [1 + wire.MaxLinks]wire.Transcript // each block's
	if c.prefix != nil {
		before[tail] = c.prefix.transcript
	} else {
		for i := range tail {
			before[i+1] = before[i].Extend(buf, c.env.Block(i))
		}
	}
	verify := func(i int) Reason {
		b := c.env.Block(i)
		buf = before[i].AppendSigned(buf[:0], i > 0, b.KeyID, b.Payload)
		buf = append(buf, b.Signature...)
		split := len(buf) - wire.SignatureLen
		return c.keys[i].Public.verify(buf[:split], buf[split:])
	}
	if r := verify(tail); r != 0 || c.prefix != nil {
		return r
	}
	for i := range tail {
		if r := verify(i); r != 0 {
			return r
		}
	}
	c.rememberPrefix(version, before[tail])
	return 0
}

func (c *candidate) rememberPrefix(version uint64, transcript wire.Transcript) {
	blocks := c.env.Links()
	if len(blocks) == 0 {
		return
	}
	scopes, roles := c.p.wire.Scopes, c.p.wire.Roles
	for i := range len(blocks) - 1 {
		scopes, roles, _ = narrow(scopes, roles, &c.links[i]) // it has been checked
	}
	prefix := c.in.header[:c.env.PrefixLen()]
	c.v.prefixes.put(spread(prefix), prefix, &prefixEntry{version: version, authority: c.p.wire, transcript: transcript, scopes: scopes, roles: roles})
}

// complete gives the principal, now that it is genuine, its chain and its actor.
func (c *candidate) complete() {
	p := c.p
	if n := len(c.env.Links()); n > 0 {
		p.chain = make([]hop, n)
	}
	signer := p.wire.Audience
	for i := range p.chain {
		p.chain[i] = hop{signer: signer, audience: c.links[i].Audience, commitment: c.links[i].Commitment}
		signer = c.links[i].Audience
	}
	actor := &p.wire.Subject
	if n := len(p.wire.Delegations); n > 0 {
		actor = &p.wire.Delegations[n-1].Actor
	}
	p.actor = identityFrom(actor, p.wire.Issuer)
}

// presented checks who handed the header over, where the binding is mTLS, and
// notes who that was.
func (c *candidate) presented() bool {
	p := c.p
	claimed := p.wire.Presenter
	if len(p.chain) > 0 {
		claimed = p.chain[len(p.chain)-1].signer
	}
	p.presenter, p.caller = claimed, claimed
	if c.v.mtls == nil {
		return true
	}
	peer := c.in.peer
	if peer == "" {
		return false
	}
	if len(p.chain) == 0 {
		p.caller = peer
	}
	if c.v.gateways[peer] {
		return true // it hands over what others signed; who that was stays a claim of the chain
	}
	if p.Relay() {
		p.presenter, p.presenterVerified = peer, true
		return true
	}
	p.presenterVerified = true
	return claimed == peer
}
