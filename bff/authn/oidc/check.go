package oidc

import (
	"slices"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc/internal/strictjson"
)

// skew is how far the clocks of an issuer and of this process may be apart.
const skew = 30 * time.Second

// acceptsType decides by the header's typ, whose case and leading
// "application/" do not count (RFC 7515, section 4.1.9). All explicitly typed
// JWTs end in +jwt (RFC 8725, section 3.11), so what says that it is another
// one is refused even where the issuer need not say anything.
func (v *verifier) acceptsType(typ string) bool {
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	return typ == typAccessToken || v.config.Typ == typAny && !strings.HasSuffix(typ, "+jwt")
}

// check decides whether a token of this issuer is an access token, in time, and
// for us.
func (v *verifier) check(c claims) (times, error) {
	if mark := foreignMark(c); mark != "" {
		return times{}, refuse(authn.ReasonType, mark)
	}
	// RFC 7800: the token is good only in the hands of who has a certain key.
	// That is not checked, and taken for a bearer token a stolen one would do.
	if c.has("cnf") {
		return times{}, refuse(authn.ReasonUnsupported, "cnf")
	}
	// OpenID Connect Core, section 5.6.2. What they point to is not fetched, but a
	// token in which they are something else was not made by that book.
	for _, name := range [...]string{"_claim_names", "_claim_sources"} {
		if raw, ok := c.find(name); ok && raw[0] != '{' {
			return times{}, refuse(authn.ReasonClaims, name+" is not an object")
		}
	}
	t, err := readTimes(c)
	if err != nil {
		return times{}, err
	}
	if err := t.check(v.now()); err != nil {
		return times{}, err
	}
	return t, v.checkAudience(c)
}

// foreignMark names what shows that a token is not an access token. An ID token
// says that someone logged in to a client, and that client holds it: taken here,
// any client of the issuer could act as each of its users. Marks that tokens of
// several providers have are looked for, as the header's typ is not always there.
func foreignMark(c claims) string {
	// OpenID Connect Core, sections 2 and 3.3.2.11, and FAPI 1.0, part 2.
	for _, name := range [...]string{"nonce", "at_hash", "c_hash", "s_hash"} {
		if c.has(name) {
			return name + " is for ID tokens"
		}
	}
	// Security event tokens, among them logout tokens (RFC 8417).
	if raw, ok := c.find("events"); ok && raw[0] == '{' {
		return "events is for security event tokens"
	}
	// Keycloak says Bearer or DPoP for access tokens; Cognito says access.
	if typ, _ := c.scalar("typ"); slices.Contains([]string{"ID", "Refresh", "Offline", "Logout"}, typ) {
		return "the claim typ names another kind of token"
	}
	if use, _ := c.scalar("token_use"); use == "id" {
		return "token_use is that of an ID token"
	}
	return ""
}

// times are those of a token; the zero time is absent.
type times struct {
	expires, issued, notBefore time.Time
}

func readTimes(c claims) (t times, err error) {
	if t.expires, err = c.date("exp"); err != nil {
		return times{}, err
	}
	if t.issued, err = c.date("iat"); err != nil {
		return times{}, err
	}
	if t.notBefore, err = c.date("nbf"); err != nil {
		return times{}, err
	}
	return t, nil
}

func (t times) check(now time.Time) error {
	switch latest := now.Add(skew); {
	case t.expires.IsZero():
		return refuse(authn.ReasonTime, "exp is missing")
	case !t.expires.Add(skew).After(now):
		return refuse(authn.ReasonTime, "expired")
	case t.notBefore.After(latest):
		return refuse(authn.ReasonTime, "nbf is to come")
	case t.issued.After(latest):
		return refuse(authn.ReasonTime, "iat is to come")
	default:
		return nil
	}
}

// checkAudience wants one of ours in aud. If others are there too, any of them
// could hand the token on to us, so it has to say at least for whom it was made
// (OpenID Connect Core, section 3.1.3.7).
func (v *verifier) checkAudience(c claims) error {
	raw, ok := c.find("aud")
	if !ok {
		return refuse(authn.ReasonAudience, "aud is missing")
	}
	audience, ok := asStrings(raw)
	if !ok {
		single, ok := strictjson.Text(raw)
		if !ok {
			return refuse(authn.ReasonAudience, "aud is neither a string nor an array of strings")
		}
		audience = []string{single}
	}
	ours := 0
	for _, a := range audience {
		if slices.Contains(v.config.Audience, a) {
			ours++
		}
	}
	if ours == 0 {
		return refuse(authn.ReasonAudience, "not for us")
	}
	party, err := c.text("azp")
	switch {
	case err != nil:
		return refuse(authn.ReasonAudience, "azp is not a string")
	case party == "" && ours < len(audience):
		return refuse(authn.ReasonAudience, "for others too, and azp is missing")
	case v.config.AuthorizedParties != nil && !slices.Contains(v.config.AuthorizedParties, party):
		return refuse(authn.ReasonAudience, "azp is not one of authorized_parties")
	default:
		return nil
	}
}
