// Package keyset holds the public keys that principals are verified with, and
// reads and writes the files that keys live in.
//
// A service takes its keys from the edge with [NewRemote]: it names the URL of
// the edge's key set, the issuers and the services whose keys it trusts, and
// hands the set to a verifier.
//
//	keys, err := keyset.NewRemote(ctx, "https://bff.internal:9443/.well-known/onbehalf/jwks.json", keyset.Trust{
//		Issuers:  []string{"https://bff.example.com"},
//		Services: []string{"orders", "payments"},
//	})
//	if err != nil {
//		return err
//	}
//	defer keys.Close()
//	verifier, err := principal.NewVerifier("ledger", keys)
//
// [NewStatic] and [ReadFile] are for keys that are part of a deployment. Both
// sides of a key file are here as well: [CreatePrivateKey], [ReadPrivateKey],
// and [Marshal] for the public half.
//
// Key sets travel as JSON Web Key Sets (RFC 7517, RFC 8037). Each key says what
// it is for in two members of our own, onb_role ("authority" or "link") and
// onb_owner (the issuer's or the service's name):
//
//	{"keys":[{"kid":"rT2T6bf1Fdg","kty":"OKP","crv":"Ed25519","x":"…","alg":"Ed25519","use":"sig",
//	          "onb_role":"link","onb_owner":"orders","nbf":1767225600,"exp":1769904000}]}
//
// nbf and exp are in seconds and may be absent; all else has to be there.
//
// What this package does not protect against: whoever controls a key set's
// server, or can write a key file, decides who is believed, within the names
// that [Trust] lists. And a key that is taken out of a remote set goes on being
// believed until the next fetch; what has to end within seconds is revoked.
package keyset
