package trust

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

const (
	issueTag     = "onbehalf/v1 issue\x00"
	issueTimeout = 5 * time.Second
)

// self is the principal of the service itself.
type self struct {
	turn   chan struct{} // is held by whoever uses the fields below
	header string
	until  time.Time // when half its life has passed
}

// AsService returns a context whose calls are made in the service's own name, for
// work that nobody else has asked for: a job, a worker, a start. Whatever
// principal ctx had is replaced. The edge records each principal that it issues
// for this; it is used again for half of its life, unless it was revoked.
//
// Do not use it to get past a refusal of somebody else's principal: who can make
// this service act would then have all its rights.
func (n *Node) AsService(ctx context.Context) (context.Context, error) {
	if n.ring == nil {
		return nil, errors.New("trust: a service that joined WithoutLinkKey cannot act for itself")
	}
	select {
	case n.self.turn <- struct{}{}:
		defer func() { <-n.self.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if n.self.header != "" && n.now().Before(n.self.until) {
		as, err := n.verifier.Context(ctx, n.self.header)
		if err == nil || principal.ReasonOf(err) == principal.ReasonStale { // then a new one would be refused as well
			return as, err
		}
	}
	n.self.header = ""
	header, err := n.issue(ctx)
	if err != nil {
		return nil, fmt.Errorf("trust: a principal for %q itself: %w", n.service, err)
	}
	as, err := n.verifier.Context(ctx, header)
	if err != nil {
		return nil, fmt.Errorf("trust: a principal for %q itself: what the edge issued is refused here: %w", n.service, err)
	}
	p, _ := principal.FromContext(as)
	if own := p.Subject(); own.String() != "svc-"+n.service || p.Actor() != own || len(p.Path()) > 1 {
		return nil, fmt.Errorf("trust: the edge issued %q a principal for somebody else", n.service)
	}
	n.self.header, n.self.until = header, n.now().Add(p.ExpiresAt().Sub(p.IssuedAt())/2)
	n.logger.InfoContext(ctx, "acting as the service itself", "principal", p)
	return as, nil
}

// issue asks the edge for a principal.
func (n *Node) issue(ctx context.Context) (string, error) {
	request := &trustv1.IssuePrincipalRequest{Service: n.service}
	signed, err := n.signed(request)
	if err != nil {
		return "", err
	}
	request.Signed = signed
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	response, err := n.current.Load().rpc.IssuePrincipal(ctx, request)
	if err != nil {
		return "", err
	}
	return string(response.GetHeader()), nil
}

// renew returns a fresh header of the session that header belongs to, which the
// edge has issued to this service: for streams that outlive a principal.
func (n *Node) renew(ctx context.Context, header string) (string, error) {
	if n.ring == nil {
		return "", errors.New("trust: a service that joined WithoutLinkKey cannot renew principals")
	}
	request := &trustv1.RenewPrincipalRequest{Service: n.service, Header: []byte(header)}
	signed, err := n.signed(request)
	if err != nil {
		return "", err
	}
	request.Signed = signed
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel()
	response, err := n.current.Load().rpc.RenewPrincipal(ctx, request)
	if err != nil {
		return "", fmt.Errorf("trust: renewing a principal: %w", err)
	}
	return string(response.GetHeader()), nil
}

// signed signs a request that has no signature yet.
func (n *Node) signed(request proto.Message) (*trustv1.Signed, error) {
	key, err := n.ring.signer()
	if err != nil {
		return nil, err
	}
	s := &trustv1.Signed{KeyId: key.ref.ID, Time: n.edgeNow().Unix(), Nonce: make([]byte, 16)}
	rand.Read(s.Nonce)
	message, err := issueMessage(s, request)
	if err != nil {
		return nil, err
	}
	s.Signature, err = principal.SignProof(key.private, message)
	return s, err
}

func issueMessage(s *trustv1.Signed, request proto.Message) ([]byte, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	at := binary.BigEndian.AppendUint64(nil, uint64(s.GetTime()))
	return slices.Concat([]byte(issueTag), at, s.GetNonce(), sum[:]), nil
}
