package keys

import (
	"context"
	"crypto"
)

// Vault makes and holds the private keys with which replicas of an edge sign. It
// may be shared by several, as a token of an HSM is: a replica opens and deletes
// only keys that it has made or that its record names. [Files] are one
// replica's alone. A vault is safe for concurrent use.
//
//nolint:interfacebloat // the four things that are done with a key, by one who holds it
type Vault interface {
	// Create makes a key that is Ed25519 or ECDSA P-256. When it returns, the key
	// outlives a crash. The id is 1 to 32 characters of [A-Za-z0-9_-], and no other
	// key has had it.
	Create(ctx context.Context) (id string, key crypto.Signer, err error)
	// Open returns a key. The error wraps [io/fs.ErrNotExist] if there is none,
	// and never repeats the key.
	Open(ctx context.Context, id string) (crypto.Signer, error)
	// Delete makes sure that there is no key of this id.
	Delete(ctx context.Context, id string) error
	// List returns the ids of all keys, also of those that cannot be opened; the
	// oldest first.
	List(ctx context.Context) ([]string, error)
}

// keeper is a vault of one replica alone. It is looked after before it is used:
// a key in it that the record does not name is nobody else's.
type keeper interface {
	// Sweep removes what a process that died had not finished.
	Sweep(ctx context.Context) error
	// Adopt takes over a key that an earlier version has kept under another name,
	// if there is no other.
	Adopt(ctx context.Context) error
}
