package keyset

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// Static is a key set that never changes. It is safe for concurrent use.
type Static struct {
	keys map[principal.KeyRef]*principal.Key
}

// NewStatic returns a set of these keys. It refuses an empty list, a record
// that fails [principal.Key.Check], two records under one name, and one public
// key in two records: a link key that were an authority key as well would let a
// service issue principals.
func NewStatic(keys ...principal.Key) (*Static, error) {
	if len(keys) == 0 {
		return nil, errors.New("keyset: a static set needs at least one key")
	}
	s := &Static{keys: make(map[principal.KeyRef]*principal.Key, len(keys))}
	owners := make(map[string]principal.KeyRef, len(keys))
	for _, key := range keys {
		if err := key.Check(); err != nil {
			return nil, fmt.Errorf("keyset: %w", err)
		}
		if s.keys[key.KeyRef] != nil {
			return nil, fmt.Errorf("keyset: two %s keys of %q with the id %q", key.Role, key.Owner, key.ID)
		}
		point := pointOf(key.Public)
		if other, ok := owners[point]; ok {
			return nil, fmt.Errorf("keyset: %s key %q of %q is also %s key %q of %q: a public key belongs to one record",
				key.Role, key.ID, key.Owner, other.Role, other.ID, other.Owner)
		}
		owners[point] = key.KeyRef
		s.keys[key.KeyRef] = &key
	}
	return s, nil
}

// Find implements [principal.KeySet]. It never fails. The record is shared and
// must not be changed.
func (s *Static) Find(_ context.Context, ref principal.KeyRef) (*principal.Key, error) {
	return s.keys[ref], nil
}

// Version implements [principal.KeySet]. It is always the same.
func (s *Static) Version() uint64 { return 1 }

// pointOf returns the bytes that two records of the same public key share: 32
// for Ed25519, 65 for P-256.
func pointOf(key *principal.PublicKey) string {
	switch k := key.Crypto().(type) {
	case ed25519.PublicKey:
		return string(k)
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			panic("keyset: " + err.Error()) // a PublicKey has been checked
		}
		return string(point)
	default:
		panic(fmt.Sprintf("keyset: a public key of type %T", k))
	}
}
