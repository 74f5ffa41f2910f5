package authn

import (
	"context"
	"errors"
	"net/http"
	"slices"
)

// List is an [Authenticator] made of several. It is safe for concurrent use.
// The zero value, like [NewList] of nothing, never finds a credential.
type List struct {
	authenticators []Authenticator
}

// NewList returns an authenticator that asks each of authenticators in the
// order given. The one that finds its credential decides.
//
// A request in which a second one finds a credential too is refused as
// ambiguous: whoever can add a header to another's request could otherwise
// choose as whom it is made.
func NewList(authenticators ...Authenticator) *List {
	return &List{authenticators: slices.Clone(authenticators)}
}

// Authenticate implements [Authenticator].
func (l *List) Authenticate(ctx context.Context, h http.Header) (*Result, error) {
	var result *Result
	err := ErrNoCredential
	for _, a := range l.authenticators {
		r, e := a.Authenticate(ctx, h)
		switch {
		case errors.Is(e, ErrNoCredential):
		case !errors.Is(err, ErrNoCredential):
			return nil, &Error{Reason: ReasonAmbiguous, Detail: "credentials of more than one type"}
		case e == nil && r == nil:
			err = errors.New("authn: an authenticator returned neither a result nor an error")
		default:
			result, err = r, e
		}
	}
	if err != nil {
		return nil, err
	}
	return result, nil
}

// CredentialHeaders implements [Authenticator] with the names of all members.
func (l *List) CredentialHeaders() []string {
	var names []string
	for _, a := range l.authenticators {
		for _, name := range a.CredentialHeaders() {
			name = http.CanonicalHeaderKey(name)
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}
