package trust

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect/v2"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

const (
	enrollTimeout = 10 * time.Second

	// The tags of the messages that are signed: a signature over one can never be
	// taken for that of another, or of a block.
	enrollTag = "onbehalf/v1 enroll\x00"
	renewTag  = "onbehalf/v1 renew\x00"
)

// enrollMessage is what shows that whoever asks has the private half of a key.
func enrollMessage(tag, service string, der []byte) []byte {
	sum := sha256.Sum256(der)
	return slices.Concat([]byte(tag), []byte{byte(len(service))}, []byte(service), sum[:])
}

// enroll sees to it that there is a link key, and in time the next one.
func (n *Node) enroll(ctx context.Context) {
	select {
	case <-n.loaded: // before that nobody could say whether a key is published
	case <-ctx.Done():
		return
	}
	retry := backoff{first: n.pace.enrollFirst, last: n.pace.enrollLast}
	var tried time.Time // before which nothing is asked for
	for {
		request, wait := n.ring.next(ctx, tried)
		if request != nil {
			response, err := n.enrollOnce(ctx, request)
			if ctx.Err() != nil {
				return
			}
			n.ring.answered(ctx, request, response, err)
			if n.ring.health() == nil {
				retry.reset()
			}
			tried = n.now().Add(retry.next())
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-n.ring.wake:
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

func (n *Node) enrollOnce(ctx context.Context, request *trustv1.EnrollKeyRequest) (*trustv1.EnrollKeyResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, enrollTimeout)
	defer cancel()
	return n.current.Load().rpc.EnrollKey(ctx, request)
}

// rarely is when to look again where only an event can change something.
const rarely = time.Hour

// next returns what to ask the edge for, or how long there is nothing to ask for.
func (r *ring) next(ctx context.Context, notBefore time.Time) (*trustv1.EnrollKeyRequest, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reviewLocked(ctx, r.node.progress.at())
	now := r.node.now()
	if c := r.current; c != nil && (c.renew.IsZero() || now.Before(c.renew)) {
		if c.renew.IsZero() {
			return nil, rarely
		}
		return nil, c.renew.Sub(now)
	}
	if p := r.pending; p != nil && p.accepted {
		return nil, rarely // until the feed has it
	}
	if wait := notBefore.Sub(now); wait > 0 {
		if c := r.current; c != nil {
			wait = min(wait, c.expires.Sub(now))
		}
		return nil, wait
	}
	if r.current == nil && r.token == "" && !r.node.lines.certified() {
		return nil, r.despair(ctx, now)
	}
	request, err := r.request()
	if err != nil {
		r.fail(ctx, err)
		return nil, r.node.pace.enrollLast
	}
	r.inFlight = true
	return request, 0
}

// request is for the pending key, which it makes if there is none.
func (r *ring) request() (*trustv1.EnrollKeyRequest, error) {
	if r.pending == nil {
		var err error
		if r.pending, err = r.newKey(); err != nil {
			return nil, err
		}
	}
	p := r.pending
	request := &trustv1.EnrollKeyRequest{Service: r.node.service, PublicKey: p.der}
	var err error
	if request.Proof, err = principal.SignProof(p.private, enrollMessage(enrollTag, r.node.service, p.der)); err != nil {
		return nil, err
	}
	switch c := r.current; {
	case c != nil:
		signature, err := principal.SignProof(c.private, enrollMessage(renewTag, r.node.service, p.der))
		if err != nil {
			return nil, err
		}
		request.Credential = &trustv1.EnrollKeyRequest_Renewal{Renewal: &trustv1.Renewal{KeyId: c.ref.ID, Signature: signature}}
	case r.token != "":
		request.Credential = &trustv1.EnrollKeyRequest_Token{Token: r.token}
	}
	return request, nil
}

// answered notes what the edge said to a request.
func (r *ring) answered(ctx context.Context, request *trustv1.EnrollKeyRequest, response *trustv1.EnrollKeyResponse, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inFlight = false
	refused := isRefusal(err)
	if request.GetToken() != "" && (err == nil || refused) {
		r.token = ""
	}
	if p := r.pending; p != nil && err == nil {
		p.accepted, p.sequence, p.ref.ID = true, response.GetSequence(), response.GetKeyId()
	}
	r.reviewLocked(ctx, r.node.progress.at()) // whatever the answer is, the feed may show the key
	p := r.pending
	if p == nil || err == nil {
		return
	}
	switch {
	case refused && p.uncertain && connect.CodeOf(err) != connect.CodeAlreadyExists: // perhaps as the token was used by the attempt before
		r.doubt = r.node.now().Add(r.node.pace.quarantine)
	case refused:
		r.pending = nil
	default:
		p.uncertain = true
	}
	r.fail(ctx, fmt.Errorf("trust: enrolling the link key: %w", err))
}

// isRefusal reports whether the edge has said no, rather than nothing.
func isRefusal(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeInvalidArgument, connect.CodeNotFound, connect.CodeAlreadyExists, connect.CodePermissionDenied,
		connect.CodeFailedPrecondition, connect.CodeOutOfRange, connect.CodeUnauthenticated:
		return true
	default: // also an edge that has no time, or no room: it will
		return false
	}
}

// fail notes why there is no key, or no next one, and logs each reason once.
func (r *ring) fail(ctx context.Context, err error) {
	if r.failure == nil || r.failure.Error() != err.Error() {
		r.node.logger.WarnContext(ctx, "link key not enrolled", "signing", r.current != nil, "error", err)
	}
	r.failure = err
}

var errNoCredential = errors.New("trust: there is neither a client certificate nor an unused enrolment token: start the service again with a new one")

// despair says that there is nothing left to enrol with, unless the edge may have
// taken the key and only its answer was lost: then it soon shows in the feed.
func (r *ring) despair(ctx context.Context, now time.Time) time.Duration {
	if p := r.pending; p != nil && p.uncertain {
		if left := r.doubt.Sub(now); left > 0 {
			return left
		}
	}
	if !r.given {
		r.given = true
		if r.failure == nil {
			r.failure = errNoCredential
		} else {
			r.failure = fmt.Errorf("%w (%w)", r.failure, errNoCredential)
		}
		r.node.logger.ErrorContext(ctx, "link key not enrolled, for good", "error", r.failure)
		close(r.hopeless)
	}
	return rarely
}
