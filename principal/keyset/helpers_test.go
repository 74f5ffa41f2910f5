package keyset_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"

	"github.com/google/go-cmp/cmp"
)

const (
	edgeA = "https://edge-a.test"
	edgeB = "https://edge-b.test"
)

// edKey returns the Ed25519 key of a name.
func edKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// ecKey returns the P-256 key of a name.
func ecKey(t testing.TB, name string) *ecdsa.PrivateKey {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func record(t testing.TB, role principal.KeyRole, owner, id string, key crypto.Signer) principal.Key {
	t.Helper()
	public, err := principal.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return principal.Key{KeyRef: principal.KeyRef{Role: role, Owner: owner, ID: id}, Public: public}
}

func authority(t testing.TB, owner, id string) principal.Key {
	t.Helper()
	return record(t, principal.RoleAuthority, owner, id, edKey("authority "+owner+" "+id))
}

func link(t testing.TB, owner, id string) principal.Key {
	t.Helper()
	return record(t, principal.RoleLink, owner, id, edKey("link "+owner+" "+id))
}

func marshal(t testing.TB, keys ...principal.Key) []byte {
	t.Helper()
	data, err := keyset.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// document returns a set of one key after edit changed its members.
func document(t testing.TB, key principal.Key, edit func(map[string]any)) []byte {
	t.Helper()
	var d struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(marshal(t, key), &d); err != nil {
		t.Fatal(err)
	}
	edit(d.Keys[0])
	data, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

var sameKeys = cmp.Options{
	cmp.Comparer(func(a, b *principal.PublicKey) bool {
		return a == nil && b == nil || a != nil && b != nil && a.Equal(b)
	}),
	cmp.Comparer(time.Time.Equal),
}

// find returns a key that has to be found without an error, or nil.
func find(t testing.TB, set principal.KeySet, ref principal.KeyRef) *principal.Key {
	t.Helper()
	key, err := set.Find(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
