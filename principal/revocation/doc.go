// Package revocation remembers what has been revoked, for as long as it can
// matter to principals that were issued before.
//
// Use [NewIndex], hand it to the verifier with [principal.WithRevocations], and
// [Index.Apply] what the issuer's feed says, in the order of its sequence. A
// verified header is then refused from the next call on, cached or not.
//
// It is a memory, not a feed: it does not notice that an event is missing
// between two that it got, and it is empty after a restart. Whoever follows the
// feed has to see to both.
package revocation
