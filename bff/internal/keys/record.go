package keys

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// maxSeconds is the end of the year 9999.
const maxSeconds = 253402300799

// parseRecord reads what a replica says of its keys. It refuses all that this
// package does not write.
func parseRecord(value []byte, replica string) (*bffv1.AuthorityRecord, error) {
	r := new(bffv1.AuthorityRecord)
	if err := proto.Unmarshal(value, r); err != nil {
		return nil, errors.New("it cannot be read")
	}
	if r.GetReplica() != replica {
		return nil, errors.New("it is that of another replica")
	}
	return r, checkRecord(r)
}

// checkRecord holds what must be true at any moment: one key is active, at most
// one is the next, the others end.
func checkRecord(r *bffv1.AuthorityRecord) error {
	next := 0
	epoch := uint64(0)
	ids := make(map[string]bool)
	for _, k := range r.GetKeys() {
		if _, err := publicKey(k); err != nil || !keyID.MatchString(k.GetId()) || ids[k.GetId()] {
			return errors.New("it has a key that cannot be used, or twice")
		}
		ids[k.GetId()] = true
		if k.GetEpoch() <= epoch {
			return errors.New("its epochs do not ascend")
		}
		epoch = k.GetEpoch()
		for _, seconds := range []int64{k.GetPublished(), k.GetActivated(), k.GetNotAfter()} {
			if seconds < 0 || seconds > maxSeconds {
				return errors.New("it has a time before 1970 or after 9999")
			}
		}
		switch {
		case k.GetId() == r.GetActive():
			if k.GetActivated() == 0 || k.GetNotAfter() != 0 {
				return errors.New("its active key is not active")
			}
		case k.GetActivated() == 0:
			next++
		case k.GetNotAfter() == 0:
			return errors.New("it has a second active key")
		}
	}
	if !ids[r.GetActive()] {
		return errors.New("it has no active key")
	}
	if next > 1 {
		return errors.New("it has two next keys")
	}
	return nil
}

func publicKey(k *bffv1.AuthorityKey) (*principal.PublicKey, error) {
	public, err := x509.ParsePKIXPublicKey(k.GetPublicKey())
	if err != nil {
		return nil, err
	}
	return principal.NewPublicKey(public)
}

func findKey(r *bffv1.AuthorityRecord, id string) *bffv1.AuthorityKey {
	for _, k := range r.GetKeys() {
		if k.GetId() == id {
			return k
		}
	}
	return nil
}

// nextKey returns the key that has not been active yet, or nil.
func nextKey(r *bffv1.AuthorityRecord) *bffv1.AuthorityKey {
	for _, k := range r.GetKeys() {
		if k.GetActivated() == 0 {
			return k
		}
	}
	return nil
}

// The functions below return a changed copy.

// withNext publishes a key in the place of the next one, if there is one. Its
// epoch is above all that the record shows, also that of the key it replaces.
func withNext(r *bffv1.AuthorityRecord, key *bffv1.AuthorityKey, now time.Time) *bffv1.AuthorityRecord {
	epoch := uint64(0)
	for _, k := range r.GetKeys() {
		epoch = max(epoch, k.GetEpoch())
	}
	r = without(r, func(k *bffv1.AuthorityKey) bool { return k.GetActivated() == 0 || k.GetId() == key.GetId() })
	key = proto.CloneOf(key)
	key.Epoch, key.Published = epoch+1, seconds(now)
	r.Keys = append(r.Keys, key)
	return r
}

// withActive makes a key the active one. The one before ends after the grace.
func withActive(r *bffv1.AuthorityRecord, id string, now time.Time, grace time.Duration) *bffv1.AuthorityRecord {
	r = proto.CloneOf(r)
	if old := findKey(r, r.GetActive()); old != nil && old.GetId() != id {
		old.NotAfter = seconds(now.Add(grace))
	}
	r.Active = id
	findKey(r, id).Activated = seconds(now)
	return r
}

func without(r *bffv1.AuthorityRecord, drop func(*bffv1.AuthorityKey) bool) *bffv1.AuthorityRecord {
	r = proto.CloneOf(r)
	r.Keys = slices.DeleteFunc(r.Keys, drop)
	return r
}

// seconds are never 0, which stands for none.
func seconds(t time.Time) int64 {
	return min(max(t.Unix(), 1), maxSeconds)
}

// newKey describes the public half of key.
func newKey(id string, key crypto.PublicKey) (*bffv1.AuthorityKey, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return &bffv1.AuthorityKey{Id: id, PublicKey: der}, nil
}
