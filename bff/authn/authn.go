// Package authn turns the credential of an external request into facts about
// its caller.
//
// By default an edge builds one [Authenticator] for each type of credential it
// takes (package oidc for the JWT access tokens of OpenID providers) and joins
// them with [NewList]. Every refusal is an [*Error] with one of a closed list
// of reasons; [ErrNoCredential] is the only outcome that may lead to an
// anonymous request.
//
// An authenticator says who came; it does not decide what the caller may do. It
// does not know about revocations either: who mints a principal from a [Result]
// checks its identities, session and issue time against them.
package authn

import (
	"context"
	"errors"
	"net/http"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
)

// ErrNoCredential says that a request carries no credential of the type that an
// authenticator knows: not even a broken one, which is an [*Error].
var ErrNoCredential = errors.New("authn: no credential")

// Result is what an [Authenticator] vouches for. It belongs to the caller of
// Authenticate, who may modify it; who keeps one for later hands out copies.
type Result struct {
	// Principal has the facts that come from the credential: subject,
	// delegations, scopes, roles, tenant, client_id, session_id, authentication
	// and attributes, within the limits and in the order of the wire format. All
	// other fields are unset; they are the minter's.
	Principal *principalv1.Principal

	// ExpiresAt is the end of the credential as it is written there. Within the
	// allowed skew of clocks it may already have passed: a minter that finds no
	// time left refuses.
	ExpiresAt time.Time

	// Issuer is who issued the credential, for the record: an OpenID provider's
	// URL. It is empty if there is nobody to name.
	Issuer string

	// IssuedAt is when the credential was issued, for comparison with
	// revocations. It is zero if the credential does not say.
	IssuedAt time.Time
}

// Authenticator verifies credentials of one type. It is safe for concurrent use.
type Authenticator interface {
	// Authenticate returns what the credential in h says. Its error is
	// ErrNoCredential if h has no credential of this type, and an *Error if it
	// has one that is refused. A caller takes any other error as "unavailable",
	// never as anonymous. The header is not modified.
	Authenticate(ctx context.Context, h http.Header) (*Result, error)

	// CredentialHeaders returns the names of the headers that may carry the
	// credential, in canonical form. An edge removes them from every request
	// that it forwards, authenticated or not.
	CredentialHeaders() []string
}
