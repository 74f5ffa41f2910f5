package bff

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/internal/admin"
	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// operator is what the admin service does with an edge.
type operator struct{ *trust }

var (
	_ admin.Trust = operator{}
	_ admin.Store = operator{}
)

func (o operator) Revoke(ctx context.Context, t revocation.Target, reason string) (uint64, error) {
	return o.feed.Revoke(ctx, t.Proto(), reason)
}

func (o operator) Revocations(limit int) (list []*bffv1.RevocationInfo, total int) {
	known, total := o.state.Revocations(limit)
	for _, r := range known {
		list = append(list, &bffv1.RevocationInfo{
			Target: r.Target, Sequence: r.Sequence, Time: timestamppb.New(r.Time), Reason: r.Reason,
		})
	}
	return list, total
}

func (o operator) Rotate(ctx context.Context) (string, error) { return o.authority.Rotate(ctx) }

func (o operator) Services() []*bffv1.ServiceInfo { return o.feed.Services() }

func (o operator) Sequence() uint64 { return o.state.Sequence() }

func (o operator) CreateToken(ctx context.Context, service string, life time.Duration) (token string, expires time.Time, err error) {
	return o.feed.CreateToken(ctx, service, life)
}

func (operator) Unavailable(err error) bool { return errors.Is(err, store.ErrUnavailable) }

// Keys implements [admin.Trust]: those of the edges first, by replica and epoch,
// then those of services, then those that the configuration names.
func (o operator) Keys() []*bffv1.KeyInfo {
	var list []*bffv1.KeyInfo
	known := make(map[principal.KeyRef]bool)
	for _, record := range o.state.Authorities() {
		for _, k := range record.Message.GetKeys() {
			list = append(list, o.authorityKey(record.Message, k))
			known[principal.KeyRef{Role: principal.RoleAuthority, Owner: record.Message.GetIssuer(), ID: k.GetId()}] = true
		}
	}
	for _, k := range o.state.Keys() {
		if known[k.KeyRef] {
			continue
		}
		info := &bffv1.KeyInfo{
			Ref: &trustv1.KeyRef{Role: trustv1.KeyRole(k.Role), Owner: k.Owner, Id: k.ID}, State: bffv1.KeyState_KEY_STATE_ACTIVE,
			Algorithm: algorithmOf(&k),
		}
		for _, r := range o.state.LinkKeys(k.Owner) {
			if k.Role == principal.RoleLink && r.Message.GetId() == k.ID {
				info.Published, info.Expires = timestamp(r.Message.GetEnrolled()), timestamp(r.Message.GetNotAfter())
			}
		}
		list = append(list, info)
	}
	return list
}

func (o operator) authorityKey(record *bffv1.AuthorityRecord, k *bffv1.AuthorityKey) *bffv1.KeyInfo {
	ref := principal.KeyRef{Role: principal.RoleAuthority, Owner: record.GetIssuer(), ID: k.GetId()}
	published, _ := o.state.Find(context.Background(), ref) // never fails
	info := &bffv1.KeyInfo{
		Ref:       &trustv1.KeyRef{Role: trustv1.KeyRole_KEY_ROLE_AUTHORITY, Owner: ref.Owner, Id: ref.ID},
		Algorithm: algorithmOf(published),
		Published: timestamp(k.GetPublished()), Expires: timestamp(k.GetNotAfter()),
		Replica: record.GetReplica(), Epoch: k.GetEpoch(),
	}
	switch {
	case ref.ID == record.GetActive():
		info.State = bffv1.KeyState_KEY_STATE_ACTIVE
	case k.GetActivated() != 0:
		info.State = bffv1.KeyState_KEY_STATE_RETIRED
	default:
		info.State = bffv1.KeyState_KEY_STATE_NEXT
		if record.GetReplica() == o.authority.Record().GetReplica() {
			info.Missing = uint32(o.authority.MissingNext())
		}
	}
	return info
}

func algorithmOf(k *principal.Key) string {
	if k == nil {
		return "revoked"
	}
	if _, ok := k.Public.Crypto().(ed25519.PublicKey); ok {
		return "Ed25519"
	}
	return "ES256"
}

func timestamp(seconds int64) *timestamppb.Timestamp {
	if seconds == 0 {
		return nil
	}
	return timestamppb.New(time.Unix(seconds, 0))
}

// Check implements [admin.Store].
func (o operator) Check(ctx context.Context) ([]*bffv1.Finding, error) {
	report, err := o.store.Check(ctx)
	if err != nil {
		return nil, err
	}
	var list []*bffv1.Finding
	for _, f := range report.Findings {
		list = append(list, &bffv1.Finding{Severity: bffv1.Severity(f.Severity), Text: f.Text})
	}
	slices.SortStableFunc(list, func(a, b *bffv1.Finding) int { return int(b.GetSeverity()) - int(a.GetSeverity()) })
	return list, nil
}

// Backup implements [admin.Store].
func (o operator) Backup(ctx context.Context, w io.Writer) error { return o.store.Backup(ctx, w) }
