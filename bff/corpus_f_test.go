package bff_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

// Section F: a credential that is not good is refused for what is wrong with it,
// over each version of HTTP, and the client learns nothing of that.
func TestSectionF(t *testing.T) {
	t.Parallel()
	eachDoor(t, withKeys(setup{}), func(t *testing.T, s *site) {
		t.Helper()
		b := newBench(s)
		var list []trial
		for why, tokens := range badTokens(t, s.edge) {
			for name, token := range tokens {
				list = append(list, trial{
					name: name, becomes: "credential", why: why, anonymous: true, wire: wire{fields: []field{{"Authorization", "Bearer " + token}}},
				})
			}
		}
		b.run(list)
		b.finish()
	})
}

// badTokens are tokens by the reason that they are refused for.
func badTokens(t *testing.T, e *edge) map[string]map[string]string {
	t.Helper()
	with := func(claim string, value any) string { return e.provider.token("alice", map[string]any{claim: value}) }
	payload, signature, _ := strings.Cut(strings.SplitN(e.provider.token("alice", nil), ".", 2)[1], ".")
	header := func(json string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(json)) + "." + payload + "." + signature
	}
	now := e.clock.now()
	return map[string]map[string]string{
		"alg": {
			"F01 none":                 header(`{"alg":"none","typ":"at+jwt","kid":"k1"}`),
			"F01 nOnE":                 header(`{"alg":"nOnE","typ":"at+jwt","kid":"k1"}`),
			"F01 empty":                header(`{"alg":"","typ":"at+jwt","kid":"k1"}`),
			"F01 a secret":             header(`{"alg":"HS256","typ":"at+jwt","kid":"k1"}`),
			"F01 another key's":        header(`{"alg":"ES256","typ":"at+jwt","kid":"k1"}`),
			"F01 EdDSA over a RSA key": header(`{"alg":"EdDSA","typ":"at+jwt","kid":"k1"}`),
		},
		"unsupported": {
			"F02 an unknown extension": header(`{"alg":"RS256","typ":"at+jwt","kid":"k1","crit":["x"],"x":1}`),
			"F02 b64":                  header(`{"alg":"RS256","typ":"at+jwt","kid":"k1","crit":["b64"],"b64":false}`),
			"F02 zip":                  header(`{"alg":"RS256","typ":"at+jwt","kid":"k1","zip":"DEF"}`),
		},
		"signature": {
			"C01 of another key": forged(t, e.provider),
		},
		"malformed": {
			"F03 no dots":            "garbage",
			"F03 two parts":          payload + "." + signature,
			"F03 an algorithm twice": header(`{"alg":"RS256","alg":"none","typ":"at+jwt","kid":"k1"}`),
		},
		"size": {
			"F03 dots": strings.Repeat(".", 10_000),
		},
		"issuer": {
			"F04 another issuer":       with("iss", "https://other.example"),
			"F04 a slash at its end":   with("iss", e.provider.URL+"/"),
			"F04 another case of it":   with("iss", strings.Replace(e.provider.URL, "http", "HTTP", 1)),
			"F04 a user in its issuer": with("iss", strings.Replace(e.provider.URL, "//", "//user@", 1)),
		},
		"audience": {
			"F04 another audience":       with("aud", "other"),
			"F04 audiences without us":   with("aud", []string{"other", "shop2"}),
			"F04 another case of it":     with("aud", "SHOP"),
			"F04 a slash at its end":     with("aud", "shop/"),
			"F04 without an audience":    with("aud", []string{}),
			"F04 in one text of several": with("aud", "other shop"),
		},
		"time": {
			"F04 over":            with("exp", now.Add(-time.Hour).Unix()),
			"F04 not yet":         with("nbf", now.Add(time.Hour).Unix()),
			"F04 from the future": with("iat", now.Add(time.Hour).Unix()),
		},
		"type": {
			"F04 an ID token":                with("nonce", "n"),
			"F04 an ID token of a code flow": with("at_hash", "h"),
		},
	}
}
