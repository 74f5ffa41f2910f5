package oidc

import (
	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc/internal/compact"
)

// methods are the algorithms that may be configured (RFC 7518, section 3.1, and
// RFC 8037): none of them takes a secret for its key, or no key at all.
var methods = map[string]jwt.SigningMethod{
	"RS256": jwt.SigningMethodRS256, "RS384": jwt.SigningMethodRS384, "RS512": jwt.SigningMethodRS512,
	"PS256": jwt.SigningMethodPS256, "PS384": jwt.SigningMethodPS384, "PS512": jwt.SigningMethodPS512,
	"ES256": jwt.SigningMethodES256, "ES384": jwt.SigningMethodES384, "ES512": jwt.SigningMethodES512,
	"EdDSA": jwt.SigningMethodEdDSA,
}

// verifies reports whether the token's signature is that of a key which fits its
// algorithm.
func verifies(u *compact.Unverified, key *jose.JSONWebKey) bool {
	method := methods[u.Algorithm]
	return method != nil && method.Verify(u.SigningInput, u.Signature, key.Key) == nil
}
