package authn

// Reason says why a credential was refused. The list is closed, so that it can
// label metrics. The zero value is no reason.
type Reason uint8

// The reasons. All but [ReasonUnavailable] mean that the caller has not shown
// who it is (401).
const (
	ReasonMalformed   Reason = iota + 1 // not in the credential's format, or with two readings
	ReasonSize                          // longer than allowed
	ReasonUnsupported                   // encrypted, bound to a key, or with a header parameter that is refused
	ReasonAlgorithm                     // signed with an algorithm that is not allowed, or not the key's
	ReasonIssuer                        // by an issuer that is not configured
	ReasonType                          // another kind of token, e.g. an ID token
	ReasonKey                           // signed by a key that the issuer does not have
	ReasonSignature                     // the signature does not verify
	ReasonTime                          // expired, not yet valid, or without an end
	ReasonAudience                      // for someone else
	ReasonClaims                        // a claim is missing, of the wrong type, or beyond a limit
	ReasonKind                          // no rule says what kind of party the subject is
	ReasonActor                         // acted on by someone who is not a configured agent
	ReasonAmbiguous                     // more than one credential
	ReasonRevoked                       // revoked, or somebody or something that it names is
	ReasonUnavailable                   // cannot be decided now (503); never anonymous

	reasonCount
)

var reasonNames = [reasonCount]string{
	0:               "none",
	ReasonMalformed: "malformed", ReasonSize: "size", ReasonUnsupported: "unsupported", ReasonAlgorithm: "alg",
	ReasonIssuer: "issuer", ReasonType: "type", ReasonKey: "key", ReasonSignature: "signature",
	ReasonTime: "time", ReasonAudience: "audience", ReasonClaims: "claims", ReasonKind: "kind",
	ReasonActor: "actor", ReasonAmbiguous: "ambiguous", ReasonRevoked: "revoked", ReasonUnavailable: "unavailable",
}

// String returns the reason's name, e.g. "alg".
func (r Reason) String() string {
	if r >= reasonCount {
		return "unknown"
	}
	return reasonNames[r]
}

// Error is a refusal. None of its fields ever holds a part of the credential
// or a value that a caller chose, so every way of printing it is safe for a
// local log. It is not for the caller: who knows why a forgery failed improves it.
type Error struct {
	Reason Reason

	// Detail names the claim, header parameter or limit concerned, in words of
	// the authenticator or of its configuration. It may be empty.
	Detail string

	// Issuer is the configured one whose credential it claims to be, for the record.
	// It may be empty.
	Issuer string
}

// Error returns the reason and the detail.
func (e *Error) Error() string {
	if e.Detail == "" {
		return "authn: " + e.Reason.String()
	}
	return "authn: " + e.Reason.String() + ": " + e.Detail
}
