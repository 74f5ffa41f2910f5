package feed

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/internal/state"
	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

const (
	enrollTag = "onbehalf/v1 enroll\x00"
	renewTag  = "onbehalf/v1 renew\x00"

	maxPublicKey = 256 // bytes
	// writeTimeout bounds what is done when a caller may have gone: a token that is
	// used must not be lost half-way.
	writeTimeout = 15 * time.Second
)

// enrollment is a request that is well-formed.
type enrollment struct {
	caller
	*trustv1.EnrollKeyRequest

	public *principal.PublicKey
	der    []byte
	ref    principal.KeyRef
}

// EnrollKey is part of the RPC service.
func (s service) EnrollKey(ctx context.Context, r *trustv1.EnrollKeyRequest) (*trustv1.EnrollKeyResponse, error) {
	c, err := s.caller(ctx, r.GetService())
	if err != nil {
		return nil, err
	}
	said := Enrolment{Service: c.service, Address: c.address}
	answer, err := s.enrollFor(ctx, c, r, &said)
	if said.Err = err; s.o.Enrolled != nil {
		s.o.Enrolled(ctx, said)
	}
	return answer, err // who does not have the key by then asks for it when it needs it
}

func (s service) enrollFor(ctx context.Context, c caller, r *trustv1.EnrollKeyRequest, said *Enrolment) (*trustv1.EnrollKeyResponse, error) {
	e, err := newEnrollment(c, r)
	if err != nil {
		return nil, err
	}
	answer, err := s.enroll(ctx, e, said)
	if err == nil {
		said.KeyID, said.Sequence = answer.GetKeyId(), answer.GetSequence()
	}
	return answer, err
}

func newEnrollment(c caller, r *trustv1.EnrollKeyRequest) (*enrollment, error) {
	if len(r.GetPublicKey()) > maxPublicKey {
		return nil, errPublicKey
	}
	parsed, err := x509.ParsePKIXPublicKey(r.GetPublicKey())
	if err != nil {
		return nil, errPublicKey
	}
	public, err := principal.NewPublicKey(parsed)
	if err != nil {
		return nil, errPublicKey
	}
	der, err := x509.MarshalPKIXPublicKey(public.Crypto())
	if err != nil || !bytes.Equal(der, r.GetPublicKey()) { // one key, one spelling
		return nil, errPublicKey
	}
	if !public.VerifyProof(enrollMessage(enrollTag, c.service, der), r.GetProof()) {
		return nil, errProof
	}
	ref := principal.KeyRef{Role: principal.RoleLink, Owner: c.service, ID: public.ID()}
	return &enrollment{caller: c, public: public, der: der, ref: ref, EnrollKeyRequest: r}, nil
}

// enrollMessage is what is signed to enrol a key.
func enrollMessage(tag, service string, publicKey []byte) []byte {
	sum := sha256.Sum256(publicKey)
	return slices.Concat([]byte(tag), []byte{byte(len(service))}, []byte(service), sum[:])
}

var lockSeed = maphash.MakeSeed()

func (s *Server) lock(service string) *sync.Mutex {
	return &s.enrolling[maphash.String(lockSeed, service)%uint64(len(s.enrolling))]
}

func (s *Server) enroll(ctx context.Context, e *enrollment, said *Enrolment) (*trustv1.EnrollKeyResponse, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	lock := s.lock(e.service)
	lock.Lock()
	defer lock.Unlock()
	if ref, claimed := s.state.Claimed(e.public); claimed {
		return s.again(e, ref)
	}
	out := s.state.Service(e.service)
	if out.Message.GetRevoked() == 0 {
		out.Message = nil
	}
	by, err := s.credential(e, out)
	if err != nil {
		return nil, err
	}
	said.By = by
	if err := s.makeRoom(ctx, e.service); err != nil {
		return nil, err
	}
	if by == byToken {
		if err := s.redeem(ctx, e); err != nil {
			return nil, err
		}
	}
	now := s.o.Now()
	record := &bffv1.LinkKeyRecord{
		Service: e.service, Id: e.ref.ID, PublicKey: e.der, Enrolled: now.Unix(), NotAfter: now.Add(s.o.LinkKeyLife).Unix(), By: by,
	}
	record.Ancestors = s.ancestors(e, by)
	sequence, err := s.state.Create(ctx, state.LinkName(e.service, e.ref.ID), record, now.Add(s.o.LinkKeyLife))
	if err == nil && out.Message != nil {
		sequence, err = s.letIn(ctx, e, out)
	}
	if err != nil {
		return nil, s.failed("a link key was not enrolled", e.service, err)
	}
	if s.linkKey(e.service, e.ref.ID) == nil || s.disinherited(record) { // somebody was faster, with the key or by revoking
		s.takeBack(ctx, e)
		return nil, errClaimed
	}
	s.log.Info("a link key was enrolled", "service", e.service, "key", e.ref.ID, "by", by, "address", e.address, "sequence", sequence)
	return &trustv1.EnrollKeyResponse{KeyId: e.ref.ID, Sequence: sequence, ExpiresAt: record.GetNotAfter()}, nil
}

// again answers for a public key that is known. Its owner may have missed the
// answer before, and whoever repeats its request learns what is public.
func (s *Server) again(e *enrollment, ref principal.KeyRef) (*trustv1.EnrollKeyResponse, error) {
	if ref != e.ref || s.linkKey(e.service, ref.ID) == nil {
		return nil, errClaimed
	}
	for _, r := range s.state.LinkKeys(e.service) {
		if r.Message.GetId() == ref.ID {
			return &trustv1.EnrollKeyResponse{KeyId: ref.ID, Sequence: r.Sequence, ExpiresAt: r.Message.GetNotAfter()}, nil
		}
	}
	return nil, errClaimed
}

// linkKey returns a link key that may be used now, or nil.
func (s *Server) linkKey(service, id string) *principal.Key {
	key, err := s.state.Find(context.Background(), principal.KeyRef{Role: principal.RoleLink, Owner: service, ID: id}) // in memory
	now := s.o.Now()
	if err != nil || key == nil || now.Before(key.NotBefore) || !key.NotAfter.IsZero() && !now.Before(key.NotAfter) {
		return nil
	}
	return key
}

// What a record says of how a service showed who it is.
const (
	byCertificate = "mtls"
	byToken       = "token"
	byRenewal     = "renewal"
)

// credential returns how the service shows who it is. out is what is kept of it
// if it was revoked: then only a token helps that was made after that.
func (s *Server) credential(e *enrollment, out state.Record[*bffv1.ServiceRecord]) (by string, err error) {
	switch {
	case e.verified && out.Message == nil:
		return byCertificate, nil
	case e.GetToken() != "":
		t := s.state.Token(e.GetToken())
		switch {
		case t.Message == nil, t.Message.GetService() != e.service, t.Message.GetExpires() <= s.o.Now().Unix():
			return "", errToken
		case out.Message != nil && t.Sequence <= out.Sequence:
			return "", errOut
		}
		return byToken, nil
	case out.Message != nil:
		return "", errOut
	case e.GetRenewal() != nil:
		key := s.linkKey(e.service, e.GetRenewal().GetKeyId())
		if key == nil || !key.Public.VerifyProof(enrollMessage(renewTag, e.service, e.der), e.GetRenewal().GetSignature()) {
			return "", errRenewal
		}
		return byRenewal, nil
	default:
		return "", errCredential
	}
}

// maxAncestors is a month of renewals at half of a day.
const maxAncestors = 64

// ancestors returns the keys that a renewed one goes back to: who had stolen one
// of them could have made it.
func (s *Server) ancestors(e *enrollment, by string) []string {
	if by != byRenewal {
		return nil
	}
	parent := e.GetRenewal().GetKeyId()
	var all []string
	for _, r := range s.state.LinkKeys(e.service) {
		if r.Message.GetId() == parent {
			all = slices.Clone(r.Message.GetAncestors())
		}
	}
	all = append(all, parent)
	return all[max(0, len(all)-maxAncestors):]
}

// disinherited reports whether an ancestor of a key was revoked.
func (s *Server) disinherited(record *bffv1.LinkKeyRecord) bool {
	return slices.ContainsFunc(record.GetAncestors(), func(id string) bool {
		ref := principal.KeyRef{Role: principal.RoleLink, Owner: record.GetService(), ID: id}
		return s.state.Revoked(revocation.Key(ref), time.Time{})
	})
}

// makeRoom sees to it that a service does not have too many keys: expired ones go
// first.
func (s *Server) makeRoom(ctx context.Context, service string) error {
	keys := s.state.LinkKeys(service)
	now, live := s.o.Now().Unix(), 0
	for _, r := range keys {
		switch {
		case r.Message.GetNotAfter() <= now && len(keys) >= s.o.KeysPerService:
			if _, err := s.state.Delete(ctx, state.LinkName(service, r.Message.GetId()), r.Sequence); err != nil && !gone(err) {
				return s.failed("an expired link key was not removed", service, err)
			}
		case s.linkKey(service, r.Message.GetId()) != nil:
			live++
		}
	}
	if live >= s.o.KeysPerService {
		return errManyKeys
	}
	return nil
}

// redeem uses a token up. Of two who have the same, one can.
func (s *Server) redeem(ctx context.Context, e *enrollment) error {
	_, err := s.state.Delete(ctx, state.TokenName(e.GetToken()), s.state.Token(e.GetToken()).Sequence)
	switch {
	case gone(err):
		return errToken
	case err != nil:
		return s.failed("an enrollment token was not redeemed", e.service, err)
	default:
		return nil
	}
}

// letIn takes back that a service is revoked. Keys from before stay out: whatever
// happened to their revocation, they are revoked now.
func (s *Server) letIn(ctx context.Context, e *enrollment, out state.Record[*bffv1.ServiceRecord]) (sequence uint64, err error) {
	if err := s.revokeKeys(ctx, e.service, e.ref.ID, "the service was revoked"); err != nil {
		return 0, err
	}
	return s.state.Delete(ctx, state.ServiceName(e.service), out.Sequence)
}

// revokeKeys revokes the link keys of a service but for one, also those that a
// file names.
func (s *Server) revokeKeys(ctx context.Context, service, except, reason string) error {
	for _, ref := range s.state.LinkRefs(service) {
		target := revocation.Key(ref)
		if ref.ID == except || s.state.Revoked(target, time.Time{}) {
			continue
		}
		if _, err := s.putRevocation(ctx, target, reason); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) takeBack(ctx context.Context, e *enrollment) {
	for _, r := range s.state.LinkKeys(e.service) {
		if r.Message.GetId() == e.ref.ID && bytes.Equal(r.Message.GetPublicKey(), e.der) {
			if _, err := s.state.Delete(ctx, state.LinkName(e.service, e.ref.ID), r.Sequence); err != nil && !gone(err) {
				_ = s.failed("a link key that is not published stays in the store", e.service, err)
			}
		}
	}
}

func gone(err error) bool {
	return errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound)
}

// failed logs an error of the store and returns what the caller is told of it.
func (s *Server) failed(what, service string, err error) error {
	if errors.Is(err, store.ErrConflict) {
		return errClaimed
	}
	s.log.Warn("the feed could not write", "what", what, "service", service, "error", err)
	return refusal(err)
}
