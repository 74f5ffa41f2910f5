package compact_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc/internal/compact"
)

var algorithms = []string{"RS256", "ES256", "EdDSA"}

const (
	header  = `{"alg":"ES256","kid":"k1","typ":"at+jwt"}`
	payload = `{"iss":"https://idp.example","sub":"248289761001"}`
)

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func token(header, payload string) string {
	return encode(header) + "." + encode(payload) + "." + encode("signature")
}

func TestParse(t *testing.T) {
	t.Parallel()
	in := token(header, payload)
	got, err := compact.Parse(in, algorithms)
	if err != nil {
		t.Fatal(err)
	}
	subject, _ := got.Claims.Get("sub")
	if diff := cmp.Diff(`"248289761001"`, string(subject)); diff != "" {
		t.Errorf("sub differs (-want +got):\n%s", diff)
	}
	got.Claims = nil
	want := &compact.Unverified{
		SigningInput: in[:strings.LastIndex(in, ".")],
		Signature:    []byte("signature"),
		Algorithm:    "ES256",
		KeyID:        "k1",
		Type:         "at+jwt",
		Issuer:       "https://idp.example",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("token differs (-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	good := token(header, payload)
	segments := strings.Split(good, ".")
	for name, test := range map[string]struct {
		in   string
		want authn.Reason
	}{
		"empty":                        {"", authn.ReasonMalformed},
		"one segment":                  {segments[0], authn.ReasonMalformed},
		"two segments":                 {segments[0] + "." + segments[1], authn.ReasonMalformed},
		"four segments":                {good + ".", authn.ReasonMalformed},
		"five segments":                {good + "..", authn.ReasonUnsupported},
		"six segments":                 {good + "...", authn.ReasonMalformed},
		"empty header":                 {"." + segments[1] + "." + segments[2], authn.ReasonMalformed},
		"detached payload":             {segments[0] + ".." + segments[2], authn.ReasonMalformed},
		"empty signature":              {segments[0] + "." + segments[1] + ".", authn.ReasonMalformed},
		"space before":                 {" " + good, authn.ReasonMalformed},
		"space after":                  {good + " ", authn.ReasonMalformed},
		"line end inside":              {good[:5] + "\n" + good[5:], authn.ReasonMalformed},
		"padding":                      {good + "=", authn.ReasonMalformed},
		"standard alphabet":            {strings.Replace(good, good[7:8], "+", 1), authn.ReasonMalformed},
		"JSON serialization":           {`{"payload":"","signatures":[]}`, authn.ReasonMalformed},
		"comma-joined":                 {good + ", Bearer " + good, authn.ReasonMalformed},
		"stray bits in header":         {strayBits(header) + "." + segments[1] + "." + segments[2], authn.ReasonMalformed},
		"stray bits in payload":        {segments[0] + "." + strayBits(payload) + "." + segments[2], authn.ReasonMalformed},
		"a single character":           {segments[0] + "." + segments[1] + ".A", authn.ReasonMalformed},
		"header is no object":          {token(`[]`, payload), authn.ReasonMalformed},
		"payload is no object":         {token(header, `"x"`), authn.ReasonMalformed},
		"typ is no string":             {token(`{"alg":"ES256","kid":"k1","typ":1}`, payload), authn.ReasonMalformed},
		"no kid":                       {token(`{"alg":"ES256"}`, payload), authn.ReasonKey},
		"empty kid":                    {token(`{"alg":"ES256","kid":""}`, payload), authn.ReasonKey},
		"kid is no string":             {token(`{"alg":"ES256","kid":1}`, payload), authn.ReasonKey},
		"long kid":                     {token(`{"alg":"ES256","kid":"`+strings.Repeat("k", 257)+`"}`, payload), authn.ReasonKey},
		"no iss":                       {token(header, `{}`), authn.ReasonIssuer},
		"empty iss":                    {token(header, `{"iss":""}`), authn.ReasonIssuer},
		"iss is no string":             {token(header, `{"iss":["https://idp.example"]}`), authn.ReasonIssuer},
		"iss is null":                  {token(header, `{"iss":null}`), authn.ReasonIssuer},
		"ISS instead of iss":           {token(header, `{"ISS":"https://idp.example"}`), authn.ReasonIssuer},
		"longer than 8 KiB":            {token(header, `{"iss":"`+strings.Repeat("i", compact.MaxToken)+`"}`), authn.ReasonSize},
		"header segment of over 2 KiB": {token(`{"alg":"ES256","x":"`+strings.Repeat("x", compact.MaxHeader)+`"}`, payload), authn.ReasonSize},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := compact.Parse(test.in, algorithms)
			refusal, ok := errors.AsType[*authn.Error](err)
			if got != nil || !ok || refusal.Reason != test.want {
				t.Errorf("got %v and %v, want reason %v", got, err, test.want)
			}
		})
	}
}

// strayBits encodes s with a bit set that stands for nothing.
func strayBits(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if len(s)%3 == 0 {
		s += " "
	}
	segment := encode(s)
	last := len(segment) - 1
	return segment[:last] + string(alphabet[strings.IndexByte(alphabet, segment[last])|1])
}

// What is accepted is one JWS for go-jose too, and the same one.
func FuzzParse(f *testing.F) {
	good := token(header, payload)
	for _, seed := range []string{
		good, good + "..", token(header, `{"iss":"a","aud":["a"],"act":{"sub":"b"}}`),
		token(`{"alg":"none"}`, payload), token(`{"alg":"EdDSA","kid":"\u006b"}`, payload), "...", "..",
	} {
		f.Add(seed)
	}
	allowed := []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := compact.Parse(in, algorithms)
		if err != nil {
			if _, ok := errors.AsType[*authn.Error](err); !ok || got != nil {
				t.Errorf("got %v and %v", got, err)
			}
			return
		}
		jws, err := jose.ParseSignedCompact(in, allowed)
		if err != nil {
			t.Fatalf("go-jose does not take it: %v", err)
		}
		signature := jws.Signatures[0]
		if h := signature.Protected; h.Algorithm != got.Algorithm || h.KeyID != got.KeyID {
			t.Errorf("go-jose reads %q and %q, we %q and %q", h.Algorithm, h.KeyID, got.Algorithm, got.KeyID)
		}
		encoded := base64.RawURLEncoding.EncodeToString(jws.UnsafePayloadWithoutVerification())
		again := in[:strings.IndexByte(in, '.')] + "." + encoded + "." + base64.RawURLEncoding.EncodeToString(signature.Signature)
		if again != in {
			t.Errorf("encodes to another token")
		}
		for _, m := range got.Claims {
			if !bytes.Contains(jws.UnsafePayloadWithoutVerification(), m.Value) {
				t.Errorf("claim %q is not from the payload", m.Name)
			}
		}
	})
}
