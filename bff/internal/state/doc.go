// Package state is what the store says, in memory: the keys that are published,
// what is revoked, and which services may enrol.
//
// One [State.Run] follows the store for the whole process. Others read from
// memory ([State.Revoked] on each request, [State.Find] for each signature),
// follow the log of events ([State.Since]), or wait until something that was
// written is applied here ([State.Wait]).
//
// Whoever may write to the store is trusted to do so, but not to be right: a
// record that does not parse is left out and logged by its name, and of two
// records that claim one name or one public key only the first is published.
package state
