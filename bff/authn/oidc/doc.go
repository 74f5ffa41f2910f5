// Package oidc authenticates requests by the JWT access tokens (RFC 9068) of
// OpenID providers.
//
// By default, describe each provider with an [Issuer], usually from a
// configuration file, and give them to [New]. A request then carries its token
// as "Authorization: Bearer" (RFC 6750, section 2.1); tokens in a query or a
// form are not taken. What is believed, and in this order:
//
//   - The token has one reading. Size, segments, base64url, JSON depth and
//     duplicate members are checked before any JOSE or JSON library sees it, as
//     are the algorithm and header parameters that bring keys along.
//   - The issuer is one of the configured ones, byte for byte. From here on only
//     its configuration and its keys count: a key id is looked up among the keys
//     of that issuer.
//   - It is an access token, not an ID token, and its signature verifies.
//   - It is in time, and it is for us: without an audience in the configuration
//     there is no [Authenticator].
//   - The issuer's rules name the kind of its subject, and whoever acts on it.
//
// Keys come from discovery (OpenID Connect Discovery 1.0) and are kept fresh in
// the background: good tokens never wait for a fetch, and made-up key ids cause
// at most one in ten seconds.
//
// # What it does not protect against
//
// A stolen bearer token is as good as the rightful one until it ends or is
// revoked. Tokens that are bound to a key of their sender (the claim cnf, as with
// DPoP and mutual TLS) would be better; their binding cannot be checked here yet,
// so they are refused. An issuer is believed in all that it says within its
// own configuration, so that one who also serves others needs an audience, a
// tenant or rules that keep them apart. Addresses of issuers come from whoever
// writes the configuration: they are checked for https, but names are resolved
// wherever they point, which matters if tenants may add issuers.
package oidc
