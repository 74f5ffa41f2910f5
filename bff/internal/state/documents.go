package state

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
)

// What keyset.Marshal writes around the keys.
const (
	documentHead = `{"keys":[`
	documentTail = "]}\n"
)

// document returns a JSON Web Key Set, or nil if there are no keys.
func document(keys []published) []byte {
	if len(keys) == 0 {
		return nil
	}
	out := []byte(documentHead)
	for i, key := range keys {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, key.jwk...)
	}
	return append(out, documentTail...)
}

// sorted returns all that is published, by role, owner and id. It is made once
// for a version, as everybody who follows asks for it.
func (k *keyring) sorted() []published {
	if version := k.version.Load(); k.list == nil || k.listed != version {
		k.list = slices.SortedFunc(maps.Values(k.published), func(a, b published) int {
			return cmp.Or(cmp.Compare(a.key.Role, b.key.Role), strings.Compare(a.key.Owner, b.key.Owner), strings.Compare(a.key.ID, b.key.ID))
		})
		k.listed, k.joined = version, nil
	}
	return k.list
}

// documents returns what is published, at least in an empty document.
func (k *keyring) documents() [][]byte {
	keys := k.sorted()
	if k.joined != nil {
		return k.joined
	}
	first, size := 0, 0
	for i, key := range keys {
		if size += len(key.jwk); size > documentBytes {
			k.joined = append(k.joined, document(keys[first:i]))
			first, size = i, len(key.jwk)
		}
	}
	if first < len(keys) {
		k.joined = append(k.joined, document(keys[first:]))
	}
	if len(k.joined) == 0 {
		k.joined = [][]byte{[]byte(documentHead + documentTail)}
	}
	return k.joined
}

// revocations returns those of all keys, in the order of the store.
func (k *keyring) revocations() []*trustv1.Revocation {
	if len(k.told) == len(k.revoked) {
		return k.told
	}
	k.told = make([]*trustv1.Revocation, 0, len(k.revoked))
	for ref, sequence := range k.revoked {
		k.told = append(k.told, &trustv1.Revocation{
			Sequence: sequence, Target: &trustv1.Target{Target: &trustv1.Target_Key{Key: protoRef(ref)}},
		})
	}
	slices.SortFunc(k.told, func(a, b *trustv1.Revocation) int { return cmp.Compare(a.GetSequence(), b.GetSequence()) })
	return k.told
}
