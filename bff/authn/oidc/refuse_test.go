package oidc_test

import (
	"bytes"
	"compress/flate"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc/internal/compact"
)

func TestF01Algorithms(t *testing.T) {
	t.Parallel()
	rs, es, ed := newKey("rs", "RS256"), newKey("es", "ES256"), newKey("ed", "EdDSA")
	p, c := newIDP(t, rs, es, ed), newClock()
	a := start(t, []oidc.Issuer{p.config()}, oidc.WithClock(c.now))
	for _, k := range p.keys {
		t.Run("good "+k.alg, func(t *testing.T) {
			t.Parallel()
			good := p.token(c.now(), func(header, _ object) { header["alg"], header["kid"] = k.alg, k.id })
			if _, err := authenticate(t.Context(), a, resign(good, k)); err != nil {
				t.Error(err)
			}
		})
	}

	rsaDER := must(x509.MarshalPKIXPublicKey(rs.signer.Public()))
	rsaPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: rsaDER})
	pkcs1PEM := pem.EncodeToMemory(&pem.Block{
		Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(rs.signer.Public().(*rsa.PublicKey)),
	})
	rsaJWK := must(json.Marshal(rs.jwk()))
	claims := payloadOf(p.token(c.now()))
	head := func(alg, kid string) string {
		return string(must(json.Marshal(object{"alg": alg, "kid": kid, "typ": "at+jwt"})))
	}
	unsigned := func(header string) string { return encode([]byte(header)) + "." + encode([]byte(claims)) + "." }
	for name, token := range map[string]string{
		"none":                                   unsigned(head("none", "rs")),
		"None":                                   unsigned(head("None", "rs")),
		"nOnE":                                   unsigned(head("nOnE", "rs")),
		"none with a signature":                  rs.sign(head("none", "rs"), claims),
		"empty":                                  rs.sign(head("", "rs"), claims),
		"absent":                                 rs.sign(`{"kid":"rs","typ":"at+jwt"}`, claims),
		"null":                                   rs.sign(`{"alg":null,"kid":"rs","typ":"at+jwt"}`, claims),
		"array":                                  rs.sign(`{"alg":["RS256"],"kid":"rs","typ":"at+jwt"}`, claims),
		"in lower case":                          rs.sign(head("rs256", "rs"), claims),
		"HS256 with the RSA key's PEM":           hmacSHA256(rsaPEM, head("HS256", "rs"), claims),
		"HS256 with the RSA key's trimmed PEM":   hmacSHA256(bytes.TrimSpace(rsaPEM), head("HS256", "rs"), claims),
		"HS256 with the RSA key's PKCS#1 PEM":    hmacSHA256(pkcs1PEM, head("HS256", "rs"), claims),
		"HS256 with the RSA key's DER":           hmacSHA256(rsaDER, head("HS256", "rs"), claims),
		"HS256 with the RSA key's JWK":           hmacSHA256(rsaJWK, head("HS256", "rs"), claims),
		"HS256 with the empty key":               hmacSHA256(nil, head("HS256", "rs"), claims),
		"RS256, signed so, with the JWK's PS256": rs.sign(head("PS256", "rs"), claims),
		"RS512 of an RS256 key":                  rs.sign(head("RS512", "rs"), claims),
		"ES256 with the id of an RSA key":        es.sign(head("ES256", "rs"), claims),
		"RS256 with the id of an EC key":         rs.sign(head("RS256", "es"), claims),
		"EdDSA with the id of an RSA key":        ed.sign(head("EdDSA", "rs"), claims),
		"EdDSA with the id of an EC key":         ed.sign(head("EdDSA", "es"), claims),
		"ES256 with the id of an Ed25519 key":    es.sign(head("ES256", "ed"), claims),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result, err := authenticate(t.Context(), a, token)
			checkRefused(t, result, err, token, authn.ReasonAlgorithm)
		})
	}
}

// An algorithm that one issuer is allowed is not allowed for the other.
func TestF01AlgorithmsPerIssuer(t *testing.T) {
	t.Parallel()
	one, other, c := newIDP(t, newKey("k", "ES256")), newIDP(t, newKey("k", "ES256")), newClock()
	strict := other.config()
	strict.Algorithms = []string{"EdDSA"}
	a := start(t, []oidc.Issuer{one.config(), strict}, oidc.WithClock(c.now))
	if _, err := authenticate(t.Context(), a, one.token(c.now())); err != nil {
		t.Error(err)
	}
	token := other.token(c.now())
	result, err := authenticate(t.Context(), a, token)
	checkRefused(t, result, err, token, authn.ReasonAlgorithm)
}

// A key's own alg and type bind it where the configuration allows more.
func TestF01KeyDecides(t *testing.T) {
	t.Parallel()
	k := newKey("k1", "RS256")
	p, c := newIDP(t, k), newClock()
	config := p.config()
	config.Algorithms = []string{"RS256", "RS384", "PS256", "ES384"}
	a := start(t, []oidc.Issuer{config}, oidc.WithClock(c.now))
	for _, alg := range []string{"RS384", "PS256", "ES384"} {
		token := p.token(c.now(), header("alg", alg))
		result, err := authenticate(t.Context(), a, token)
		checkRefused(t, result, err, token, authn.ReasonAlgorithm)
	}
}

func resign(token string, k *key) string {
	input := token[:strings.LastIndex(token, ".")]
	return input + "." + encode(k.signature([]byte(input)))
}

func payloadOf(token string) string { return decode(strings.Split(token, ".")[1]) }

func TestF02HeaderSuppliedKeys(t *testing.T) {
	t.Parallel()
	var contacted atomic.Int64
	attacker := newKey("k1", "EdDSA")
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		contacted.Add(1)
		_ = json.NewEncoder(w).Encode(object{"keys": []object{attacker.jwk()}})
	}))
	t.Cleanup(elsewhere.Close)

	p, c := newIDP(t), newClock()
	a := start(t, []oidc.Issuer{p.config()}, oidc.WithClock(c.now))
	before := p.discoveries.Load() + p.fetches.Load()
	for name, edit := range map[string]func(header, claims object){
		"jku":              header("jku", elsewhere.URL),
		"x5u":              header("x5u", elsewhere.URL),
		"jwk":              header("jwk", attacker.jwk()),
		"x5c":              header("x5c", []string{"MIIB"}),
		"null jwk":         header("jwk", nil),
		"crit unknown":     header("crit", []string{"evil"}),
		"crit empty":       header("crit", []string{}),
		"b64 false":        header("b64", false),
		"b64 with crit":    func(h, _ object) { h["b64"], h["crit"] = false, []string{"b64"} },
		"b64 true":         header("b64", true),
		"zip":              header("zip", "DEF"),
		"enc":              header("enc", "A256GCM"),
		"jku beside a kid": func(h, _ object) { h["jku"], h["kid"] = elsewhere.URL, "evil" },
	} {
		for _, signer := range []*key{p.keys[0], attacker} {
			token := resign(p.token(c.now(), edit), signer)
			result, err := authenticate(t.Context(), a, token)
			checkRefused(t, result, err, token, authn.ReasonUnsupported)
			if t.Failed() {
				t.Fatal(name)
			}
		}
	}
	// A URL as key id is an id like any other.
	c.advance(time.Hour)
	token := resign(p.token(c.now(), header("kid", elsewhere.URL)), attacker)
	result, err := authenticate(t.Context(), a, token)
	checkRefused(t, result, err, token, authn.ReasonKey)
	if n := contacted.Load(); n != 0 {
		t.Errorf("%d connections to an address from a token", n)
	}
	if n := p.discoveries.Load() + p.fetches.Load() - before; n != 1 {
		t.Errorf("%d requests to the issuer, want the one for an unknown key", n)
	}
}

// f03 are the inputs that aim at the cost of parsing, with what refuses them.
func f03(p *idp, c *clock) map[string]struct {
	token string
	want  authn.Reason
} {
	k := p.keys[0]
	good := p.token(c.now())
	segments := strings.Split(good, ".")
	head, claims := decode(segments[0]), decode(segments[1])
	nested := strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)
	shallow := strings.Repeat("[", 2_000) + strings.Repeat("]", 2_000)
	twice := func(member string) string { return "{" + member + "," + claims[1:] }
	zeros := new(bytes.Buffer)
	w := must(flate.NewWriter(zeros, flate.BestCompression))
	must(w.Write(make([]byte, 1<<20)))
	_ = w.Close()
	jwe := func(header string) string {
		return encode([]byte(header)) + "." + encode([]byte("key")) + "." + encode([]byte("iv")) + "." +
			encode(zeros.Bytes()) + "." + encode([]byte("tag"))
	}
	return map[string]struct {
		token string
		want  authn.Reason
	}{
		"a million dots":            {strings.Repeat(".", 1_000_000), authn.ReasonSize},
		"as many dots as fit":       {strings.Repeat(".", compact.MaxToken), authn.ReasonMalformed},
		"10 000 segments":           {strings.Repeat("AA.", 9_999) + "AA", authn.ReasonSize},
		"2 000 segments":            {strings.Repeat("AA.", 1_999) + "AA", authn.ReasonMalformed},
		"a header of 1 MiB":         {strings.Repeat("A", 1<<20) + "." + segments[1] + "." + segments[2], authn.ReasonSize},
		"a header as long as fits":  {strings.Repeat("A", 4<<10) + "." + segments[1] + "." + segments[2], authn.ReasonSize},
		"a payload of 1 MiB":        {segments[0] + "." + strings.Repeat("A", 1<<20) + "." + segments[2], authn.ReasonSize},
		"claims nested 10 000 deep": {k.sign(head, `{"iss":"`+p.url+`","a":`+nested+`}`), authn.ReasonSize},
		"claims nested 2 000 deep":  {k.sign(head, `{"iss":"`+p.url+`","a":`+shallow+`}`), authn.ReasonMalformed},
		"header nested 500 deep":    {k.sign(`{"alg":"EdDSA","kid":`+shallow[1_500:2_500]+`}`, claims), authn.ReasonMalformed},
		"many members":              {k.sign(head, manyMembers()), authn.ReasonMalformed},
		"duplicate sub":             {k.sign(head, twice(`"sub":"evil"`)), authn.ReasonMalformed},
		"duplicate aud":             {k.sign(head, twice(`"aud":"evil"`)), authn.ReasonMalformed},
		"duplicate exp":             {k.sign(head, twice(`"exp":99999999999`)), authn.ReasonMalformed},
		"duplicate iss":             {k.sign(head, twice(`"iss":"evil"`)), authn.ReasonMalformed},
		"SUB beside sub":            {k.sign(head, twice(`"SUB":"evil"`)), authn.ReasonMalformed},
		"escaped sub beside sub":    {k.sign(head, twice(`"\u0073ub":"evil"`)), authn.ReasonMalformed},
		"duplicate in act":          {k.sign(head, twice(`"act":{"sub":"a","sub":"evil"}`)), authn.ReasonMalformed},
		"duplicate alg":             {k.sign(`{"alg":"none",`+head[1:], claims), authn.ReasonMalformed},
		"duplicate kid":             {k.sign(`{"kid":"evil",`+head[1:], claims), authn.ReasonMalformed},
		"JWE that inflates":         {jwe(`{"alg":"dir","enc":"A256GCM","zip":"DEF"}`), authn.ReasonUnsupported},
		"JWE with costly PBES2":     {jwe(`{"alg":"PBES2-HS256+A128KW","p2c":2147483647,"p2s":"AA","enc":"A256GCM"}`), authn.ReasonUnsupported},
		"JWE header in a JWS":       {k.sign(`{"alg":"PBES2-HS256+A128KW","p2c":2147483647,"enc":"A256GCM"}`, claims), authn.ReasonUnsupported},
	}
}

func decode(segment string) string { return string(must(rawURL.DecodeString(segment))) }

func manyMembers() string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range 256 {
		b.WriteString(`"` + strconv.Itoa(10_000+i) + `":{},`)
	}
	return b.String() + `"z":0}`
}

func TestF03Refused(t *testing.T) {
	t.Parallel()
	p, c := newIDP(t), newClock()
	a := start(t, []oidc.Issuer{p.config()}, oidc.WithClock(c.now))
	for name, test := range f03(p, c) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result, err := authenticate(t.Context(), a, test.token)
			checkRefused(t, result, err, test.token, test.want)
		})
	}
}

// Not parallel: it counts what the process allocates.
//
//nolint:paralleltest // see above
func TestF03Cost(t *testing.T) {
	p, c := newIDP(t), newClock()
	a := start(t, []oidc.Issuer{p.config()}, oidc.WithClock(c.now))
	inputs := f03(p, c)
	inputs["5 KiB with a bad signature"] = struct {
		token string
		want  authn.Reason
	}{resign(p.token(c.now(), set("padding", strings.Repeat("x", 3_500))), newKey("k1", "EdDSA")), authn.ReasonSignature}
	for name, test := range inputs {
		h := http.Header{"Authorization": {"Bearer " + test.token}}
		const runs = 51
		var before, after runtime.MemStats
		took := make([]time.Duration, runs)
		runtime.ReadMemStats(&before)
		for i := range runs {
			began := time.Now()
			_, err := a.Authenticate(t.Context(), h)
			took[i] = time.Since(began)
			if refusal, ok := errors.AsType[*authn.Error](err); !ok || refusal.Reason != test.want {
				t.Errorf("%s: got %v, want reason %v", name, err, test.want)
			}
		}
		runtime.ReadMemStats(&after)
		slices.Sort(took)
		bytes, median := (after.TotalAlloc-before.TotalAlloc)/runs, took[runs/2]
		t.Logf("%-34s %6d B %10v", name, bytes, median)
		if bytes > 64<<10 || median > slowdown*time.Millisecond {
			t.Errorf("%s: %d B and %v, want at most 64 KiB and 1 ms", name, bytes, median)
		}
	}
}

func TestF04Claims(t *testing.T) {
	t.Parallel()
	p, other, c := newIDP(t), newIDP(t), newClock()
	anyType := other.config()
	anyType.Typ = "any"
	a := start(t, []oidc.Issuer{p.config(), anyType}, oidc.WithClock(c.now))
	now := c.now().Unix()
	for name, test := range map[string]struct {
		edit func(header, claims object)
		want authn.Reason
	}{
		"iss of nobody":                  {set("iss", "https://evil.example"), authn.ReasonIssuer},
		"iss with a slash at the end":    {set("iss", p.url+"/"), authn.ReasonIssuer},
		"iss in upper case":              {set("iss", strings.ToUpper(p.url)), authn.ReasonIssuer},
		"iss missing":                    {without("iss"), authn.ReasonIssuer},
		"aud missing":                    {without("aud"), authn.ReasonAudience},
		"aud null":                       {set("aud", nil), authn.ReasonAudience},
		"aud empty":                      {set("aud", ""), authn.ReasonAudience},
		"aud an empty array":             {set("aud", []string{}), authn.ReasonAudience},
		"aud an array with null":         {set("aud", []any{nil, audience}), authn.ReasonAudience},
		"aud an object":                  {set("aud", object{audience: true}), authn.ReasonAudience},
		"aud of another API":             {set("aud", "https://other.example"), authn.ReasonAudience},
		"aud array without us":           {set("aud", []string{"https://other.example", "canary"}), authn.ReasonAudience},
		"aud with more than us":          {set("aud", audience+"/canary"), authn.ReasonAudience},
		"aud with others but no azp":     {set("aud", []string{audience, "https://other.example"}), authn.ReasonAudience},
		"aud with others, azp no string": {both(set("aud", []string{audience, "x"}), set("azp", 1)), authn.ReasonAudience},
		"exp missing":                    {without("exp"), authn.ReasonTime},
		"exp null":                       {set("exp", nil), authn.ReasonTime},
		"exp a string":                   {set("exp", "9999999999"), authn.ReasonTime},
		"exp negative":                   {set("exp", -1), authn.ReasonTime},
		"exp 0":                          {set("exp", 0), authn.ReasonTime},
		"exp in milliseconds":            {set("exp", now*1000), authn.ReasonTime},
		"exp huge":                       {set("exp", json.Number("1e300")), authn.ReasonTime},
		"exp beyond floats":              {set("exp", json.Number("1e999")), authn.ReasonTime},
		"expired by more than the skew":  {set("exp", now-30), authn.ReasonTime},
		"nbf to come":                    {set("nbf", now+31), authn.ReasonTime},
		"nbf a string":                   {set("nbf", "soon"), authn.ReasonTime},
		"iat to come":                    {set("iat", now+31), authn.ReasonTime},
		"iat a boolean":                  {set("iat", true), authn.ReasonTime},
		"ID token by typ":                {header("typ", "JWT"), authn.ReasonType},
		"typ missing":                    {func(h, _ object) { delete(h, "typ") }, authn.ReasonType},
		"typ empty":                      {header("typ", ""), authn.ReasonType},
		"typ of a logout token":          {header("typ", "logout+jwt"), authn.ReasonType},
		"nonce":                          {set("nonce", "n-0S6_WzA2Mj"), authn.ReasonType},
		"nonce null":                     {set("nonce", nil), authn.ReasonType},
		"at_hash":                        {set("at_hash", "77QmUPtjPfzWtF2AnpK9RQ"), authn.ReasonType},
		"c_hash":                         {set("c_hash", "77QmUPtjPfzWtF2AnpK9RQ"), authn.ReasonType},
		"s_hash":                         {set("s_hash", "77QmUPtjPfzWtF2AnpK9RQ"), authn.ReasonType},
		"events":                         {set("events", object{"http://schemas.openid.net/event/backchannel-logout": object{}}), authn.ReasonType},
		"Keycloak ID token":              {set("typ", "ID"), authn.ReasonType},
		"Keycloak refresh token":         {set("typ", "Refresh"), authn.ReasonType},
		"Cognito ID token":               {set("token_use", "id"), authn.ReasonType},
		"bound to a key":                 {set("cnf", object{"jkt": "x"}), authn.ReasonUnsupported},
		"claims of a type no JWT has":    {set("_claim_names", "x"), authn.ReasonClaims},
		"expired, and signed by an outsider": {
			func(h, cl object) { h["kid"], cl["exp"] = "evil", 1 }, authn.ReasonKey,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token := p.token(c.now(), test.edit)
			result, err := authenticate(t.Context(), a, token)
			checkRefused(t, result, err, token, test.want)
		})
	}
	for name, edit := range map[string]func(header, claims object){
		"nothing special":             set("x", 1),
		"typ with application/":       header("typ", "application/at+jwt"),
		"typ in other case":           header("typ", "AT+JWT"),
		"aud array":                   set("aud", []string{audience}),
		"aud twice us":                set("aud", []string{audience, audience}),
		"aud with others and azp":     both(set("aud", []string{"https://other.example", audience}), set("azp", "web")),
		"expired within the skew":     set("exp", now-29),
		"nbf within the skew":         set("nbf", now+30),
		"nbf 0":                       set("nbf", 0),
		"iat within the skew":         set("iat", now+30),
		"no iat":                      without("iat"),
		"exp with a fraction":         set("exp", json.Number("1e10")),
		"distributed claims, ignored": both(set("_claim_names", object{"g": "s"}), set("_claim_sources", object{"s": object{"endpoint": "http://127.0.0.1:1/"}})),
	} {
		t.Run("good: "+name, func(t *testing.T) {
			t.Parallel()
			if _, err := authenticate(t.Context(), a, p.token(c.now(), edit)); err != nil {
				t.Error(err)
			}
		})
	}
	for name, test := range map[string]struct {
		edit func(header, claims object)
		want authn.Reason
	}{
		"JWT":                       {edit: header("typ", "JWT")},
		"missing":                   {edit: func(h, _ object) { delete(h, "typ") }},
		"at+jwt":                    {edit: header("typ", "at+jwt")},
		"Keycloak access token":     {edit: both(header("typ", "JWT"), set("typ", "Bearer"))},
		"Cognito access token":      {edit: both(header("typ", "JWT"), set("token_use", "access"))},
		"logout+jwt":                {header("typ", "logout+jwt"), authn.ReasonType},
		"application/secevent+jwt":  {header("typ", "application/secevent+jwt"), authn.ReasonType},
		"DPoP+JWT":                  {header("typ", "DPoP+JWT"), authn.ReasonType},
		"JWT with nonce":            {both(header("typ", "JWT"), set("nonce", "n")), authn.ReasonType},
		"JWT with at_hash":          {both(header("typ", "JWT"), set("at_hash", "h")), authn.ReasonType},
		"JWT, Keycloak ID token":    {both(header("typ", "JWT"), set("typ", "ID")), authn.ReasonType},
		"JWT for another audience":  {both(header("typ", "JWT"), set("aud", "web")), authn.ReasonAudience},
		"JWT that is no longer one": {both(header("typ", "JWT"), set("exp", now-300)), authn.ReasonTime},
	} {
		t.Run("typ any: "+name, func(t *testing.T) {
			t.Parallel()
			token := other.token(c.now(), test.edit)
			result, err := authenticate(t.Context(), a, token)
			if test.want != 0 {
				checkRefused(t, result, err, token, test.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func both(edits ...func(header, claims object)) func(header, claims object) {
	return func(header, claims object) {
		for _, edit := range edits {
			edit(header, claims)
		}
	}
}

func TestF04AuthorizedParties(t *testing.T) {
	t.Parallel()
	p, c := newIDP(t), newClock()
	config := p.config()
	config.AuthorizedParties = []string{"web"}
	a := start(t, []oidc.Issuer{config}, oidc.WithClock(c.now))
	if _, err := authenticate(t.Context(), a, p.token(c.now(), set("azp", "web"))); err != nil {
		t.Error(err)
	}
	for _, edit := range []func(header, claims object){set("azp", "evil"), set("azp", nil), set("x", 1)} {
		token := p.token(c.now(), edit)
		result, err := authenticate(t.Context(), a, token)
		checkRefused(t, result, err, token, authn.ReasonAudience)
	}
}

// Who did not sign a token learns nothing from it, as far as reasons go.
func TestSignatureBeforeClaims(t *testing.T) {
	t.Parallel()
	p, c := newIDP(t), newClock()
	a := start(t, []oidc.Issuer{p.config()}, oidc.WithClock(c.now))
	for _, edit := range []func(header, claims object){
		set("x", 1), set("exp", 1), set("aud", "canary"), set("nonce", "n"), set("kind", "canary"), set("exp", "x"),
	} {
		token := resign(p.token(c.now(), edit), newKey("k1", "EdDSA"))
		result, err := authenticate(t.Context(), a, token)
		checkRefused(t, result, err, token, authn.ReasonSignature)
	}
}

func TestEveryCharacterCounts(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"EdDSA", "ES256"} {
		p, c := newIDP(t, newKey("k1", alg)), newClock()
		a := start(t, []oidc.Issuer{p.config()}, oidc.WithClock(c.now))
		good := p.token(c.now())
		if _, err := authenticate(t.Context(), a, good); err != nil {
			t.Fatal(err)
		}
		for i := range len(good) {
			for _, c := range []byte{'A', '-', good[i] ^ 1} {
				token := good[:i] + string(c) + good[i+1:]
				if token == good {
					continue
				}
				if result, err := authenticate(t.Context(), a, token); err == nil || result != nil {
					t.Errorf("%s: accepted with character %d changed to %q", alg, i, c)
				}
			}
		}
	}
}

func TestCredential(t *testing.T) {
	t.Parallel()
	p, c := newIDP(t), newClock()
	a := start(t, []oidc.Issuer{p.config()}, oidc.WithClock(c.now))
	good := p.token(c.now())
	for name, test := range map[string]struct {
		values []string
		want   authn.Reason
		none   bool
	}{
		"no header":                {none: true},
		"an empty header":          {values: []string{""}, none: true},
		"another scheme":           {values: []string{"Basic dTpw"}, none: true},
		"a scheme that is longer":  {values: []string{"Bearers " + good}, none: true},
		"Bearer":                   {values: []string{"Bearer " + good}},
		"bearer":                   {values: []string{"bearer " + good}},
		"two spaces":               {values: []string{"Bearer  " + good}},
		"only the scheme":          {values: []string{"Bearer"}, want: authn.ReasonMalformed},
		"only the scheme, a space": {values: []string{"Bearer "}, want: authn.ReasonMalformed},
		"a tab":                    {values: []string{"Bearer\t" + good}, want: authn.ReasonMalformed},
		"no JWT":                   {values: []string{"Bearer 2YotnFZFEjr1zCsicMWpAA"}, want: authn.ReasonMalformed},
		"trailing text":            {values: []string{"Bearer " + good + " x"}, want: authn.ReasonMalformed},
		"the same twice":           {values: []string{"Bearer " + good, "Bearer " + good}, want: authn.ReasonAmbiguous},
		"beside another scheme":    {values: []string{"Basic dTpw", "Bearer " + good}, want: authn.ReasonAmbiguous},
		"two, joined":              {values: []string{"Bearer " + good + ", Bearer " + good}, want: authn.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result, err := a.Authenticate(t.Context(), http.Header{"Authorization": test.values})
			switch {
			case test.none:
				if result != nil || !errors.Is(err, authn.ErrNoCredential) {
					t.Errorf("got %v and %v, want ErrNoCredential", result, err)
				}
			case test.want != 0:
				checkRefused(t, result, err, good, test.want)
			case err != nil:
				t.Error(err)
			}
		})
	}
	if got := a.CredentialHeaders(); !slices.Equal(got, []string{"Authorization"}) {
		t.Errorf("credential headers: %q", got)
	}
}
