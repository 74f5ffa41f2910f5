package observed

import "strings"

// advice is what a reason means, and what to do about it; %s is what the rule
// needs. Without is the meaning if that is not known.
type advice struct{ what, without, do string }

// ofServices has an entry for each [principal.Reason].
var ofServices = map[string]advice{
	"missing":     {"no principal", "", "send these calls through the edge or a guarded service, or write anonymous into the rule"},
	"multiple":    {"several headers", "", "find the proxy or client that adds x-principal-bin once more"},
	"size":        {"a header that is too long", "", "look at the attributes and scopes that the edge adds"},
	"malformed":   {"a header that is not in the format", "", "find out what writes x-principal-bin there; only the edge and services may"},
	"unsupported": {"a header of a later format", "", "upgrade this service before the edge and its callers"},
	"audience":    {"a principal for another service", "", "correct the audience of the edge's route, or the service that the caller's client names"},
	"time":        {"a principal that is expired or not yet valid", "", "call with the context of the handler rather than one that was kept, and compare the clocks"},
	"unknown_key": {"a key that the service does not know", "", "if the caller is yours, have it enrol; else somebody forges principals"},
	"signature":   {"a signature that does not verify", "", "somebody or something changes headers on the way: find the caller"},
	"opening":     {"a chain that the caller does not hold", "", "do not pass a header on by hand; use the propagator of the library"},
	"widen":       {"a link that claims more than it may", "", "look at what the caller narrows, and at max_links of the edge's route"},
	"presenter":   {"a caller that is not the one in the chain", "", "name the proxy between them with WithTransparentGateways, or find out who passes headers on"},
	"revoked":     {"a principal that is revoked", "", "as it should be, unless the caller goes on for long"},
	"floor":       {"a principal older than the revocations", "", "call with a fresh principal"},
	"replayed":    {"a principal that was used before", "", "retry with a new call rather than the same header"},
	"no_rule":     {"no access rule", "", "write option (onbehalf.principal.v1.access) beside the method"},
	"kind":        {"a caller of kind %s", "a kind that may not", "add the kind to kinds of the rule, or stop the caller"},
	"scope":       {"without scope %s", "without a scope", "grant %s where the credential is issued, or take it out of the rule"},
	"role":        {"without role %s", "without a role", "grant %s where the credential is issued, or take it out of the rule"},
	"caller":      {"another caller than %s", "a caller that may not", "add the service to callers of the rule, or stop it"},
	"delegations": {"more than %s delegations", "too many delegations", "raise max_delegations of the rule, or stop the agent"},
	"acr":         {"an acr other than %s", "an acr that is too weak", "ask for a stronger login, or take acr out of the rule"},
	"no_keys":     {"no keys", "", "look at the service's connection to the edge"},
	"stale":       {"revocations that are not fresh", "", "look at the service's connection to the edge"},
	"online":      {"the online check failed", "", "look at the service's connection to the edge"},
	"internal":    {"a defect of the service", "", "look for the panic in its log; such calls are refused while observed too"},
}

// ofEdges has an entry for each reason for which an edge refuses a request that
// has a route.
var ofEdges = map[string]advice{
	"missing":     {"no credential", "", "have these clients log in, or write auth: optional"},
	"credential":  {"a credential that is refused: %s", "a credential that is refused", "look at who issues it, and at issuers of the configuration"},
	"unavailable": {"the credential could not be verified", "", "look at the connection to the issuer"},
	"enrichment":  {"the principal could not be enriched", "", "look at the enricher"},
	"signing":     {"no principal could be signed", "", "look at the edge's log and its keys"},
	"stale":       {"the store was out of reach", "", "look at the edge's store"},
	"limited":     {"too many bad credentials from this address", "", "find the client; see limits.failed_credentials"},
}

func (f *Finding) advice(edge bool) advice {
	table := ofServices
	if edge {
		table = ofEdges
	}
	a, known := table[f.Reason]
	if !known {
		a.what = f.Reason
	}
	if f.Needs == "" {
		a.do = strings.Replace(a.do, "%s", "what the rule asks for", 1)
		if a.without != "" {
			a.what = a.without
		}
		return a
	}
	a.what, a.do = strings.Replace(a.what, "%s", f.Needs, 1), strings.Replace(a.do, "%s", f.Needs, 1)
	return a
}
