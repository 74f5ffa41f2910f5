// Package principal carries who is calling, on whose behalf, through whom and
// with which rights from service to service, as one signed header.
//
// A service builds a [Verifier] for its own name and a key set, reads its
// access [Rules] from its .proto files, and puts both into a [Guard]. The
// interceptors (principalgrpc, principalconnect, principalhttp) stand on the
// guard; handlers ask [FromContext]. Calls to other services go through a
// [Propagator], with the context of the handler. Tests use principaltest.
//
// What it does not protect against: without mTLS a header that is stolen while
// it is valid can be presented to the one service it names, and a relayed one
// to every service of its trust domain; a service can use what it was given,
// for as long as it is valid, towards the services it calls; whoever holds an
// issuer's key can be anyone. Decisions about data stay with the service that
// owns it: a rule says who may call a method, not which rows they see.
//
// # Words
//
// The subject is the party whose authority is used, the actor the party that
// acts now; without delegations they are the same (RFC 8693). A principal's kind
// is its actor's: human (hm-…), agent (am-…) or service (svc-…). A delegation
// passes the subject's authority to an agent. The audience is the one party that
// may consume a block, the presenter the workload that hands the header over.
//
// # Two modes
//
// In relay mode the audience is a trust domain ("mesh:prod") and services
// forward the header unchanged. In linked mode the audience is one service; when
// it calls on, it appends a link: a signed statement that names the next
// service, a deadline for presenting it, and optionally the scopes that are
// left. Links only narrow. A verifier accepts relays only if told to.
//
// # Format
//
// The header is a [SignedPrincipal] message in canonical form: an authority
// block, up to six links, and in linked mode the tail's opening. A block is a
// payload, a key id and a signature of 64 bytes. Let T₀ be 32 zero bytes. Block i
// is signed over
//
//	tagᵢ ‖ Tᵢ ‖ len8 key_id ‖ key_id ‖ payload
//
// where the tag is "onbehalf/v1 authority\0" for block 0 and "onbehalf/v1
// link\0" for the others, and
//
//	Tᵢ₊₁ = SHA-256(Tᵢ ‖ len32 payload ‖ payload ‖ len8 key_id ‖ key_id ‖ len8 signature ‖ signature)
//
// with big-endian lengths of one and four bytes. A link's signer is not written
// down: it is the audience of the block before, and its key is looked up under
// that name. So an identity cannot be widened, a link cannot be moved, and a
// service that was not named cannot append.
//
// Each block of a linked chain carries the commitment SHA-256("onbehalf/v1
// opening\0" ‖ opening)[:16] to 16 random bytes, and the header carries the
// opening of the last block only. Whoever appends a link keeps the older one, so
// a chain cannot be presented without its last link. No two commitments of a
// chain are equal.
//
// Identities are the principal's issuer's own unless they say another one, which
// a verifier accepts only from issuers that it was told may do so.
//
// Signatures are Ed25519 (RFC 8032, the equation without cofactor), or ECDSA P-256 over SHA-256 as r ‖ s with s
// in the lower half. The algorithm belongs to the key. Keys are found by role,
// owner and id.
//
// The header is at most 3,072 bytes; where a transport carries text it is
// standard base64, padded fully or not at all, sent unpadded. Payloads are
// protobuf messages read strictly: fields in ascending order, singular fields
// once, no default values written, minimal varints; unknown fields below number
// 1000 are ignored and the others refused. How every corner is decided is listed
// in testdata/vectors/README.md and frozen by the vectors beside it.
//
// # Checks
//
// In this order, with one [Reason] for each failure: one header; size; form;
// audience; times; keys; opening; narrowing; the tail's signature; the other
// signatures; presenter; revocation. Then the method's rule. A verified header
// is cached by its exact bytes; time, keys and revocations are checked on every
// use.
//
// [SignedPrincipal]: https://pkg.go.dev/github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1#SignedPrincipal
package principal
