package trust

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	mathrand "math/rand/v2"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// ring holds the service's own link keys: the one that signs, and the one that is
// to follow it.
type ring struct {
	node   *Node
	source principal.LinkKeySource // has current

	mu       sync.Mutex
	current  *ownKey // is published, by the feed's word
	pending  *ownKey
	inFlight bool      // pending is being enrolled: the edge answers when all have it
	token    string    // "" when it has been used
	lost     error     // why there is no current key, once there was one
	failure  error     // why the last enrolment failed
	doubt    time.Time // until when an uncertain key may still show in the feed

	ready    chan struct{} // closed when there is a key for the first time
	hopeless chan struct{} // closed when it is clear that there will be none
	given    bool          // hopeless is closed
	wake     chan struct{} // holds one while enroll should look again
}

// ownKey is a key that was made here. Its private half never leaves.
type ownKey struct {
	ref     principal.KeyRef
	private ed25519.PrivateKey
	public  *principal.PublicKey
	der     []byte // the public half as SubjectPublicKeyInfo

	accepted  bool   // by the edge
	sequence  uint64 // of the event that publishes it, if it was accepted
	uncertain bool   // an attempt has ended without an answer: it may be enrolled all the same

	notAfter       time.Time // on the edge's clock; zero for ever
	renew, expires time.Time // on the own clock
}

func newRing(n *Node, token string) (*ring, error) {
	if token == "" && !n.lines.certified() {
		return nil, errors.New("trust: to enrol its link key the service must show who it is: " +
			"use a client certificate (WithTLSConfig) or WithEnrollmentToken, or WithoutLinkKey if it does not pass principals on")
	}
	return &ring{
		node: n, token: token,
		ready: make(chan struct{}), hopeless: make(chan struct{}), wake: make(chan struct{}, 1),
	}, nil
}

func (r *ring) newKey() (*ownKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	public, err := principal.NewPublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	ref := principal.KeyRef{Role: principal.RoleLink, Owner: r.node.service, ID: public.ID()}
	return &ownKey{ref: ref, private: private, public: public, der: der}, nil
}

// review compares the own keys with what the feed says up to sequence. A key that
// is not published any more signs nothing from here on; one that is, follows.
func (r *ring) review(ctx context.Context, sequence uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reviewLocked(ctx, sequence)
}

func (r *ring) reviewLocked(ctx context.Context, sequence uint64) {
	if c := r.current; c != nil {
		key, revoked := r.published(c)
		switch {
		case revoked:
			r.lose(ctx, errors.New("trust: the service's link key was revoked"))
		case key == nil:
			r.lose(ctx, errors.New("trust: the service's link key is not published any more"))
		case !c.expires.IsZero() && !r.node.now().Before(c.expires):
			r.lose(ctx, errors.New("trust: the service's link key has expired"))
		case !key.NotAfter.Equal(c.notAfter):
			r.limit(c, key.NotAfter)
		}
	}
	p := r.pending
	if p == nil {
		return
	}
	key, revoked := r.published(p)
	switch {
	case revoked, key == nil && p.accepted && p.sequence > 0 && p.sequence <= sequence:
		r.pending = nil
		r.look()
	case key != nil && !r.inFlight:
		r.adopt(ctx, key)
	}
}

// published returns the record under which the feed has a key of ours.
func (r *ring) published(own *ownKey) (key *principal.Key, revoked bool) {
	key, revoked = r.node.keys.published(own.ref)
	if key != nil && !key.Public.Equal(own.public) {
		key = nil
	}
	return key, revoked
}

// adopt makes the pending key the one that signs.
func (r *ring) adopt(ctx context.Context, key *principal.Key) {
	p := r.pending
	if err := r.source.Set(p.private, p.ref.ID); err != nil {
		r.failure = err
		return
	}
	r.current, r.pending, r.token, r.lost, r.failure = p, nil, "", nil, nil
	r.limit(p, key.NotAfter)
	r.node.logger.InfoContext(ctx, "link key in use", "key", p.ref.ID, "not_after", p.notAfter)
	select {
	case <-r.ready:
	default:
		close(r.ready)
	}
	r.look()
}

// limit notes when the key stops verifying, and when to have another one: about
// half way.
func (r *ring) limit(own *ownKey, notAfter time.Time) {
	own.notAfter, own.renew, own.expires = notAfter, time.Time{}, time.Time{}
	if notAfter.IsZero() {
		return
	}
	now := r.node.now()
	left := max(0, notAfter.Sub(r.node.edgeNow()))
	own.expires = now.Add(left)
	own.renew = now.Add(left/2 - left/20 + mathrand.N(left/10+1)) //nolint:gosec // nothing secret hangs on it
	r.look()
}

// lose stops the signing.
func (r *ring) lose(ctx context.Context, why error) {
	r.source.Clear()
	r.node.logger.ErrorContext(ctx, "link key lost: linked principals cannot be passed on", "key", r.current.ref.ID, "reason", why)
	r.current, r.lost = nil, why
	r.look()
}

// look has enroll look again.
func (r *ring) look() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// signer returns the key that signs now, or why there is none.
func (r *ring) signer() (*ownKey, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == nil {
		return nil, r.healthLocked()
	}
	return r.current, nil
}

// trouble is why there is no key yet.
func (r *ring) trouble() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failure
}

// health is nil, or why nothing can be signed.
func (r *ring) health() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.healthLocked()
}

var errNotEnrolled = errors.New("trust: the service's link key is not enrolled")

func (r *ring) healthLocked() error {
	if r.current != nil {
		return nil
	}
	why := r.lost
	if why == nil {
		why = errNotEnrolled
	}
	if r.failure != nil {
		return fmt.Errorf("%w: %w", why, r.failure)
	}
	return why
}
