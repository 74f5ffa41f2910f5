package inspect_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"

	"github.com/onbehalf-dev/onbehalf/bff/internal/inspect"
)

// issued is when all principals of these tests are issued.
var issued = time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)

func newIssuer(t testing.TB) *principaltest.Issuer {
	t.Helper()
	return principaltest.NewIssuerAt(t, func() time.Time { return issued })
}

// chain is a header with two links, of which the second one narrows.
func chain(t testing.TB, iss *principaltest.Issuer) string {
	t.Helper()
	p := principaltest.Delegate(principaltest.Human("ledger:read", "orders:read", "orders:write"), "planner")
	p.Roles, p.Tenant = []string{"buyer"}, "acme"
	p.Attributes = []*principalv1.Attribute{{Name: "plan", Value: "gold card"}}
	header := iss.Header("orders", p)
	for _, hop := range []struct {
		from, to string
		scopes   []string
	}{{"orders", "payments", nil}, {"payments", "ledger", []string{"ledger:read"}}} {
		ctx, err := iss.Verifier(hop.from).Context(t.Context(), header)
		if err == nil && hop.scopes != nil {
			ctx, err = principal.Narrow(ctx, hop.scopes...)
		}
		if err != nil {
			t.Fatal(err)
		}
		h, err := iss.Propagator(hop.from).Header(ctx, hop.to, "/any.Service/Call")
		if err != nil {
			t.Fatal(err)
		}
		header = h.Binary()
	}
	return header
}

func newReport(t testing.TB, header string, at time.Time) *inspect.Report {
	t.Helper()
	r, err := inspect.New(header, at)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func draw(t testing.TB, r *inspect.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Draw(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const drawn = `NOT VERIFIED: without --keys nothing is checked: anybody may have written what
              follows.

For whom, and who acts (not verified)
  hm-2bd806c9-7f0e-00af-1a1f-c3328fa763a9  human, subject
   │ delegates, grant UUID
   ▼
  am-planner  agent, actor: acts now

Through whom (not verified)
  https://issuer.test  issuer, key KEY, not verified
   │ to orders, presented by bff
   │ 3 scopes, 1 role, life 5m, at most 6 links
   ▼
  orders  link 1, key KEY, not verified
   │ to payments, deadline 2026-11-25 10:01:00Z (in 57s)
   │ removes no scopes and no roles
   │ ends 4m before the principal; 5 links left
   ▼
  payments  link 2, key KEY, not verified
   │ to ledger, deadline 2026-11-25 10:01:00Z (in 57s)
   │ removes scopes: orders:read orders:write
   │ removes roles: buyer
   │ ends 4m before the principal; 4 links left
   ▼
  ledger  audience: may use it

What it says (not verified)
  id            UUID
  kind          agent, linked
  issuer        https://issuer.test
  audience      ledger
  tenant        acme
  issued        2026-11-25 10:00:00Z (3s ago)
  expires       2026-11-25 10:05:00Z (in 4m57s)
  present by    2026-11-25 10:01:00Z (in 57s)
  scopes        ledger:read
  roles         none
  attribute     plan = "gold card"
  path          bff → orders → payments

Size: 561 of 3072 bytes, 748 characters as base64
  authority      295  payload 210, key id 11, signature 64, framing 10
  link 1         117  payload 34, key id 11, signature 64, framing 8
  link 2         131  payload 47, key id 11, signature 64, framing 9
  opening         18
  largest       scopes 40, delegations 31, issuer 21, attributes 20, subject 20
`

var (
	uuids    = regexp.MustCompile(`(grant|id           ) [0-9a-f]{8}-[0-9a-f-]{27}`)
	negative = regexp.MustCompile(` \(?-[0-9]`)
	keys     = regexp.MustCompile(`key [A-Za-z0-9_-]{11},`)
)

func TestDraw(t *testing.T) {
	t.Parallel()
	text := draw(t, newReport(t, chain(t, newIssuer(t)), issued.Add(3*time.Second)))
	got := keys.ReplaceAllString(uuids.ReplaceAllString(text, "$1 UUID"), "key KEY,")
	if d := cmp.Diff(drawn, got); d != "" {
		t.Error(d)
	}
}

func TestDrawRelay(t *testing.T) {
	t.Parallel()
	header := newIssuer(t).Header(principaltest.TrustDomain, principaltest.Service("billing"))
	text := draw(t, newReport(t, header, issued.Add(9*time.Minute)))
	for _, want := range []string{
		"svc-billing  service, subject; acts itself\n", "mesh:test  trust domain: its services pass this on unchanged\n",
		"0 scopes, 0 roles, life 5m\n", "(4m ago)", "service, relay\n", "not recorded in relay mode",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// With keys every block says whether its own signature stands.
func TestCheck(t *testing.T) {
	t.Parallel()
	iss := newIssuer(t)
	header := chain(t, iss)
	r := newReport(t, header, issued)
	r.Check(t.Context(), iss)
	if text := draw(t, r); r.Signatures != inspect.SignaturesValid || r.Refused() != nil ||
		strings.Contains(text, "ot verified") || !strings.Contains(text, "orders  link 1, key ") || !strings.Contains(text, ", verified\n") {
		t.Errorf("%s %v\n%s", r.Signatures, r.Refused(), text)
	}
	at := strings.LastIndex(header, "ledger:read") // in the last link
	r = newReport(t, header[:at]+"orders:read"+header[at+len("orders:read"):], issued)
	r.Check(t.Context(), iss)
	var states []string
	for _, b := range r.Chain {
		states = append(states, b.Signature)
	}
	if d := cmp.Diff([]string{"valid", "valid", "signature"}, states); d != "" || r.Refused() == nil {
		t.Error(d, r.Refused())
	}
	if text := draw(t, r); !strings.HasPrefix(text, "NOT VERIFIED: ") || !strings.Contains(text, "NOT VERIFIED: signature\n") {
		t.Error(text)
	}
	r = newReport(t, header, issued)
	r.Check(t.Context(), newIssuer(t))
	if r.Signatures != inspect.SignaturesInvalid || r.Chain[0].Signature != "unknown_key" {
		t.Error(r.Signatures, r.Chain[0].Signature)
	}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	iss := newIssuer(t)
	linked, relay := chain(t, iss), iss.Header(principaltest.TrustDomain, principaltest.Human("a"))
	first := iss.Header("orders", principaltest.Human("a"))
	// The last link in the place of nothing: the opening is another block's.
	cut := first[:len(first)-1] + "x"
	foreign := principaltest.Human("a")
	foreign.Subject.Issuer = "https://other.test"
	for _, tt := range []struct {
		name, header string
		service      inspect.Service
		after        time.Duration
		want         string
	}{
		{"linked", linked, inspect.Service{Name: "ledger"}, 0, ""},
		{"trusted issuer", linked, inspect.Service{Name: "ledger", Issuers: []string{principaltest.IssuerName}}, 0, ""},
		{"other issuer", linked, inspect.Service{Name: "ledger", Issuers: []string{"https://other.test"}}, 0, "unknown_key"},
		{"other service", linked, inspect.Service{Name: "payments"}, 0, "audience"},
		{"late", linked, inspect.Service{Name: "ledger"}, 2 * time.Minute, "time"},
		{"early", linked, inspect.Service{Name: "ledger"}, -time.Minute, "time"},
		{"relay", relay, inspect.Service{Name: "ledger", TrustDomain: principaltest.TrustDomain}, 4 * time.Minute, ""},
		{"relay, not listed", relay, inspect.Service{Name: "ledger"}, 0, "audience"},
		{"opening", cut, inspect.Service{Name: "orders"}, 0, "opening"},
		{"foreign", iss.Header("orders", foreign), inspect.Service{Name: "orders"}, 0, "unknown_key"},
	} {
		r := newReport(t, tt.header, issued.Add(tt.after))
		if err := r.Ask(t.Context(), iss, &tt.service); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		text := draw(t, r)
		if tt.want == "" {
			if !r.Decision.Accepted || r.Refused() != nil || !strings.Contains(text, "ACCEPTED: ") {
				t.Errorf("%s: %+v", tt.name, r.Decision)
			}
			continue
		}
		if r.Decision.Accepted || r.Decision.Reason != tt.want || r.Decision.Explanation == "" || r.Decision.Code != "UNAUTHENTICATED" || r.Refused() == nil {
			t.Errorf("%s: %+v", tt.name, r.Decision)
		}
		if !strings.Contains(text, "REFUSED: ") || tt.name == "foreign" && !strings.Contains(text, "detail: ") {
			t.Errorf("%s: %s", tt.name, text)
		}
	}
	for _, s := range []inspect.Service{{}, {Name: "Orders"}, {Name: "orders", TrustDomain: "prod"}} {
		if s.Check() == nil {
			t.Errorf("%+v is no service", s)
		}
	}
}

// Every reason of the closed list is explained.
func TestExplain(t *testing.T) {
	t.Parallel()
	n := 0
	for r := principal.Reason(1); r.String() != "unknown"; r++ {
		if text := inspect.Explain(r); text == "" || strings.HasSuffix(text, ".") || strings.Contains(text, "\n") {
			t.Errorf("%s: %q", r, text)
		}
		n++
	}
	if n < 26 {
		t.Errorf("%d reasons", n)
	}
}

// What others chose never reaches the terminal as it is if it could move the
// cursor, hide or look like a part of the page.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	p := principaltest.Human("a")
	p.Subject = &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: "ali\u200bce"}}
	p.Tenant = "acme (verified)"
	p.ClientId = "a▼b"
	p.Roles = []string{"e\u0301", "x│ y"}
	p.Attributes = []*principalv1.Attribute{{Name: "\u00ad", Value: `"`}}
	text := draw(t, newReport(t, newIssuer(t).Header("orders", p), issued))
	for _, want := range []string{`"hm-ali\u200bce"`, `"acme (verified)"`, `"a\u25bcb"`, `"e\u0301"`, `"x\u2502 y"`, `"\u00ad" = "\""`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	wantPlain(t, text)
}

func wantPlain(t testing.TB, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("%q in %q", r, text)
		}
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	header := "\xfb\xff\xfe0123456"
	std := base64.StdEncoding.EncodeToString([]byte(header))
	raw := strings.TrimRight(std, "=")
	url := base64.URLEncoding.EncodeToString([]byte(header))
	for text, odd := range map[string]bool{
		std: false, raw: false, url: true, strings.TrimRight(url, "="): true,
		" " + raw + "\n": false, "x-principal-bin: " + raw: false, "X-Principal-Bin:" + std + "\r\n": false,
		"> x-principal-bin: " + raw + "\n": false, `"x-principal-bin": "` + raw + `"`: false,
		"> GET / HTTP/1.1\n> accept: */*\n> x-principal-bin: " + raw + "\n>\n": false,
		raw[:4] + "\n" + raw[4:]: true, raw[:4] + " " + raw[4:]: true, raw + "=": true,
	} {
		got, note, err := inspect.Decode(text)
		if err != nil || got != header || (note != "") != odd {
			t.Errorf("%q: %q %q %v", text, got, note, err)
		}
	}
	line := "x-principal-bin: " + raw + "\n"
	for _, text := range []string{"", " \n", "x-principal-bin:", line + line, raw + "," + raw, line[:len(line)-1] + ", " + raw, "!!!", raw[:5], "secret word!"} {
		if got, _, err := inspect.Decode(text); err == nil || got != "" || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %q %v", text, got, err)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	iss := newIssuer(t)
	r := newReport(t, chain(t, iss), issued)
	r.Check(t.Context(), iss)
	if err := r.Ask(t.Context(), iss, &inspect.Service{Name: "orders"}); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	p, decision := got["principal"].(map[string]any), got["decision"].(map[string]any)
	removed := got["chain"].([]any)[2].(map[string]any)["removed"].(map[string]any)
	for name, pair := range map[string][2]any{
		"at":         {got["at"], "2026-11-25T10:00:00Z"},
		"signatures": {got["signatures"], "valid"},
		"reason":     {decision["reason"], "audience"},
		"scopes":     {p["scopes"], []any{"ledger:read"}},
		"roles":      {p["roles"], []any{}},
		"stated":     {p["stated_roles"], []any{"buyer"}},
		"path":       {p["path"], []any{"bff", "orders", "payments"}},
		"attributes": {p["attributes"], map[string]any{"plan": "gold card"}},
		"removed":    {removed, map[string]any{"scopes": []any{"orders:read", "orders:write"}, "roles": []any{"buyer"}, "life_seconds": 240.0}},
	} {
		if d := cmp.Diff(pair[1], pair[0]); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// A forged header can have any time; it is shown, and no form breaks.
func TestFarTimes(t *testing.T) {
	t.Parallel()
	header := forged(t, 1<<62, 1<<61)
	for _, at := range []time.Time{time.Unix(1, 0), issued, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
		r := newReport(t, header, at)
		if _, err := json.Marshal(r); err != nil {
			t.Error(err)
		}
		text := draw(t, r)
		if wantPlain(t, text); negative.MatchString(text) || !strings.Contains(text, "9999-12-31 23:59:59Z (in ") || len(r.Notes) != 1 ||
			!strings.Contains(text, "NO LIFE (refused: time)") || !strings.Contains(text, "ENDS AFTER THE PRINCIPAL") {
			t.Error(text)
		}
	}
}

// forged is a header that nobody has signed.
func forged(t testing.TB, issuedAt, expiresAt int64) string {
	t.Helper()
	id := bytes.Repeat([]byte{1}, 16)
	marshal := func(m proto.Message) []byte {
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	payload := marshal(&principalv1.Principal{
		Id: id, Issuer: "x", Audience: "orders", IssuedAt: issuedAt, ExpiresAt: expiresAt, Commitment: id,
		Subject: &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: "a"}},
	})
	block := func(payload []byte) *principalv1.Block {
		return &principalv1.Block{Payload: payload, KeyId: "k", Signature: make([]byte, 64)}
	}
	link := marshal(&principalv1.Link{Audience: "payments", Scopes: &principalv1.ScopeSet{Values: []string{"more"}}, ExpiresAt: 1<<63 - 1, Commitment: id})
	return string(marshal(&principalv1.SignedPrincipal{Authority: block(payload), Links: []*principalv1.Block{block(link)}, TailOpening: id}))
}

// A link that claims what nobody gave it is shown as what it is.
func TestWidening(t *testing.T) {
	t.Parallel()
	text := draw(t, newReport(t, forged(t, issued.Unix(), issued.Unix()+60), issued))
	for _, want := range []string{"CLAIMS SCOPES ITS PARENT HAD NOT", "ENDS AFTER THE PRINCIPAL", "life 1m, at", "ONE LINK TOO MANY", "not verified"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// Whatever can be read can be shown, in both forms, and moves no cursor.
func FuzzReport(f *testing.F) {
	iss := newIssuer(f)
	f.Add(chain(f, iss))
	f.Add(iss.Header(principaltest.TrustDomain, principaltest.Standard()))
	f.Add(iss.Header("orders", principaltest.Service("billing", "a")))
	f.Add(forged(f, 1<<62, 1))
	f.Fuzz(func(t *testing.T, header string) {
		r, err := inspect.New(header, issued)
		if err != nil {
			if principal.ReasonOf(err) == 0 {
				t.Fatal(err)
			}
			return
		}
		r.Check(t.Context(), iss)
		if _, err := json.Marshal(r); err != nil {
			t.Fatal(err)
		}
		wantPlain(t, draw(t, r))
	})
}
