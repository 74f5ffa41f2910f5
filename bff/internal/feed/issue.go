package feed

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

const (
	issueTag = "onbehalf/v1 issue\x00"
	// skew is by how much the clocks of services may differ from the edge's.
	skew     = 30 // seconds
	nonceLen = 16
	// nonceLife is how long a request could be repeated: it may be of a clock that
	// is ahead.
	nonceLife = 2 * skew * time.Second
	// maxNonces bounds the requests of a service in that time.
	maxNonces = 4096
)

// IssuePrincipal is part of the RPC service.
func (s service) IssuePrincipal(ctx context.Context, r *trustv1.IssuePrincipalRequest) (*trustv1.IssuePrincipalResponse, error) {
	unsigned := proto.CloneOf(r)
	unsigned.Signed = nil
	if err := s.signed(ctx, r.GetService(), r.GetSigned(), unsigned); err != nil {
		return nil, err
	}
	if s.o.Issue == nil {
		return nil, errNotIssued
	}
	header, err := s.o.Issue(ctx, r.GetService(), r.GetRelay())
	if err != nil {
		return nil, s.notIssued(r.GetService(), err)
	}
	return &trustv1.IssuePrincipalResponse{Header: []byte(header)}, nil
}

// RenewPrincipal is part of the RPC service.
func (s service) RenewPrincipal(ctx context.Context, r *trustv1.RenewPrincipalRequest) (*trustv1.RenewPrincipalResponse, error) {
	unsigned := proto.CloneOf(r)
	unsigned.Signed = nil
	if err := s.signed(ctx, r.GetService(), r.GetSigned(), unsigned); err != nil {
		return nil, err
	}
	if s.o.Renew == nil {
		return nil, errNotIssued
	}
	p, err := s.verify(ctx, r.GetService(), string(r.GetHeader()))
	if err != nil {
		return nil, err
	}
	header, err := s.o.Renew(ctx, r.GetService(), p)
	if err != nil {
		return nil, s.notIssued(r.GetService(), err)
	}
	return &trustv1.RenewPrincipalResponse{Header: []byte(header)}, nil
}

// signed checks that a request was made by a service, now, and not before. Who
// has not heard from the store for too long cannot say whether the key, or what
// is to be renewed, is still good. One with fields that are not known is refused:
// they are part of what is signed, and the bytes may be meant for another RPC.
func (s *Server) signed(ctx context.Context, service string, signed *trustv1.Signed, request proto.Message) error {
	if _, err := s.caller(ctx, service); err != nil {
		return err
	}
	switch {
	case s.state.Age(s.o.Now()) > s.o.MaxAge:
		return errStale
	case len(request.ProtoReflect().GetUnknown()) > 0:
		return errSigned
	case len(signed.GetNonce()) != nonceLen:
		return errNonce
	}
	key := s.linkKey(service, signed.GetKeyId())
	message, err := issueMessage(signed, request)
	if key == nil || err != nil || !key.Public.VerifyProof(message, signed.GetSignature()) {
		return errSigned
	}
	now := s.o.Now()
	if at := signed.GetTime(); at < now.Unix()-skew || at > now.Unix()+skew {
		return errTime
	}
	return s.nonces.use(service, [nonceLen]byte(signed.GetNonce()), now)
}

// issueMessage is what is signed to ask for a principal; request is without its
// signature.
func issueMessage(signed *trustv1.Signed, request proto.Message) ([]byte, error) {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(encoded)
	at := binary.BigEndian.AppendUint64(nil, uint64(signed.GetTime()))
	return slices.Concat([]byte(issueTag), at, signed.GetNonce(), sum[:]), nil
}

func (s *Server) notIssued(service string, err error) error {
	s.log.Warn("no principal was issued", "service", service, "error", err)
	if told, ok := errors.AsType[*connect.Error](err); ok && !told.IsRemote() {
		return told
	}
	return errIssue
}

// verify verifies a principal that a service wants to have renewed.
func (s *Server) verify(ctx context.Context, service, header string) (*principal.Principal, error) {
	v, err := s.verifiers.get(service, s.newVerifier)
	if err != nil {
		s.log.Error("no principal can be renewed", "service", service, "error", err)
		return nil, errIssue
	}
	p, err := v.Verify(ctx, header)
	switch {
	case errors.Is(err, context.Canceled):
		return nil, err
	case err != nil, p.Issuer() != s.state.Issuer(), s.state.Check(p) != 0:
		return nil, errRenewed
	case p.Relay():
		return nil, errRelayed
	case len(p.SigningKeys()) != 1:
		return nil, errLinks
	case !p.StreamUntil().After(s.o.Now()):
		return nil, errStreamUntil
	}
	return p, nil
}

// newVerifier returns what verifies the principals that a service holds.
func (s *Server) newVerifier(service string) (*principal.Verifier, error) {
	opts := []principal.VerifierOption{principal.WithClock(s.o.Now), principal.WithCacheSize(64)}
	if s.o.TrustDomain != "" {
		opts = append(opts, principal.AcceptRelay(s.o.TrustDomain))
	}
	return principal.NewVerifier(service, s.state, opts...)
}

// verifiers keeps those of services that have enrolled. The zero value is usable.
type verifiers struct {
	mu  sync.Mutex
	all map[string]*principal.Verifier
}

const maxVerifiers = 1024

func (v *verifiers) get(service string, make_ func(string) (*principal.Verifier, error)) (*principal.Verifier, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if known := v.all[service]; known != nil {
		return known, nil
	}
	verifier, err := make_(service)
	if err != nil {
		return nil, err
	}
	if v.all == nil || len(v.all) >= maxVerifiers {
		v.all = make(map[string]*principal.Verifier)
	}
	v.all[service] = verifier
	return verifier, nil
}

// nonces remembers which were used, in two generations. The zero value is usable.
type nonces struct {
	mu         sync.Mutex
	begun      time.Time
	young, old map[string]map[[nonceLen]byte]struct{} // by service
}

// use is for requests whose signature is good: others could fill it.
func (n *nonces) use(service string, nonce [nonceLen]byte, now time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if passed := now.Sub(n.begun); n.young == nil || passed > nonceLife {
		n.old, n.young, n.begun = n.young, make(map[string]map[[nonceLen]byte]struct{}), now
		if passed > 2*nonceLife {
			n.old = nil
		}
	}
	_, before := n.old[service][nonce]
	_, again := n.young[service][nonce]
	switch {
	case before || again:
		return errNonce
	case len(n.young[service]) >= maxNonces:
		return errOften
	case n.young[service] == nil:
		n.young[service] = make(map[[nonceLen]byte]struct{})
	}
	n.young[service][nonce] = struct{}{}
	return nil
}
