package revocation

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// remembered is how long an event is kept: the longest life of a principal and
// twice the skew that verifiers allow.
const remembered = 6 * time.Minute

// markInterval is how finely the index knows when it learned what. It bounds
// both the marks and how often the whole index is swept.
const markInterval = 15 * time.Second

const shardCount = 64

// Index is a [principal.Revocations] in memory, about 30 bytes for each event.
// It is safe for concurrent use. Make one with [NewIndex].
//
// An event is forgotten after six minutes. From then on principals that were
// issued before it are refused altogether, with [principal.ReasonFloor]: who of
// them was revoked is not known any more. That keeps a principal out that a
// clock far behind would let live for longer.
type Index struct {
	issuer     string
	generation atomic.Uint64
	floor      atomic.Uint64 // the highest sequence forgotten, here or before
	missed     atomic.Uint64 // the highest sequence that was forgotten before it was heard of here
	heard      atomic.Pointer[heard]

	seed   maphash.Seed
	shards [shardCount]shard
	keys   keys

	mu       sync.Mutex // held by those who change the index
	sequence uint64
	marks    []mark // oldest first
	onChange []func()
}

// heard is when the source was last heard, and since when nothing is missing.
type heard struct{ at, complete time.Time }

// Event revokes what was issued below its sequence.
type Event struct {
	Sequence uint64
	Target   Target
}

// Update is one message of a feed.
type Update struct {
	// Previous and Sequence say what the message is about: all that happened
	// after Previous, up to and with Sequence. They are equal if that is nothing.
	Previous, Sequence uint64
	// Floor is the highest sequence that a snapshot does not tell of.
	Floor  uint64
	Events []Event
	// Sent is when the message was sent, or before; Age how long before that the
	// issuer knew that nothing was missing.
	Sent time.Time
	Age  time.Duration
}

// ErrGap says that something happened between what is known and an update.
var ErrGap = errors.New("revocation: events are missing")

// shard maps the hash of a target to the sequence of its revocation. The seed is
// secret, so that nobody can choose two targets with one hash; two that have one
// by chance are refused together.
type shard struct {
	mu     sync.RWMutex
	events map[uint64]uint64
}

type keys struct {
	mu      sync.RWMutex
	revoked map[principal.KeyRef]struct{}
}

// mark says that sequences up to this one were known at a time.
type mark struct {
	at       time.Time
	sequence uint64
}

// NewIndex returns an empty index for the feed of one issuer. Of principals of
// other issuers it refuses all that an event names, whenever they were issued:
// their sequences count something else.
func NewIndex(issuer string) (*Index, error) {
	if issuer == "" {
		return nil, errors.New("revocation: an index needs the name of the issuer whose feed it follows")
	}
	x := &Index{issuer: issuer, seed: maphash.MakeSeed()}
	x.generation.Store(1)
	x.keys.revoked = make(map[principal.KeyRef]struct{})
	for i := range x.shards {
		x.shards[i].events = make(map[uint64]uint64)
	}
	return x, nil
}

// Apply learns what a feed says at a time. When it returns, Check refuses what
// was revoked. An update that begins above what is known is [ErrGap]; one that
// ends below it is an error too: a store that went back in time must not make
// services forget. Either changes nothing.
func (x *Index) Apply(now time.Time, u Update) error {
	return x.learn(now, u, u.Previous)
}

// Load learns a snapshot: all events up to its sequence but for those up to its
// floor. It adds to what is known, and may leave a gap to that.
func (x *Index) Load(now time.Time, u Update) error {
	return x.learn(now, u, 0)
}

func (x *Index) learn(now time.Time, u Update, previous uint64) error {
	for _, e := range u.Events {
		if e.Target.kind == 0 || e.Sequence > u.Sequence {
			return fmt.Errorf("revocation: event %d of update %d has no target or comes after it", e.Sequence, u.Sequence)
		}
	}
	x.mu.Lock()
	switch {
	case u.Sequence < x.sequence:
		defer x.mu.Unlock()
		return fmt.Errorf("revocation: the feed went back from %d to %d", x.sequence, u.Sequence)
	case previous > x.sequence:
		defer x.mu.Unlock()
		return fmt.Errorf("%w: from %d to %d", ErrGap, x.sequence, previous)
	}
	changed := len(u.Events) > 0
	for _, e := range u.Events {
		x.add(e.Target, e.Sequence)
	}
	if u.Floor > x.floor.Load() {
		changed = true
		if u.Floor > x.sequence {
			x.missed.Store(u.Floor)
		}
		x.floor.Store(u.Floor)
	}
	x.sequence = u.Sequence
	if len(u.Events) > 0 {
		x.mark(now)
	}
	changed = x.forget(now) || changed
	if changed {
		x.generation.Add(1) // last: a header must not be marked as checked before the event can be seen
	}
	x.heard.Store(&heard{at: u.Sent, complete: u.Sent.Add(-u.Age)})
	listeners := x.onChange
	x.mu.Unlock()
	if changed {
		for _, f := range listeners {
			f()
		}
	}
	return nil
}

// OnChange implements [principal.Revocations].
func (x *Index) OnChange(f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.onChange = append(slices.Clip(x.onChange), f)
}

// Sequence returns up to where everything is known; 0 before the first update.
func (x *Index) Sequence() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.sequence
}

// Generation implements [principal.Revocations].
func (x *Index) Generation() uint64 { return x.generation.Load() }

// Age implements [principal.Revocations]. Both are the longest duration there is
// until the index has heard of the feed.
func (x *Index) Age(now time.Time) (unheard, age time.Duration) {
	h := x.heard.Load()
	if h == nil {
		return math.MaxInt64, math.MaxInt64
	}
	return max(0, now.Sub(h.at)), max(0, now.Sub(h.complete))
}

// Check implements [principal.Revocations].
func (x *Index) Check(p *principal.Principal, open bool) principal.Reason {
	issuer := p.Issuer()
	issued := uint64(0) // of another issuer: before everything
	if issuer == x.issuer {
		issued = p.RevocationSequence()
	}
	subject := p.Subject()
	if t, ok := acting(subject); ok && x.has(t, issued) {
		return principal.ReasonRevoked
	}
	if x.signedByRevoked(p, issued) || x.has(Identity(subject), issued) || x.has(Principal(issuer, p.ID()), issued) {
		return principal.ReasonRevoked
	}
	if session, ok := p.SessionID(); ok && x.has(Session(issuer, session), issued) {
		return principal.ReasonRevoked
	}
	for _, d := range p.Delegations() {
		if x.has(Grant(issuer, d.GrantID), issued) || x.has(Identity(d.Actor), issued) {
			return principal.ReasonRevoked
		}
	}
	floor := &x.floor
	if open {
		floor = &x.missed
	}
	if issuer == x.issuer && issued < floor.Load() {
		return principal.ReasonFloor
	}
	return 0
}

func (x *Index) signedByRevoked(p *principal.Principal, issued uint64) bool {
	signers := p.SigningKeys()
	x.keys.mu.RLock()
	defer x.keys.mu.RUnlock()
	for _, ref := range signers {
		if _, revoked := x.keys.revoked[ref]; revoked {
			return true
		}
		if ref.Role == principal.RoleLink && x.has(Service(ref.Owner), issued) {
			return true
		}
	}
	return false
}

// has reports whether t was revoked, and what was issued at that sequence is
// part of it.
func (x *Index) has(t Target, issued uint64) bool {
	hash := t.hash(x.seed)
	s := &x.shards[hash%shardCount]
	s.mu.RLock()
	sequence, revoked := s.events[hash]
	s.mu.RUnlock()
	return revoked && (issued < sequence || !t.returns())
}

func (x *Index) add(t Target, sequence uint64) {
	if t.kind == ofKey {
		x.keys.mu.Lock()
		defer x.keys.mu.Unlock()
		x.keys.revoked[t.key] = struct{}{}
		return
	}
	hash := t.hash(x.seed)
	s := &x.shards[hash%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events[hash] = max(sequence, s.events[hash])
}

// mark notes when the last event was learned. Events of one interval share a
// mark, whose time is that of the youngest: none is forgotten too early.
func (x *Index) mark(at time.Time) {
	interval := at.UnixNano() / int64(markInterval)
	if n := len(x.marks); n > 0 && x.marks[n-1].at.UnixNano()/int64(markInterval) == interval {
		x.marks[n-1] = mark{at: at, sequence: x.sequence}
		return
	}
	x.marks = append(x.marks, mark{at: at, sequence: x.sequence})
}

// forget drops the events that are old enough, and reports whether the floor has
// risen. The floor rises first: at no time is an event neither known nor below it.
func (x *Index) forget(now time.Time) bool {
	var floor uint64
	for len(x.marks) > 0 && now.Sub(x.marks[0].at) >= remembered {
		floor = x.marks[0].sequence
		x.marks = x.marks[1:]
	}
	if floor <= x.floor.Load() {
		return false
	}
	x.floor.Store(floor)
	for i := range x.shards {
		x.shards[i].forget(floor)
	}
	return true
}

func (s *shard) forget(floor uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for hash, sequence := range s.events {
		if sequence <= floor {
			delete(s.events, hash)
		}
	}
}
