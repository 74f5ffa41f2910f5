// Package keys makes the keys with which an edge signs principals, publishes
// their public halves and rotates them.
//
// Each replica of an edge has keys of its own, so that no private key is shared.
// What it says of them is one record in the store, replaced as a whole by
// compare-and-set; the record names exactly one active key. [Open]
// reads or makes it, [Authority.Sign] signs with the key that it calls active,
// and [Authority.Run] rotates:
//
//   - The private half of the next key is durable before anything else.
//   - The next key is published when half of the active one's life has passed.
//   - It becomes the active one when everybody who follows the feed has it, at
//     the latest when it has been published for the lead.
//   - The old one still verifies until the last principal that it signed has
//     expired. Then it leaves the record, and after that its private half goes.
//
// A key signs only after the store has acknowledged the record that calls it
// active. While the store is unavailable, the active key goes on signing, also
// beyond its life: an edge that stops would be worse. That is logged as an error
// every hour. A process that finds its record changed by somebody else stops
// signing: two of them run on one data directory.
//
// A private key that is damaged, that others could read, or that is missing
// although the record names it, stops the start. A new one in its place would
// hide that the old one may be lost or known to somebody. What this does not
// protect against: whoever can write the data directory or the store is the edge.
package keys
