package oidc

import (
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc/internal/compact"
)

// methods are those of the algorithms that may be configured (RFC 7518, section 3.1,
// and RFC 8037): none of them takes a secret for its key, or no key at all.
var methods = []jwt.SigningMethod{
	jwt.SigningMethodRS256, jwt.SigningMethodRS384, jwt.SigningMethodRS512,
	jwt.SigningMethodPS256, jwt.SigningMethodPS384, jwt.SigningMethodPS512,
	jwt.SigningMethodES256, jwt.SigningMethodES384, jwt.SigningMethodES512,
	jwt.SigningMethodEdDSA,
}

// methodOf returns nil for an algorithm that may not be configured.
func methodOf(algorithm string) jwt.SigningMethod { //nolint:ireturn // they have no other type in common
	for _, m := range methods {
		if m.Alg() == algorithm {
			return m
		}
	}
	return nil
}

// algorithmNames lists them as people read it.
func algorithmNames() string {
	names := make([]string, len(methods))
	for i, m := range methods {
		names[i] = m.Alg()
	}
	return strings.Join(names, ", ")
}

// verifies reports whether the token's signature is that of a key which fits its
// algorithm.
func verifies(u *compact.Unverified, key *jose.JSONWebKey) bool {
	method := methodOf(u.Algorithm)
	return method != nil && method.Verify(u.SigningInput, u.Signature, key.Key) == nil
}
