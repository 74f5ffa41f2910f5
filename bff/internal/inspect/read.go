package inspect

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

const (
	maxHeader      = 3072
	maxLife        = 300 // of a principal, in seconds
	signatureBytes = 64

	modeLinked = "linked"
	modeRelay  = "relay"
)

// New reads a header, decoded, at a time. The error is a [*principal.Denial]: what
// is wrong with the bytes.
func New(header string, at time.Time) (*Report, error) {
	i, err := principal.Inspect(header)
	if err != nil {
		return nil, err
	}
	r := &Report{At: at.UTC().Truncate(time.Second), Signatures: SignaturesUnchecked, header: header, inspected: i}
	r.Principal = readPrincipal(i.Stated)
	r.readChain()
	r.readSize()
	if slices.ContainsFunc(append(r.ends(), r.Principal.IssuedAt), lastTime.Equal) {
		r.notef("a time is after the year 9999, and shown as its end")
	}
	if n := len(i.Stated.ProtoReflect().GetUnknown()); n > 0 {
		r.notef("fields that this version does not know take %d bytes of the first block; verifiers ignore them as well", n)
	}
	return r, nil
}

func readPrincipal(m *principalv1.Principal) Principal {
	p := Principal{
		ID: id(m.GetId()), Mode: modeLinked, Subject: party(m.GetSubject(), m.GetIssuer()),
		Issuer: m.GetIssuer(), Audience: m.GetAudience(), Presenter: m.GetPresenter(),
		IssuedAt: seconds(m.GetIssuedAt()), ExpiresAt: seconds(m.GetExpiresAt()), StreamUntil: optional(m.GetStreamUntil()),
		StatedScopes: list(m.GetScopes()), StatedRoles: list(m.GetRoles()), Tenant: m.GetTenant(), ClientID: m.GetClientId(),
		SessionID: id(m.GetSessionId()), TransactionID: id(m.GetTransactionId()),
		Path: []string{}, MaxLinks: m.GetMaxLinks(), RevocationSequence: m.GetRevocationSequence(),
	}
	if len(m.GetCommitment()) == 0 {
		p.Mode = modeRelay
	}
	p.Scopes, p.Roles, p.Actor = p.StatedScopes, p.StatedRoles, p.Subject
	for _, d := range m.GetDelegations() {
		p.Actor = party(d.GetActor(), m.GetIssuer())
		p.Delegations = append(p.Delegations, Delegation{GrantID: id(d.GetGrantId()), Actor: p.Actor})
	}
	p.Kind = p.Actor.Kind
	if a := m.GetAuthentication(); a != nil {
		p.Authentication = &Authentication{Time: optional(a.GetTime()), ACR: a.GetAcr(), AMR: a.GetAmr(), Source: a.GetSource()}
	}
	for _, a := range m.GetAttributes() {
		if p.Attributes == nil {
			p.Attributes = make(map[string]string)
		}
		p.Attributes[a.GetName()] = a.GetValue()
	}
	return p
}

// readChain goes from block to block and works out what each link leaves.
func (r *Report) readChain() {
	p, blocks := &r.Principal, r.inspected.Blocks
	r.Chain = []Block{{
		Type: "authority", Signer: p.Issuer, KeyID: blocks[0].Key.ID, Signature: SignaturesUnchecked,
		Audience: p.Audience, ExpiresAt: p.ExpiresAt, LinksLeft: int(p.MaxLinks),
	}}
	if p.Presenter != "" {
		p.Path = append(p.Path, p.Presenter)
	}
	for n, link := range r.inspected.Links {
		key := blocks[n+1].Key
		b := Block{
			Type: "link", Signer: key.Owner, KeyID: key.ID, Signature: SignaturesUnchecked, Audience: link.GetAudience(),
			ExpiresAt: seconds(link.GetExpiresAt()), LinksLeft: int(p.MaxLinks) - n - 1,
			Removed: &Removed{LifeSeconds: r.inspected.Stated.GetExpiresAt() - link.GetExpiresAt()},
		}
		if set := link.GetScopes(); set != nil {
			left := list(set.GetValues())
			b.Removed.Scopes, b.Removed.Widens = without(p.Scopes, left), without(left, p.Scopes)
			b.Removed.Roles = p.Roles
			p.Scopes, p.Roles = left, []string{}
		}
		r.Chain = append(r.Chain, b)
		p.Path = append(p.Path, key.Owner)
		p.Audience, p.PresentBy = b.Audience, &b.ExpiresAt
	}
}

func (r *Report) ends() []time.Time {
	var all []time.Time
	for n := range r.Chain {
		all = append(all, r.Chain[n].ExpiresAt)
	}
	return all
}

func (r *Report) notef(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func (r *Report) readSize() {
	s := &r.Size
	s.Bytes, s.MaxBytes, s.Characters = len(r.header), maxHeader, len(principal.EncodeHeader(r.header))
	s.OpeningBytes = s.Bytes
	for _, b := range r.inspected.Blocks {
		s.Blocks = append(s.Blocks, BlockSize{Bytes: b.Bytes, PayloadBytes: b.Payload, KeyIDBytes: len(b.Key.ID), SignatureBytes: signatureBytes})
		s.OpeningBytes -= b.Bytes
	}
	m := r.inspected.Stated.ProtoReflect()
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		alone := m.New()
		alone.Set(field, value)
		s.Fields = append(s.Fields, FieldSize{Field: string(field.Name()), Bytes: proto.Size(alone.Interface())})
		return true
	})
	slices.SortFunc(s.Fields, func(a, b FieldSize) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Field, b.Field))
	})
}

func id(b []byte) string {
	if len(b) != len(principal.ID{}) {
		return ""
	}
	return principal.ID(b).String()
}

// party gives an identity the issuer that the wire leaves out.
func party(m *principalv1.Identity, issuer string) Party {
	m = proto.CloneOf(m)
	m.Issuer = cmp.Or(m.GetIssuer(), issuer)
	i, err := principal.IdentityFromProto(m)
	if err != nil { // cannot be: it has been decoded
		return Party{Issuer: m.GetIssuer()}
	}
	return Party{ID: i.String(), Kind: i.Kind().String(), Issuer: i.Issuer()}
}

// lastTime is the last one that can be written down.
var lastTime = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

func seconds(t int64) time.Time { return time.Unix(min(t, lastTime.Unix()), 0).UTC() }

func optional(t int64) *time.Time {
	if t == 0 {
		return nil
	}
	at := seconds(t)
	return &at
}

// list is never nil: in JSON it is [], not null.
func list(s []string) []string { return append([]string{}, s...) }

// without returns what of all is not in the rest.
func without(all, rest []string) []string {
	var out []string
	for _, s := range all {
		if !slices.Contains(rest, s) {
			out = append(out, s)
		}
	}
	return out
}
