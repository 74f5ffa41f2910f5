package feed

import (
	"context"
	"errors"
	"regexp"
	"unicode"
	"unicode/utf8"

	"connectrpc.com/connect/v2"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// ErrInvalid says that what was asked for makes no sense. The rest of the text
// says why.
var ErrInvalid = errors.New("feed: invalid")

// What callers are told. The texts are constant: nothing that was sent, and
// nothing that is kept, gets into them.
var (
	errService       = connect.NewError(connect.CodeInvalidArgument, "service: is not a service name; use up to 63 of a-z, 0-9, . and -")
	errOwnName       = connect.NewError(connect.CodePermissionDenied, "service: is the edge's own name")
	errInstance      = connect.NewError(connect.CodeInvalidArgument, "instance: is not 16 bytes")
	errSettings      = connect.NewError(connect.CodeInvalidArgument, "version, settings: at most 32 of at most 256 printable bytes")
	errCertificate   = connect.NewError(connect.CodePermissionDenied, "the client certificate names no service of this mesh")
	errExpired       = connect.NewError(connect.CodeUnavailable, "the client certificate has expired: connect again with the next one")
	errNoCertificate = connect.NewError(connect.CodePermissionDenied, "this edge asks for a client certificate that names the service")
	errOther         = connect.NewError(connect.CodePermissionDenied, "the client certificate is of another service")

	errBehind      = connect.NewError(connect.CodeUnavailable, "behind: this edge does not know yet what the caller knows; try again")
	errStale       = connect.NewError(connect.CodeUnavailable, "stale: this edge has not heard from its store for too long; try again")
	errFull        = connect.NewError(connect.CodeResourceExhausted, "this edge has as many watchers as it takes; try another one")
	errReplaced    = connect.NewError(connect.CodeAborted, "replaced by a later Watch of the same instance")
	errNotWatching = connect.NewError(connect.CodeNotFound, "this instance does not watch here")
	errUnverified  = connect.NewError(connect.CodePermissionDenied, "this instance watches with a client certificate")

	errStore = connect.NewError(connect.CodeUnavailable, "the edge's store is not available; try again")
	errOften = connect.NewError(connect.CodeResourceExhausted, "too many requests of this service; try again in a second")

	errPublicKey   = connect.NewError(connect.CodeInvalidArgument, "public_key: is not the SubjectPublicKeyInfo of an Ed25519 or ECDSA P-256 key")
	errProof       = connect.NewError(connect.CodeInvalidArgument, "proof: is not a signature of this key over this service and key")
	errClaimed     = connect.NewError(connect.CodeAlreadyExists, "this public key is in use, or was: make a new one")
	errManyKeys    = connect.NewError(connect.CodeResourceExhausted, "the service has as many link keys as it may: wait until one expires, or revoke one")
	errCredential  = connect.NewError(connect.CodeUnauthenticated, "show who the service is: with a client certificate, an enrollment token or a link key that is enrolled")
	errToken       = connect.NewError(connect.CodePermissionDenied, "the enrollment token is unknown, used, expired or of another service: have a new one made")
	errRenewal     = connect.NewError(connect.CodePermissionDenied, "renewal: is not a signature of a link key of this service that is enrolled and valid")
	errOut         = connect.NewError(connect.CodePermissionDenied, "the service was revoked: enrol with a token that is made after that")
	errSigned      = connect.NewError(connect.CodeUnauthenticated, "signed: is not a signature of a link key of this service that is enrolled and valid")
	errTime        = connect.NewError(connect.CodeUnauthenticated, "signed: the time is not within 30 seconds of this edge's clock")
	errNonce       = connect.NewError(connect.CodeUnauthenticated, "signed: the nonce is not 16 bytes, or was used before")
	errNotIssued   = connect.NewError(connect.CodeUnimplemented, "this edge issues no principals to services")
	errIssue       = connect.NewError(connect.CodeInternal, "the edge could not issue a principal: see its log")
	errRenewed     = connect.NewError(connect.CodeUnauthenticated, "header: is not a valid principal for this service")
	errRelayed     = connect.NewError(connect.CodePermissionDenied, "header: is relayed, and everybody could renew it")
	errLinks       = connect.NewError(connect.CodePermissionDenied, "header: was passed on by another service, which has to renew it")
	errStreamUntil = connect.NewError(connect.CodeFailedPrecondition, "header: its session has ended, or is not known")
)

// refusal is what a caller is told of an error of the store.
func refusal(err error) error {
	if errors.Is(err, context.Canceled) && !errors.Is(err, store.ErrUnavailable) {
		return connect.NewError(connect.CodeCanceled, "canceled").WithCause(err)
	}
	return errStore
}

var serviceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)

func isServiceName(s string) bool { return len(s) <= 63 && serviceName.MatchString(s) }

// maxText bounds what clients say of themselves, in bytes.
const maxText = 256

// isPrintable reports whether people can be shown s.
func isPrintable(s string) bool {
	if len(s) > maxText || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
