package principal

import (
	"errors"
	"fmt"

	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// Reason says why a principal or a call was refused. The list is closed, so
// that it can label metrics; the golden vectors freeze it. The zero value is no
// reason.
type Reason uint8

// The reasons, by the code that a caller sees for them.
const (
	// UNAUTHENTICATED: the caller has not shown who it is.

	ReasonMissing     Reason = iota + 1 // no header, and the rule is not anonymous
	ReasonMultiple                      // more than one header value
	ReasonSize                          // longer than the format allows
	ReasonMalformed                     // not in the format
	ReasonUnsupported                   // of a later version of the format
	ReasonAudience                      // for another service
	ReasonTime                          // expired, not yet valid, or valid for too long
	ReasonUnknownKey                    // no key that may say this: not in the set, in another role, outside its window, or of an issuer that may not name such an identity
	ReasonSignature                     // a signature does not verify
	ReasonOpening                       // presented by someone who does not hold the whole chain
	ReasonWiden                         // a link that claims more than its parent, or one too many
	ReasonPresenter                     // handed over by another workload than the chain names
	ReasonRevoked                       // revoked
	ReasonFloor                         // issued before what the verifier remembers of revocations
	ReasonReplayed                      // single use, and used

	// PERMISSION_DENIED: the caller is known and may not.

	ReasonNoRule      // the method has no access rule
	ReasonKind        // this kind of principal may not
	ReasonScope       // a scope is missing
	ReasonRole        // no role fits
	ReasonCaller      // this service may not
	ReasonDelegations // too many delegations
	ReasonACR         // the authentication is not strong enough

	// UNAVAILABLE: it cannot be decided now.

	ReasonNoKeys // no keys are loaded
	ReasonStale  // revocations are older than the rule allows
	ReasonOnline // the online check failed

	// INTERNAL: a defect of the server.

	ReasonInternal // a panic was stopped

	reasonCount
)

var reasonNames = [reasonCount]string{
	0:             "none",
	ReasonMissing: "missing", ReasonMultiple: "multiple", ReasonSize: "size", ReasonMalformed: "malformed",
	ReasonUnsupported: "unsupported", ReasonAudience: "audience", ReasonTime: "time", ReasonUnknownKey: "unknown_key",
	ReasonSignature: "signature", ReasonOpening: "opening", ReasonWiden: "widen", ReasonPresenter: "presenter",
	ReasonRevoked: "revoked", ReasonFloor: "floor", ReasonReplayed: "replayed",
	ReasonNoRule: "no_rule", ReasonKind: "kind", ReasonScope: "scope", ReasonRole: "role", ReasonCaller: "caller",
	ReasonDelegations: "delegations", ReasonACR: "acr",
	ReasonNoKeys: "no_keys", ReasonStale: "stale", ReasonOnline: "online",
	ReasonInternal: "internal",
}

// String returns the reason's name, e.g. "unknown_key".
func (r Reason) String() string {
	if r >= reasonCount {
		return "unknown"
	}
	return reasonNames[r]
}

// Code returns what a caller is told.
func (r Reason) Code() Code {
	switch {
	case r == 0:
		return CodeOK
	case r <= ReasonReplayed:
		return CodeUnauthenticated
	case r <= ReasonACR:
		return CodePermissionDenied
	case r <= ReasonOnline:
		return CodeUnavailable
	default:
		return CodeInternal
	}
}

// Code is the outcome of a call as a caller sees it. The values are those of
// gRPC and Connect status codes.
type Code uint8

// The codes in use.
const (
	CodeOK                 Code = 0
	CodePermissionDenied   Code = 7
	CodeFailedPrecondition Code = 9
	CodeInternal           Code = 13
	CodeUnavailable        Code = 14
	CodeUnauthenticated    Code = 16
)

// Message is the constant text that goes with a code on the wire. It never
// depends on what the caller sent.
func (c Code) Message() string {
	switch c {
	case CodeOK:
		return ""
	case CodePermissionDenied:
		return "permission denied"
	case CodeFailedPrecondition:
		return "failed precondition"
	case CodeUnavailable:
		return "temporarily unavailable"
	case CodeUnauthenticated:
		return "unauthenticated"
	default:
		return "internal error"
	}
}

// HTTPStatus returns the HTTP status for c.
func (c Code) HTTPStatus() int {
	switch c {
	case CodeOK:
		return 200
	case CodePermissionDenied:
		return 403
	case CodeUnavailable:
		return 503
	case CodeUnauthenticated:
		return 401
	default:
		return 500
	}
}

// Denial is a refusal. Only the constant [Code.Message] may be shown to a
// caller; the reason is for logs and metrics, the detail for a local log.
type Denial struct {
	reason Reason
	detail error
}

// Reason returns why.
func (d *Denial) Reason() Reason { return d.reason }

// Code returns what the caller is told.
func (d *Denial) Code() Code { return d.reason.Code() }

// Error names the reason and, where there is one, the field. It never repeats
// what a header held.
func (d *Denial) Error() string {
	if d.detail == nil {
		return "principal: refused: " + d.reason.String()
	}
	return fmt.Sprintf("principal: refused: %s: %v", d.reason, d.detail)
}

// Unwrap returns the detail.
func (d *Denial) Unwrap() error { return d.detail }

// ReasonOf returns the reason of the denial in err's tree, or 0.
func ReasonOf(err error) Reason {
	if d, ok := errors.AsType[*Denial](err); ok {
		return d.reason
	}
	return 0
}

func deny(r Reason) *Denial { return &Denial{reason: r} }

func denyWith(r Reason, detail error) *Denial { return &Denial{reason: r, detail: detail} }

// denyWire turns a complaint about the bytes into a denial.
func denyWire(err error) *Denial {
	reason := ReasonMalformed
	if e, ok := errors.AsType[*wire.Error](err); ok {
		switch e.Fault {
		case wire.Malformed:
		case wire.Unsupported:
			reason = ReasonUnsupported
		case wire.Time:
			reason = ReasonTime
		case wire.Size:
			reason = ReasonSize
		}
	}
	return denyWith(reason, err)
}
