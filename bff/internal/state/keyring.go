package state

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
)

// The ranks of what claims a key: a service cannot take the name or the public
// key of an authority away by being first.
const (
	rankStatic = iota
	rankAuthority
	rankLink
)

// claim is what a record says of one key.
type claim struct {
	name     string // of the record
	rank     int
	sequence uint64
	point    string // the public key, in one spelling
	key      principal.Key
}

func (c *claim) compare(other *claim) int {
	return cmp.Or(cmp.Compare(c.rank, other.rank), cmp.Compare(c.sequence, other.sequence), cmp.Compare(c.key.ID, other.key.ID))
}

// published is a key that is trusted, with its JWK.
type published struct {
	key *principal.Key
	jwk []byte
}

// keyring decides which keys are published. It is guarded by the state's lock.
type keyring struct {
	log     *slog.Logger
	version atomic.Uint64

	byName  map[string][]claim
	byRef   map[principal.KeyRef][]claim
	byPoint map[string][]claim

	revoked   map[principal.KeyRef]uint64 // never forgotten
	suspended map[string]bool             // services
	published map[principal.KeyRef]published

	// Made when somebody asks for it.
	list   []published
	listed uint64 // the version of list
	joined [][]byte
	told   []*trustv1.Revocation
}

func newKeyring(log *slog.Logger) *keyring {
	return &keyring{log: log, revoked: make(map[principal.KeyRef]uint64), published: make(map[principal.KeyRef]published)}
}

// clear takes all claims back but for those of a file. What is published stays
// until it is settled.
func (k *keyring) clear(static []principal.Key) {
	k.byName, k.byRef, k.byPoint = make(map[string][]claim), make(map[principal.KeyRef][]claim), make(map[string][]claim)
	k.suspended = make(map[string]bool)
	claims := make([]claim, 0, len(static))
	for _, key := range static {
		if point, err := pointOf(key.Public); err == nil {
			claims = append(claims, claim{rank: rankStatic, point: point, key: key})
		}
	}
	k.set("", claims)
}

func pointOf(public *principal.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public.Crypto())
	return string(der), err
}

// newClaim checks a key as it is kept. notAfter is in seconds, 0 for no end.
func newClaim(ref principal.KeyRef, der []byte, notAfter int64) (claim, error) {
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return claim{}, errors.New("a public key that is not a SubjectPublicKeyInfo")
	}
	public, err := principal.NewPublicKey(parsed)
	if err != nil {
		return claim{}, err
	}
	c := claim{key: principal.Key{KeyRef: ref, Public: public}}
	if notAfter != 0 {
		c.key.NotAfter = time.Unix(notAfter, 0)
	}
	if err := c.key.Check(); err != nil {
		return claim{}, err
	}
	if _, err := keyset.Marshal([]principal.Key{c.key}); err != nil {
		return claim{}, err
	}
	c.point, err = pointOf(public)
	return c, err
}

// linkOf returns whose link key is claimed under a name.
func (k *keyring) linkOf(name string) (service, id string) {
	if c := k.byName[name]; len(c) == 1 {
		return c[0].key.Owner, c[0].key.ID
	}
	return "", ""
}

// set replaces what is claimed under a name. It returns the keys that may be
// published otherwise now.
func (k *keyring) set(name string, claims []claim) (affected []principal.KeyRef) {
	touched := k.byName[name]
	mine := func(c claim) bool { return c.name == name }
	for _, c := range touched {
		remove(k.byRef, c.key.KeyRef, mine)
		remove(k.byPoint, c.point, mine)
	}
	delete(k.byName, name)
	for i := range claims {
		c := &claims[i]
		c.name = name
		k.byRef[c.key.KeyRef] = append(k.byRef[c.key.KeyRef], *c)
		k.byPoint[c.point] = append(k.byPoint[c.point], *c)
	}
	if len(claims) > 0 {
		k.byName[name] = claims
	}
	for _, c := range slices.Concat(touched, claims) {
		affected = append(affected, c.key.KeyRef)
		for _, other := range k.byPoint[c.point] {
			affected = append(affected, other.key.KeyRef)
		}
	}
	return affected
}

func remove[K comparable](from map[K][]claim, key K, which func(claim) bool) {
	left := slices.DeleteFunc(slices.Clone(from[key]), which)
	if len(left) == 0 {
		delete(from, key)
	} else {
		from[key] = left
	}
}

// revoke remembers a revocation if it is later than one before, and returns the
// sequence of that.
func (k *keyring) revoke(ref principal.KeyRef, sequence uint64) (before uint64) {
	if before = k.revoked[ref]; before < sequence {
		k.revoked[ref], k.told = sequence, nil
	}
	return before
}

// suspend returns the keys of a service if that changes something.
func (k *keyring) suspend(service string, on bool) (affected []principal.KeyRef) {
	if k.suspended[service] == on {
		return nil
	}
	k.suspended[service] = on
	if !on {
		delete(k.suspended, service)
	}
	for ref := range k.byRef {
		if ref.Role == principal.RoleLink && ref.Owner == service {
			affected = append(affected, ref)
		}
	}
	return affected
}

// all returns every key that is published, or might be.
func (k *keyring) all() []principal.KeyRef {
	return slices.AppendSeq(slices.Collect(maps.Keys(k.byRef)), maps.Keys(k.published))
}

// settle decides anew which of refs are published, and returns what changes.
func (k *keyring) settle(refs []principal.KeyRef) (changed []published, removed []principal.KeyRef) {
	for _, ref := range refs {
		old, was := k.published[ref]
		key := k.find(ref)
		switch {
		case key == nil && was:
			delete(k.published, ref)
			removed = append(removed, ref)
		case key != nil && (!was || !same(old.key, key)):
			jwk, err := keyset.Marshal([]principal.Key{*key})
			if err != nil { // only a key of a file has not been checked by it
				k.log.Error("a key cannot be published", "role", ref.Role.String(), "owner", ref.Owner, "key", ref.ID, "error", err)
				continue
			}
			p := published{key: key, jwk: bytes.TrimSuffix(bytes.TrimPrefix(jwk, []byte(documentHead)), []byte(documentTail))}
			k.published[ref] = p
			changed = append(changed, p)
		}
	}
	if len(changed) > 0 || len(removed) > 0 {
		k.version.Add(1)
	}
	return changed, removed
}

func same(a, b *principal.Key) bool {
	return a.Public.Equal(b.Public) && a.NotBefore.Equal(b.NotBefore) && a.NotAfter.Equal(b.NotAfter)
}

// find returns the key to publish, or nil: one that is revoked, whose service
// is, or whose public key somebody else has claimed with more right is not.
func (k *keyring) find(ref principal.KeyRef) *principal.Key {
	claims := k.byRef[ref]
	if _, revoked := k.revoked[ref]; revoked || len(claims) == 0 || ref.Role == principal.RoleLink && k.suspended[ref.Owner] {
		return nil
	}
	best := slices.MinFunc(claims, func(a, b claim) int { return a.compare(&b) })
	for _, other := range k.byPoint[best.point] {
		if other.key.KeyRef != ref && other.compare(&best) < 0 {
			k.log.Warn("a public key is claimed twice; the second record is left out", "record", best.name, "first", other.name)
			return nil
		}
	}
	key := best.key
	for _, other := range claims { // of replicas that share a key
		if other.point == best.point && (other.key.NotAfter.IsZero() || !key.NotAfter.IsZero() && other.key.NotAfter.After(key.NotAfter)) {
			key.NotAfter = other.key.NotAfter
		}
	}
	return &key
}

func refOf(m *trustv1.KeyRef) principal.KeyRef {
	return principal.KeyRef{Role: principal.KeyRole(m.GetRole()), Owner: m.GetOwner(), ID: m.GetId()}
}

func protoRef(ref principal.KeyRef) *trustv1.KeyRef {
	return &trustv1.KeyRef{Role: trustv1.KeyRole(ref.Role), Owner: ref.Owner, Id: ref.ID}
}
