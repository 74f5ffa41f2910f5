// Package store keeps what edges share: revocations, the public halves of keys,
// who is enrolled. It is a key-value bucket of NATS JetStream, in this process
// ([Settings].Dir) or in a cluster of servers ([Settings].URL); callers see no
// difference but what a majority of servers is there for.
//
// A write that returned without an error is on disk: synced by the embedded
// server before it answers, agreed on by a majority of the external ones. A
// write that returned [ErrUnavailable] may still take effect, as its answer may
// be what was lost.
//
// Every write has a sequence. Sequences only grow: over restarts, restored
// backups and lost directories, as what counts in the bucket is added to a base
// that comes from the clock when the bucket is made. Who holds something of a
// sequence below [Store.Base] holds it from a bucket that is gone, and with it
// perhaps revocations that are in no backup.
//
// [Store.Follow] gives all that is there and then every change, without gaps;
// [Store.Pulse] tells how far one must have followed to have seen everything
// that was acknowledged before.
//
// The package stores opaque bytes and protects them against loss, not against
// readers: keep only hashes and public keys here. Nor does it protect an
// embedded store against whoever may write its directory, or an external one
// against other clients of the same account.
package store
