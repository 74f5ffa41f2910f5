package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc/internal/strictjson"
)

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := strictjson.Parse([]byte(" {\"a\" : 1, \"b\\u0063\":[ true,null , {\"x\":-1.5e+3}],\"d\":{},\"e\":\"\\ud83d\\ude00\"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := strictjson.Object{
		{Name: "a", Value: json.RawMessage(`1`)},
		{Name: "bc", Value: json.RawMessage(`[ true,null , {"x":-1.5e+3}]`)},
		{Name: "d", Value: json.RawMessage(`{}`)},
		{Name: "e", Value: json.RawMessage(`"\ud83d\ude00"`)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("object differs (-want +got):\n%s", diff)
	}
	if _, ok := got.Get("B"); ok {
		t.Error("Get found a member that is not there")
	}
	if value, ok := got.Get("bc"); !ok || value[0] != '[' {
		t.Errorf("Get found %s", value)
	}
}

func TestF03ParseRefuses(t *testing.T) {
	t.Parallel()
	nested := func(open, inner, end string, n int) string {
		return `{"a":` + strings.Repeat(open, n) + inner + strings.Repeat(end, n) + `}`
	}
	members := func(n int) string {
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(`"` + strings.Repeat("x", i) + `":0`)
		}
		return b.String()
	}
	for name, test := range map[string]struct {
		in   string
		want error
	}{
		"empty":                          {"", strictjson.ErrSyntax},
		"array":                          {"[]", strictjson.ErrSyntax},
		"null":                           {"null", strictjson.ErrSyntax},
		"string":                         {`"a"`, strictjson.ErrSyntax},
		"trailing data":                  {`{} {}`, strictjson.ErrSyntax},
		"open":                           {`{"a":1`, strictjson.ErrSyntax},
		"trailing comma":                 {`{"a":1,}`, strictjson.ErrSyntax},
		"no comma":                       {`{"a":1 "b":2}`, strictjson.ErrSyntax},
		"no colon":                       {`{"a" 1}`, strictjson.ErrSyntax},
		"no name":                        {`{1:1}`, strictjson.ErrSyntax},
		"comma in array":                 {`{"a":[1,]}`, strictjson.ErrSyntax},
		"no comma in array":              {`{"a":[1 2]}`, strictjson.ErrSyntax},
		"comment":                        {`{/**/}`, strictjson.ErrSyntax},
		"byte order mark":                {"\ufeff{}", strictjson.ErrSyntax},
		"NUL":                            {"{}\x00", strictjson.ErrSyntax},
		"literal":                        {`{"a":nul}`, strictjson.ErrSyntax},
		"literal and more":               {`{"a":nullx}`, strictjson.ErrSyntax},
		"number with leading 0":          {`{"a":01}`, strictjson.ErrSyntax},
		"number with plus":               {`{"a":+1}`, strictjson.ErrSyntax},
		"number without digits":          {`{"a":-}`, strictjson.ErrSyntax},
		"number without fraction":        {`{"a":1.}`, strictjson.ErrSyntax},
		"number without exponent":        {`{"a":1e}`, strictjson.ErrSyntax},
		"number in hexadecimal":          {`{"a":0x1}`, strictjson.ErrSyntax},
		"not a number":                   {`{"a":NaN}`, strictjson.ErrSyntax},
		"control character in string":    {"{\"a\":\"\x1f\"}", strictjson.ErrSyntax},
		"unknown escape":                 {`{"a":"\x"}`, strictjson.ErrSyntax},
		"short escape":                   {`{"a":"\u12"}`, strictjson.ErrSyntax},
		"escape with sign":               {`{"a":"\u+123"}`, strictjson.ErrSyntax},
		"string that does not end":       {`{"a":"`, strictjson.ErrSyntax},
		"escape that does not end":       {`{"a":"\`, strictjson.ErrSyntax},
		"invalid UTF-8":                  {"{\"a\":\"\xff\"}", strictjson.ErrSyntax},
		"lone high surrogate":            {`{"a":"\ud83d"}`, strictjson.ErrSyntax},
		"lone low surrogate":             {`{"a":"\ude00"}`, strictjson.ErrSyntax},
		"two high surrogates":            {`{"a":"\ud83d\ud83d"}`, strictjson.ErrSyntax},
		"high surrogate and escape":      {`{"a":"\ud83d\n"}`, strictjson.ErrSyntax},
		"duplicate":                      {`{"sub":1,"sub":1}`, strictjson.ErrDuplicate},
		"duplicate by escape":            {`{"sub":1,"s\u0075b":1}`, strictjson.ErrDuplicate},
		"duplicate but for case":         {`{"sub":1,"Sub":1}`, strictjson.ErrDuplicate},
		"duplicate by Unicode folding":   {`{"sub":1,"\u017fub":1}`, strictjson.ErrDuplicate},
		"duplicate by the Kelvin sign":   {`{"kid":1,"\u212Aid":1}`, strictjson.ErrDuplicate},
		"duplicate inside":               {`{"a":{"b":1,"c":{},"b":1}}`, strictjson.ErrDuplicate},
		"duplicate inside an array":      {`{"a":[{"b":1,"b":1}]}`, strictjson.ErrDuplicate},
		"objects nested 17 deep":         {nested(`{"a":`, "1", "}", 16), strictjson.ErrDepth},
		"arrays nested 17 deep":          {nested("[", "1", "]", 16), strictjson.ErrDepth},
		"nested 10 000 deep":             {nested("[", "", "]", 10_000), strictjson.ErrDepth},
		"nested 10 000 deep, never ends": {`{"a":` + strings.Repeat("[", 10_000), strictjson.ErrDepth},
		"257 members":                    {"{" + members(257) + "}", strictjson.ErrMembers},
		"257 members in two objects":     {`{"a":{` + members(128) + `},"b":{` + members(127) + `}}`, strictjson.ErrMembers},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := strictjson.Parse([]byte(test.in))
			if got != nil || !errors.Is(err, test.want) {
				t.Errorf("got %v and %v, want %v", got, err, test.want)
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"empty object":                         `{}`,
		"nested 16 deep":                       `{"a":` + strings.Repeat("[", 15) + strings.Repeat("]", 15) + `}`,
		"the same name in different objects":   `{"a":{"a":{"a":1}},"b":{"a":1}}`,
		"the same name in objects of an array": `{"x":[{"a":1},{"a":1}]}`,
		"case matters inside":                  `{"clients":{"App":1,"app":1}}`,
		"all escapes":                          `{"a":"\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00"}`,
		"numbers":                              `{"a":[0,-0,10,1.5,1e5,1E-5,-0.1e+10]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := strictjson.Parse([]byte(in)); err != nil {
				t.Error(err)
			}
		})
	}
}

// What is accepted means the same to encoding/json, which is measured here with
// a slow scan of its own.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1,"b":[true,{"c":null}]}`, `{"a":1,"A":1}`, `{"a":{"b":1,"b":2}}`, `{"\u017f":1,"S":2}`,
		`{"a":"\ud83d\ude00"}`, `{"a":-0.5e+10}`, `{"a":[[[[]]]]}`, `{"a":"` + "\xff" + `"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		object, err := strictjson.Parse(data)
		if err != nil {
			if object != nil {
				t.Error("an object beside an error")
			}
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatalf("encoding/json does not take it: %v", err)
		}
		got := make(map[string]json.RawMessage)
		for _, m := range object {
			got[m.Name] = m.Value
		}
		if len(object) != len(want) {
			t.Errorf("%d members, encoding/json has %d", len(object), len(want))
		}
		for name, value := range want {
			if !bytes.Equal(got[name], value) {
				t.Errorf("member %q is %s, for encoding/json it is %s", name, got[name], value)
			}
		}
		if problem := ambiguity(json.NewDecoder(bytes.NewReader(data)), 0); problem != "" {
			t.Error(problem)
		}
	})
}

// ambiguity reads one value and returns "" if no object in it has a name twice
// and it nests no deeper than allowed.
func ambiguity(d *json.Decoder, depth int) string {
	token, err := d.Token()
	if err != nil && !errors.Is(err, io.EOF) {
		return err.Error()
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return ""
	}
	if depth++; depth > strictjson.MaxDepth {
		return "too deep"
	}
	var names []string
	for d.More() {
		if delim == '{' {
			name, err := d.Token()
			if err != nil {
				return err.Error()
			}
			for _, other := range names {
				if other == name || depth == 1 && strings.EqualFold(other, name.(string)) {
					return "a name twice"
				}
			}
			names = append(names, name.(string))
		}
		if problem := ambiguity(d, depth); problem != "" {
			return problem
		}
	}
	_, err = d.Token()
	if err != nil {
		return err.Error()
	}
	return ""
}
