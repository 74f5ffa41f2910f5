// Package principal carries who is calling, on whose behalf, through whom and
// with which rights from service to service, as one signed header.
//
// A service joins the platform by trust.Join, which has a [Verifier] for its own
// name and a [Propagator], and keeps keys and revocations up to date. It reads its
// access [Rules] from its .proto files, and puts them and the verifier into a
// [Guard]. The interceptors (principalgrpc, principalconnect, principalhttp) stand
// on the guard; handlers ask [FromContext]. Calls to other services go through the
// propagator, with the context of the handler. Tests use principaltest. Without an
// edge to join, packages keyset and revocation have the parts: a verifier that is
// built of keys alone knows of no revocations.
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
// Signatures are Ed25519 (RFC 8032, the equation without cofactor), or ECDSA P-256
// over SHA-256 as r ‖ s with s in the lower half. The algorithm belongs to the key.
// Keys are found by role, owner and id.
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
// signatures; presenter; revocation. Then the method's rule: who may call; whether
// the revocations are fresh enough; the online check; single use. Last, what the
// call asks of a lease. A verified header is cached by its exact bytes; time, keys
// and revocations are checked on every use.
//
// # What ends a call
//
// A verifier built [WithRevocations] ends what is under way when its principal
// is revoked: the context of the handler is cancelled, nothing that it sends or
// returns reaches the caller any more, and the caller is told UNAUTHENTICATED,
// revoked. Streams also end when the revocations have not been heard of for too
// long (UNAVAILABLE, stale), and when their principal has expired and the skew is
// over (UNAUTHENTICATED, time); where the method's rule has STREAM_LIFE_SESSION
// and there are revocations, at stream_until instead, if that is later. Observers
// are told with the decision [Ended]. The handler itself is not stopped: it has
// to return when its context ends, or when receiving or sending fails.
//
// # Leases
//
// A stream outlives its principal if its client renews it. The client opens it
// with the header x-principal-lease: new, and the server answers at once with a
// header of that name: 16 random bytes in base64url. At half of the principal's
// life the client calls the same method again, with that id in the header and a
// fresh principal, and no messages. The server decides this call like any other,
// by header, rule, revocations and presenter; but instead of handling it, it
// gives the stream the new principal, and answers with success and no message.
// From then on [FromContext] shows the handler the new one, and its calls pass
// that on.
//
// The call must be for the same method, from the same peer, over the same path,
// for the same issuer, audience, tenant, client, subject, delegations with their
// grants, and session (a service that acts for itself has none); else it is
// refused as caller, as is an id that nobody has. Scopes and roles are among those
// that the stream has, else the reason is scope or role: the rights of a stream
// shrink and never grow. A principal older than the stream's is refused as time.
// A lease ends with its stream; it is no right by itself, and no longer life than
// the edge is willing to sign for.
//
// In clients [Propagator.Leasing] asks for leases. The fresh principal comes from
// the lease of the stream in whose handler the other one was opened, or from the
// edge, by [WithRenewal]. Behind a balancer that spreads calls the one that renews
// may reach another server than the stream; it is refused there, and made again
// until it arrives or the stream has ended.
//
// [SignedPrincipal]: https://pkg.go.dev/github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1#SignedPrincipal
package principal
