package keyset_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"

	"github.com/google/go-cmp/cmp"
)

func TestMarshalWritesWhatParseReads(t *testing.T) {
	t.Parallel()
	withWindow := link(t, "orders", "k2")
	withWindow.NotBefore, withWindow.NotAfter = time.Unix(1767225600, 0), time.Unix(1769904000, 999)
	keys := []principal.Key{
		authority(t, edgeA, "k1"),
		record(t, principal.RoleAuthority, "https://edge.test/a?b=<c>&d=ü", "Az09-_", ecKey(t, "hsm")),
		withWindow,
	}
	data := marshal(t, keys...)
	got, skipped, err := keyset.Parse(data)
	if err != nil || len(skipped) > 0 {
		t.Fatal(skipped, err)
	}
	keys[2].NotAfter = time.Unix(1769904000, 0)
	if diff := cmp.Diff(keys, got, sameKeys); diff != "" {
		t.Error(diff)
	}
	if again := marshal(t, got...); !bytes.Equal(again, data) {
		t.Errorf("marshalled again: %s, not %s", again, data)
	}
}

// The keys are those of RFC 8037, appendix A.2, and RFC 7517, appendix A.1.
func TestParseAndMarshalPublishedKeys(t *testing.T) {
	t.Parallel()
	const set = `{"keys":[` +
		`{"kid":"kPrK_qmxVWa","kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",` +
		`"alg":"Ed25519","use":"sig","onb_role":"link","onb_owner":"orders","nbf":1767225600,"exp":1769904000},` +
		`{"kid":"1","kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",` +
		`"alg":"ES256","use":"sig","onb_role":"authority","onb_owner":"https://edge-a.test"}]}` + "\n"
	keys, skipped, err := keyset.Parse([]byte(set))
	if err != nil || len(skipped) > 0 {
		t.Fatal(skipped, err)
	}
	if got := string(marshal(t, keys...)); got != set {
		t.Errorf("got %s", got)
	}
	public, ok := keys[0].Public.Crypto().(ed25519.PublicKey)
	if want := "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"; !ok || hex.EncodeToString(public) != want {
		t.Errorf("the first key is %x", public)
	}
	if id := keys[0].Public.ID(); id != keys[0].ID { // RFC 8037, appendix A.3
		t.Errorf("the first key's thumbprint is %s", id)
	}
	if from, until := keys[0].NotBefore.Format(time.DateOnly), keys[0].NotAfter.Format(time.DateOnly); from != "2026-01-01" || until != "2026-02-01" {
		t.Errorf("the first key's window is %s to %s", from, until)
	}
	if got := string(marshal(t)); got != `{"keys":[]}`+"\n" {
		t.Errorf("no keys: %s", got)
	}
}

func TestMarshalRefuses(t *testing.T) {
	t.Parallel()
	with := func(edit func(*principal.Key)) principal.Key {
		key := authority(t, edgeA, "k1")
		edit(&key)
		return key
	}
	for name, tt := range map[string]struct {
		keys []principal.Key
		want string
	}{
		"the zero key":       {[]principal.Key{{}}, "without a public key"},
		"a key twice":        {[]principal.Key{authority(t, edgeA, "k1"), authority(t, edgeA, "k1")}, "two authority keys"},
		"owner not UTF-8":    {[]principal.Key{with(func(k *principal.Key) { k.Owner = "a\xff" })}, "bytes of text"},
		"window before 1970": {[]principal.Key{with(func(k *principal.Key) { k.NotBefore = time.Unix(-1, 0) })}, "between 1970"},
		"window at 1970":     {[]principal.Key{with(func(k *principal.Key) { k.NotAfter = time.Unix(0, 0) })}, "between 1970"},
		"window after 9999":  {[]principal.Key{with(func(k *principal.Key) { k.NotAfter = time.Unix(1<<38, 0) })}, "between 1970"},
		"empty window": {[]principal.Key{with(func(k *principal.Key) {
			k.NotBefore, k.NotAfter = time.Unix(9, 0), time.Unix(9, 5)
		})}, "window is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := keyset.Marshal(tt.keys)
			if err == nil || !strings.Contains(err.Error(), tt.want) || data != nil {
				t.Errorf("Marshal = %s, %v; want an error with %q", data, err, tt.want)
			}
		})
	}
}

// The member that edit changes makes the key unusable. The key beside it stays.
func TestParseSkips(t *testing.T) {
	t.Parallel()
	set := func(name string, value any) func(map[string]any) {
		return func(m map[string]any) { m[name] = value }
	}
	without := func(name string) func(map[string]any) {
		return func(m map[string]any) { delete(m, name) }
	}
	x := base64.RawURLEncoding.EncodeToString
	ed, ec := authority(t, edgeA, "k1"), record(t, principal.RoleAuthority, edgeA, "k1", ecKey(t, "hsm"))
	tests := map[string]struct {
		key  principal.Key
		edit func(map[string]any)
		want string
	}{
		"RSA":                     {ed, set("kty", "RSA"), "kty is not OKP or EC"},
		"kty in another case":     {ed, set("kty", "okp"), "kty is not OKP or EC"},
		"an unknown type":         {ed, set("kty", "AKP"), "kty is not OKP or EC"},
		"X25519":                  {ed, set("crv", "X25519"), "crv is not"},
		"Ed448":                   {ed, set("crv", "Ed448"), "crv is not"},
		"OKP with P-256":          {ed, set("crv", "P-256"), "crv is not"},
		"secp256k1":               {ec, set("crv", "secp256k1"), "crv is not"},
		"EC with Ed25519":         {ec, set("crv", "Ed25519"), "crv is not"},
		"OKP with y":              {ed, set("y", x(make([]byte, 32))), "y in an OKP key"},
		"EdDSA is no algorithm":   {ed, set("alg", "EdDSA"), `alg is not "Ed25519"`},
		"alg none":                {ed, set("alg", "none"), `alg is not "Ed25519"`},
		"ES256 with Ed25519":      {ed, set("alg", "ES256"), `alg is not "Ed25519"`},
		"Ed25519 with P-256":      {ec, set("alg", "Ed25519"), `alg is not "ES256"`},
		"for encryption":          {ed, set("use", "enc"), `use is not "sig"`},
		"C02 no such role":        {ed, set("onb_role", "revocation"), "onb_role is not"},
		"C02 the zero role":       {ed, set("onb_role", "none"), "onb_role is not"},
		"C02 a link key of a URL": {ed, set("onb_role", "link"), "no header can name"},
		"owner empty":             {ed, set("onb_owner", ""), "no header can name"},
		"owner null":              {ed, set("onb_owner", nil), "onb_owner is not a string"},
		"C01 kid empty":           {ed, set("kid", ""), "no header can name"},
		"C01 kid with a path":     {ed, set("kid", "../../etc/passwd"), "no header can name"},
		"C01 kid with a NUL":      {ed, set("kid", "k\x00"), "no header can name"},
		"C01 kid of 10 KiB":       {ed, set("kid", strings.Repeat("k", 10<<10)), "no header can name"},
		"kid a number":            {ed, set("kid", 1), "kid is not a string"},
		"kid null":                {ed, set("kid", nil), "kid is not a string"},
		"x padded":                {ed, set("x", x(make([]byte, 32))+"="), "x is not 32 bytes"},
		"x in standard base64":    {ed, set("x", strings.Repeat("+", 42)+"8"), "x is not 32 bytes"},
		"x with a line break":     {ed, func(m map[string]any) { m["x"] = m["x"].(string)[:20] + "\n" + m["x"].(string)[20:] }, "x is not 32 bytes"},
		"x with stray bits":       {ed, set("x", strings.Repeat("A", 42)+"B"), "x is not 32 bytes"},
		"x of 31 bytes":           {ed, set("x", x(make([]byte, 31))), "x is not 32 bytes"},
		"x of 33 bytes":           {ed, set("x", x(make([]byte, 33))), "x is not 32 bytes"},
		"x empty":                 {ed, set("x", ""), "x is not 32 bytes"},
		"y of 31 bytes":           {ec, set("y", x(make([]byte, 31))), "y is not 32 bytes"},
		"C04 of low order":        {ed, set("x", x(append([]byte{1}, make([]byte, 31)...))), "low order"},
		"C04 not canonical":       {ed, set("x", x(bytes.Repeat([]byte{0xff}, 32))), "not canonical"},
		"C04 not on the curve":    {ed, set("x", x(append([]byte{2}, make([]byte, 31)...))), "not a point"},
		"C04 not on P-256":        {ec, set("y", x(make([]byte, 32))), "not a point of P-256"},
		"nbf a string":            {ed, set("nbf", "1767225600"), "nbf is not a time"},
		"nbf null":                {ed, set("nbf", nil), "nbf is not a time"},
		"nbf with a fraction":     {ed, set("nbf", 1767225600.5), "nbf is not a time"},
		"exp zero":                {ed, set("exp", 0), "exp is not a time"},
		"exp negative":            {ed, set("exp", -5), "exp is not a time"},
		"exp after 9999":          {ed, set("exp", 253402300800), "exp is not a time"},
		"exp out of range":        {ed, set("exp", 1e300), "exp is not a time"},
		"exp at nbf":              {ed, func(m map[string]any) { m["nbf"], m["exp"] = 5, 5 }, "window is empty"},
	}
	for _, name := range []string{"kid", "kty", "crv", "x", "alg", "use", "onb_role", "onb_owner"} {
		tests["without "+name] = struct {
			key  principal.Key
			edit func(map[string]any)
			want string
		}{ed, without(name), "no " + name}
		tests["in capitals "+name] = struct {
			key  principal.Key
			edit func(map[string]any)
			want string
		}{ed, func(m map[string]any) { m[strings.ToUpper(name)] = m[name]; delete(m, name) }, "no " + name}
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv", "seed"} {
		tests["private member "+name] = struct {
			key  principal.Key
			edit func(map[string]any)
			want string
		}{ed, set(name, "canary"), "not only the public half"}
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one := document(t, tt.key, tt.edit)
			other := link(t, "orders", "k9")
			data := bytes.Replace(marshal(t, other), []byte("]"), append([]byte(","), bytes.TrimPrefix(one, []byte(`{"keys":[`))...), 1)
			data = bytes.TrimSuffix(bytes.TrimSpace(data), []byte("}"))
			keys, skipped, err := keyset.Parse(data)
			if err != nil {
				t.Fatalf("%v in %s", err, data)
			}
			if diff := cmp.Diff([]principal.Key{other}, keys, sameKeys); diff != "" {
				t.Error(diff)
			}
			if len(skipped) != 1 || !strings.Contains(skipped[0].Error(), tt.want) || !strings.Contains(skipped[0].Error(), "key 2") {
				t.Errorf("skipped %v, want %q", skipped, tt.want)
			}
			if s := fmt.Sprint(skipped); len(s) > 200 || strings.Contains(s, "canary") || strings.Contains(s, "passwd") {
				t.Errorf("the document shows in %s", s)
			}
		})
	}
}

// Of several records with one name or one public key none is believed: their
// order must not decide.
func TestParseSkipsAmbiguousKeys(t *testing.T) {
	t.Parallel()
	two := func(a, b []byte) []byte {
		return []byte(strings.Replace(string(bytes.TrimSpace(a)), "]}", ","+strings.TrimPrefix(string(b), `{"keys":[`), 1))
	}
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"one name": {two(marshal(t, link(t, "orders", "k1")), document(t, link(t, "orders", "k2"), func(m map[string]any) { m["kid"] = "k1" })),
			"same role, owner and kid"},
		"one key, two ids": {two(marshal(t, link(t, "orders", "k1")), document(t, link(t, "orders", "k1"), func(m map[string]any) { m["kid"] = "k2" })),
			"same public key"},
		"C02 one key, two roles": {two(marshal(t, link(t, "orders", "k1")), document(t, link(t, "orders", "k1"), func(m map[string]any) {
			m["onb_role"], m["onb_owner"] = "authority", edgeA
		})), "same public key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			third := link(t, "payments", "k1")
			keys, skipped, err := keyset.Parse(two(tt.data, marshal(t, third)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]principal.Key{third}, keys, sameKeys); diff != "" {
				t.Error(diff)
			}
			if len(skipped) != 2 || !strings.Contains(skipped[0].Error(), tt.want) || !strings.Contains(skipped[1].Error(), tt.want) {
				t.Errorf("skipped %v, want twice %q", skipped, tt.want)
			}
		})
	}
}

func TestParseRefusesTheDocument(t *testing.T) {
	t.Parallel()
	good := strings.TrimSpace(string(marshal(t, authority(t, edgeA, "k1"))))
	if _, _, err := keyset.Parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ data, want string }{
		"nothing":                       {"", "not a JSON document"},
		"null":                          {"null", "list of keys"},
		"a list":                        {`[]`, "list of keys"},
		"no keys member":                {`{}`, "list of keys"},
		"keys in capitals":              {`{"KEYS":[]}`, "list of keys"},
		"keys null":                     {`{"keys":null}`, "list of keys"},
		"keys an object":                {`{"keys":{}}`, "list of keys"},
		"cut off":                       {good[:len(good)-1], "not a JSON document"},
		"followed by something":         {good + "{}", "not a JSON document"},
		"byte order mark":               {"\ufeff" + good, "not a JSON document"},
		"not UTF-8":                     {strings.Replace(good, "k1", "k\xff", 1), "not a JSON document"},
		"a comment":                     {"/* */" + good, "not a JSON document"},
		"keys twice":                    {`{"keys":[],"keys":[]}`, "there twice"},
		"kid twice":                     {strings.Replace(good, `"kid":"k1"`, `"kid":"k1","kid":"k1"`, 1), "there twice"},
		"x twice":                       {strings.Replace(good, `"kid":`, `"x":"","kid":`, 1), "there twice"},
		"kid twice, once escaped":       {strings.Replace(good, `"kid":"k1"`, `"kid":"k1","k\u0069d":"k2"`, 1), "there twice"},
		"twice in what it does not use": {strings.Replace(good, `"kid":`, `"z":{"a":1,"a":2},"kid":`, 1), "there twice"},
		"nested":                        {`{"keys":[` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `]}`, "nested deeper"},
		"nested beyond JSON's limit":    {strings.Repeat("[", 1<<20), "not a JSON document"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys, skipped, err := keyset.Parse([]byte(tt.data))
			if err == nil || !strings.Contains(err.Error(), tt.want) || keys != nil || skipped != nil {
				t.Errorf("Parse = %v, %v, %v; want an error with %q", keys, skipped, err, tt.want)
			}
		})
	}
}

func TestParseIgnoresWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	key := authority(t, edgeA, "k1")
	data := document(t, key, func(m map[string]any) {
		m["x5u"], m["jku"], m["key_ops"], m["z"] = "http://169.254.169.254/", "file:///etc/passwd", []string{"verify"}, nil
	})
	data = bytes.Replace(data, []byte(`{`), []byte("\r\n\t { \"more\" : 1e999 , "), 1)
	data = bytes.ReplaceAll(data, []byte(`":"`), []byte("\" :\t\"")) // white space around values
	keys, skipped, err := keyset.Parse(data)
	if err != nil || len(skipped) > 0 {
		t.Fatal(skipped, err)
	}
	if diff := cmp.Diff([]principal.Key{key}, keys, sameKeys); diff != "" {
		t.Error(diff)
	}
}

func TestParseOfNoKeysIsASet(t *testing.T) {
	t.Parallel()
	if keys, skipped, err := keyset.Parse([]byte(`{"keys":[]}`)); len(keys)+len(skipped) > 0 || err != nil {
		t.Error(keys, skipped, err)
	}
	keys, skipped, err := keyset.Parse([]byte(`{"keys":[1,null,"",[],{}]}`))
	if len(keys) > 0 || len(skipped) != 5 || err != nil {
		t.Error(keys, skipped, err)
	}
}

// What is accepted is fit for a set and comes back the same.
func FuzzParse(f *testing.F) {
	window := link(f, "orders", "k2")
	window.NotBefore, window.NotAfter = time.Unix(1, 0), time.Unix(253402300799, 0)
	f.Add(marshal(f, authority(f, edgeA, "k1"), window, record(f, principal.RoleLink, "a.b-c", "k3", ecKey(f, "hsm"))))
	f.Add(document(f, authority(f, edgeA, "k1"), func(m map[string]any) { m["d"] = "AA" }))
	f.Add(document(f, authority(f, edgeA, "k1"), func(m map[string]any) { m["onb_owner"] = "\ufffd\u2028<" }))
	f.Add([]byte(`{"keys":[{"kid":"\ud800"},{"kid":"k","kid":"k"}]}`))
	f.Add([]byte(`{"keys":[[[[[[[[[[[]]]]]]]]]]],"x":1e999}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, _, err := keyset.Parse(data)
		if err != nil || len(keys) == 0 {
			return
		}
		if _, err := keyset.NewStatic(keys...); err != nil {
			t.Fatal(err)
		}
		again, skipped, err := keyset.Parse(marshal(t, keys...))
		if err != nil || len(skipped) > 0 {
			t.Fatal(skipped, err)
		}
		if diff := cmp.Diff(keys, again, sameKeys); diff != "" {
			t.Error(diff)
		}
	})
}
