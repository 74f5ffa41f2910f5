package oidc

import "net"

// ReadKeySetForTest returns how many keys of a JWK set can be used, and whether
// one of them is not a public signature key of ours.
func ReadKeySetForTest(body []byte) (usable int, odd bool, err error) {
	set, _, err := parseKeySet(body)
	for _, keys := range set {
		for i := range keys {
			usable++
			algorithm := false
			for _, a := range []string{"RS256", "ES256", "ES384", "ES512", "EdDSA", "PS256"} {
				algorithm = algorithm || fits(&keys[i], a)
			}
			named := keys[i].Algorithm != "" // may name an algorithm that no configuration allows
			odd = odd || !keys[i].IsPublic() || !algorithm && !named
		}
	}
	return usable, odd, err
}

// WithResolverForTest sets who is asked for addresses.
func WithResolverForTest(r *net.Resolver) Option {
	return optionFunc(func(o *options) { o.resolver = r })
}
