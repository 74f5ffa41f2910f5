package feed

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/internal/state"
)

const (
	tokenPrefix  = "obe_"
	tokenBytes   = 32
	tokenLife    = time.Hour
	maxTokenLife = 30 * 24 * time.Hour
)

// Revoke revokes a target, for a reason of at most 256 printable bytes. It
// returns when that is durable and holds here; watchers are being told. With a
// service its link keys are revoked, and it enrols with a new token only. The
// error wraps [ErrInvalid], or [store.ErrUnavailable]: then it may or may not be
// revoked, and should be tried again.
func (s *Server) Revoke(ctx context.Context, target *trustv1.Target, reason string) (sequence uint64, err error) {
	t, err := checkedTarget(target)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if !isPrintable(reason) {
		return 0, fmt.Errorf("%w: the reason is not at most %d printable bytes", ErrInvalid, maxText)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	if service := target.GetService(); service != "" {
		// First that it is out: a key that is enrolled meanwhile is seen by one of
		// the two, by whoever comes second in the store.
		out := &bffv1.ServiceRecord{Service: service, Revoked: s.o.Now().Unix()}
		if _, err := s.state.Put(ctx, state.ServiceName(service), out); err != nil {
			return 0, err
		}
		if err := s.revokeKeys(ctx, service, "", reason); err != nil {
			return 0, err
		}
	}
	if sequence, err = s.putRevocation(ctx, t, reason); err != nil {
		return 0, err
	}
	if key := target.GetKey(); key.GetRole() == trustv1.KeyRole_KEY_ROLE_LINK {
		if err := s.revokeDescendants(ctx, key, reason); err != nil {
			return 0, err
		}
	}
	s.log.Info("revoked", "target", t.String(), "reason", reason, "sequence", sequence)
	return sequence, nil
}

// revokeDescendants revokes the keys that a link key was renewed to. One that is
// enrolled meanwhile sees that its ancestor was revoked.
func (s *Server) revokeDescendants(ctx context.Context, key *trustv1.KeyRef, reason string) error {
	for _, r := range s.state.LinkKeys(key.GetOwner()) {
		ref := principal.KeyRef{Role: principal.RoleLink, Owner: key.GetOwner(), ID: r.Message.GetId()}
		target := revocation.Key(ref)
		if !slices.Contains(r.Message.GetAncestors(), key.GetId()) || s.state.Revoked(target, time.Time{}) {
			continue
		}
		if _, err := s.putRevocation(ctx, target, reason); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) putRevocation(ctx context.Context, t revocation.Target, reason string) (sequence uint64, err error) {
	record := &bffv1.RevocationRecord{Target: t.Proto(), Time: s.o.Now().Unix(), Reason: reason}
	return s.state.PutRevocation(ctx, t, record)
}

// checkedTarget reads a target that could name something. One that could not is
// a mistake: whoever revokes it believes that something has ended.
func checkedTarget(m *trustv1.Target) (revocation.Target, error) {
	t, err := revocation.FromProto(m)
	if err != nil {
		return t, err
	}
	texts := []string{m.GetPrincipal().GetIssuer(), m.GetSession().GetIssuer(), m.GetGrant().GetIssuer(), m.GetKey().GetOwner(), m.GetKey().GetId()}
	for _, text := range texts {
		if !isPrintable(text) {
			return t, errors.New("a name is not at most 256 printable bytes")
		}
	}
	service := m.GetService()
	if key := m.GetKey(); key.GetRole() == trustv1.KeyRole_KEY_ROLE_LINK {
		service = key.GetOwner()
	}
	if service != "" && !isServiceName(service) {
		return t, errors.New("there is no service of such a name")
	}
	return t, nil
}

// CreateToken makes a token with which a service enrols once, within a life of
// at most 30 days; 0 is an hour. Only its hash is kept. The error wraps
// [ErrInvalid] or [store.ErrUnavailable].
func (s *Server) CreateToken(ctx context.Context, service string, life time.Duration) (token string, expires time.Time, err error) {
	if life == 0 {
		life = tokenLife
	}
	switch {
	case !isServiceName(service):
		return "", time.Time{}, fmt.Errorf("%w: %.64q is not a service name; use up to 63 of a-z, 0-9, . and -", ErrInvalid, service)
	case service == s.o.Name:
		return "", time.Time{}, fmt.Errorf("%w: %q is this edge's own name", ErrInvalid, service)
	case life < time.Second || life > maxTokenLife:
		return "", time.Time{}, fmt.Errorf("%w: a token lives one second to 30 days", ErrInvalid)
	}
	random := make([]byte, tokenBytes)
	rand.Read(random)
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(random)
	now := s.o.Now()
	expires = time.Unix(now.Add(life).Unix(), 0)
	record := &bffv1.EnrollmentToken{Service: service, Created: now.Unix(), Expires: expires.Unix()}
	if _, err := s.state.Create(ctx, state.TokenName(token), record, expires); err != nil {
		return "", time.Time{}, err
	}
	s.log.Info("an enrollment token was made", "service", service, "expires", expires)
	return token, expires, nil
}
