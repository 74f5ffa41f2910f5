package inspect

import "github.com/onbehalf-dev/onbehalf/principal"

// explanations has a line for each reason of the closed list: what it means and
// what to look at.
var explanations = map[principal.Reason]string{
	principal.ReasonMissing:     "the call had no x-principal-bin header; the caller has to send one, or the method's rule to say anonymous",
	principal.ReasonMultiple:    "the call had more than one x-principal-bin header; something on the way adds one instead of replacing it",
	principal.ReasonSize:        "the header is longer than 3072 bytes (4096 characters); carry fewer or shorter scopes and attributes",
	principal.ReasonMalformed:   "the bytes are not in the format: cut off, changed on the way, decoded twice, or not a principal at all",
	principal.ReasonUnsupported: "the header is of a later version of the format; update the service before the edge",
	principal.ReasonAudience: "the last block is for another party; the caller has to name this service, or, " +
		"for a relayed header, this service has to accept its trust domain",
	principal.ReasonTime: "expired, not yet valid, or valid for longer than is allowed (5m, 60s to present a link); " +
		"compare the clocks, and look for a header that was kept",
	principal.ReasonUnknownKey: "there is no such key of that owner in that role, or not at this time, or the issuer may not name an identity of another issuer",
	principal.ReasonSignature:  "a signature does not fit the block: it was changed, moved, or signed with another key of the same name",
	principal.ReasonOpening:    "whoever presented it does not hold the whole chain: the last link was cut off or put in the place of another one",
	principal.ReasonWiden:      "a link claims a scope that its parent had not, or there are more links than max_links; look at the service that signed it",
	principal.ReasonPresenter:  "the client certificate belongs to another workload than the one that the chain names as its presenter",
	principal.ReasonRevoked:    "the principal, its session, an identity or grant in it, or a key or service that signed it was revoked",
	principal.ReasonFloor:      "issued before what the service remembers of revocations; a fresh principal passes",
	principal.ReasonReplayed:   "the method takes a principal once, and this one has been used; its route at the edge must mint per request",

	principal.ReasonNoRule:      "the method has no access rule; add one to the .proto file, or a pattern to the rules",
	principal.ReasonKind:        "the method's rule does not admit this kind; agents pass only where the rule names them",
	principal.ReasonScope:       "a scope that the method's rule asks for is missing, or a link took it away",
	principal.ReasonRole:        "no role fits the method's rule; a link that narrows the scopes takes all roles away",
	principal.ReasonCaller:      "the method's rule does not list the service that called",
	principal.ReasonDelegations: "more delegations than the method's rule allows",
	principal.ReasonACR:         "the subject was not authenticated in a way that the method's rule accepts",

	principal.ReasonNoKeys: "the service has no keys loaded; it cannot reach the edge",
	principal.ReasonStale:  "the service has not heard of revocations for longer than is allowed; it cannot reach the edge",
	principal.ReasonOnline: "the online check failed: the edge did not answer in time",

	principal.ReasonInternal: "a panic was stopped; this is a defect of the service, and its log says more",
}

// Explain returns one line about why a principal is refused for this reason, or
// "".
func Explain(r principal.Reason) string { return explanations[r] }
