package wire_test

import (
	"encoding/base64"
	"errors"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal/internal/forge"
	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

func standard() *principalv1.Principal {
	p := principaltest.Standard()
	p.Id = forge.Opening("id")
	p.Issuer, p.Audience, p.Presenter = principaltest.StandardIssuer, "orders", "bff"
	p.IssuedAt, p.ExpiresAt, p.StreamUntil = 1_760_000_000, 1_760_000_300, 1_760_003_600
	p.Roles = []string{"admin", "buyer"}
	p.ClientId = "web"
	p.TransactionId = forge.Opening("transaction")
	p.Attributes = []*principalv1.Attribute{{Name: "plan", Value: "gold"}, {Name: "region", Value: "eu"}}
	p.MaxLinks, p.RevocationSequence, p.Commitment = 6, 77, forge.Opening("commitment")
	p.Delegations[1].Actor = &principalv1.Identity{Id: &principalv1.Identity_AgentName{AgentName: "fetcher"}, Issuer: "https://agents.example"}
	return p
}

func fault(t *testing.T, err error) wire.Fault {
	t.Helper()
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		t.Fatalf("error %v is not a *wire.Error", err)
	}
	return e.Fault
}

func TestPrincipalEncodingAgreesWithGeneratedCode(t *testing.T) {
	t.Parallel()
	want := forge.Marshal(standard())
	var p wire.Principal
	if err := wire.ParsePrincipal(string(want), &p); err != nil {
		t.Fatal(err)
	}
	if got := wire.AppendPrincipal(nil, &p); string(got) != string(want) {
		t.Errorf("encoding differs from the generated one:\n%x\n%x", got, want)
	}
}

func TestLinkEncodingAgreesWithGeneratedCode(t *testing.T) {
	t.Parallel()
	for name, scopes := range map[string]*principalv1.ScopeSet{
		"inherit": nil,
		"none":    {},
		"some":    {Values: []string{"a", "b"}},
		"long":    {Values: []string{"a", strings.Repeat("b", 250)}},
	} {
		want := forge.Marshal(&principalv1.Link{Audience: "payments", Scopes: scopes, ExpiresAt: 1_760_000_060, Commitment: forge.Opening("x")})
		var l wire.Link
		if err := wire.ParseLink(string(want), &l); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := wire.AppendLinkPayload(nil, &l); string(got) != string(want) {
			t.Errorf("%s: encoding differs from the generated one:\n%x\n%x", name, got, want)
		}
	}
}

// B06 B07 B09 B10: what a payload may not be.
func TestB06B07B09B10PayloadStrictness(t *testing.T) {
	t.Parallel()
	good := forge.Marshal(standard())
	field := func(num protowire.Number, value string) string {
		return string(protowire.AppendString(protowire.AppendTag(nil, num, protowire.BytesType), value))
	}
	change := func(f func(p *principalv1.Principal)) string {
		p := standard()
		f(p)
		return string(forge.Marshal(p))
	}
	human := func(name string) string {
		return change(func(p *principalv1.Principal) {
			p.Subject = &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: name}}
		})
	}
	varint := func(num protowire.Number, v uint64) string {
		return string(protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v))
	}
	cases := []struct {
		name    string
		payload string
		fault   wire.Fault
	}{
		{"empty", "", wire.Malformed},
		{"commitment twice", string(good) + field(20, "0123456789abcdef"), wire.Malformed},
		{"issuer again at the end", string(good) + field(2, "https://evil.example"), wire.Malformed},
		{"critical field", string(good) + field(1000, "x"), wire.Unsupported},
		{"critical field followed by garbage", string(good) + field(4711, "x") + "\xff", wire.Unsupported},
		{"group", string(good) + string(protowire.AppendTag(nil, 30, protowire.StartGroupType)), wire.Malformed},
		{"field number zero", "\x02\x00" + string(good), wire.Malformed},
		{"over-long varint", "\x8a\x00" + string(good)[1:], wire.Malformed},
		{"varint of 11 bytes", string(good) + "\xf0\x01" + strings.Repeat("\x80", 10) + "\x01", wire.Malformed},
		{"varint above 64 bits", string(good) + "\xf0\x01" + strings.Repeat("\xff", 9) + "\x02", wire.Malformed},
		{"length 2^31-1", string(good) + "\xf2\x01\xff\xff\xff\xff\x07", wire.Malformed},
		{"length 2^63", string(good) + "\xf2\x01" + strings.Repeat("\x80", 9) + "\x01", wire.Malformed},
		{"truncated", string(good[:len(good)-1]), wire.Malformed},
		{"wrong wire type", varint(1, 5) + string(good)[18:], wire.Malformed},
		{"subject without id", change(func(p *principalv1.Principal) { p.Subject = &principalv1.Identity{} }), wire.Unsupported},
		{"subject of an unknown kind", change(func(p *principalv1.Principal) {
			p.Subject = &principalv1.Identity{}
			p.Subject.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 9, protowire.BytesType), "bot"))
		}), wire.Unsupported},
		{"no subject", change(func(p *principalv1.Principal) { p.Subject = nil }), wire.Malformed},
		{"subject with two ids", string(forge.Marshal(&principalv1.Principal{Id: forge.Opening("i"), Issuer: "i", Audience: "a"})) +
			field(8, field(3, "a")+field(5, "b")), wire.Malformed},
		{"subject repeats the issuer", change(func(p *principalv1.Principal) { p.Subject.Issuer = p.GetIssuer() }), wire.Malformed},
		{"delegation to a human", change(func(p *principalv1.Principal) { p.Delegations[0].Actor = p.GetSubject() }), wire.Malformed},
		{"delegation to a service", change(func(p *principalv1.Principal) {
			p.Delegations[0].Actor = &principalv1.Identity{Id: &principalv1.Identity_ServiceName{ServiceName: "x"}}
		}), wire.Malformed},
		{"delegation without grant", change(func(p *principalv1.Principal) { p.Delegations[0].GrantId = nil }), wire.Malformed},
		{"delegation without actor", change(func(p *principalv1.Principal) { p.Delegations[0].Actor = nil }), wire.Malformed},
		{"seven delegations", change(func(p *principalv1.Principal) {
			for range 4 {
				p.Delegations = append(p.Delegations, p.GetDelegations()[0])
			}
		}), wire.Malformed},
		{"short id", change(func(p *principalv1.Principal) { p.Id = p.GetId()[:15] }), wire.Malformed},
		{"no id", change(func(p *principalv1.Principal) { p.Id = nil }), wire.Malformed},
		{"scopes not ascending", change(func(p *principalv1.Principal) { p.Scopes = []string{"b", "a"} }), wire.Malformed},
		{"scope twice", change(func(p *principalv1.Principal) { p.Scopes = []string{"a", "a"} }), wire.Malformed},
		{"empty scope", change(func(p *principalv1.Principal) { p.Scopes = []string{""} }), wire.Malformed},
		{"65 scopes", change(func(p *principalv1.Principal) { p.Scopes = names(65) }), wire.Malformed},
		{"17 roles", change(func(p *principalv1.Principal) { p.Roles = names(17) }), wire.Malformed},
		{"amr not ascending", change(func(p *principalv1.Principal) { p.Authentication.Amr = []string{"pwd", "hwk"} }), wire.Malformed},
		{"17 attributes", change(func(p *principalv1.Principal) { p.Attributes = attributes(17, 1) }), wire.Malformed},
		{"attributes above 1 KiB", change(func(p *principalv1.Principal) { p.Attributes = attributes(5, 203) }), wire.Malformed},
		{"attribute without value", change(func(p *principalv1.Principal) { p.Attributes[0].Value = "" }), wire.Malformed},
		{"attribute twice", change(func(p *principalv1.Principal) { p.Attributes[1].Name = "plan" }), wire.Malformed},
		{"max_links above the cap", change(func(p *principalv1.Principal) { p.MaxLinks = 7 }), wire.Malformed},
		{"max_links zero written", string(good[:len(good)-18-2-3]) + varint(18, 0) + varint(19, 77), wire.Malformed},
		{"audience star", change(func(p *principalv1.Principal) { p.Audience = "*" }), wire.Malformed},
		{"audience empty", change(func(p *principalv1.Principal) { p.Audience = "" }), wire.Malformed},
		{"audience in upper case", change(func(p *principalv1.Principal) { p.Audience = "Orders" }), wire.Malformed},
		{"audience mesh without name", change(func(p *principalv1.Principal) { p.Audience = "mesh:" }), wire.Malformed},
		{"presenter is a trust domain", change(func(p *principalv1.Principal) { p.Presenter = "mesh:prod" }), wire.Malformed},
		{"no issued_at", change(func(p *principalv1.Principal) { p.IssuedAt = 0 }), wire.Time},
		{"no expires_at", change(func(p *principalv1.Principal) { p.ExpiresAt = 0 }), wire.Time},
		{"negative issued_at", change(func(p *principalv1.Principal) { p.IssuedAt = -5 }), wire.Time},
		{"negative stream_until", change(func(p *principalv1.Principal) { p.StreamUntil = -1 }), wire.Time},
		{"invalid UTF-8", strings.Replace(human("aXb"), "aXb", "a\xffb", 1), wire.Malformed},
		{"NUL", human("a\x00b"), wire.Malformed},
		{"line end", human("a\nb"), wire.Malformed},
		{"DEL", human("a\x7fb"), wire.Malformed},
		{"C1 control", human("a\u0085b"), wire.Malformed},
		{"right-to-left override", human("a\u202eb"), wire.Malformed},
		{"byte order mark", human("\ufeffab"), wire.Malformed},
		{"line separator", human("a\u2028b"), wire.Malformed},
		{"257 bytes", human(strings.Repeat("a", 257)), wire.Malformed},
		{"name is a UUID", human("2BD1D63D-77e2-560e-821a-dcf3b7bef64e"), wire.Malformed},
		{"name is a UUID without hyphens", human("2bd1d63d77e2560e821adcf3b7bef64e"), wire.Malformed},
		{"name is a UUID in braces", human("{2bd1d63d-77e2-560e-821a-dcf3b7bef64e}"), wire.Malformed},
		{"name is a UUID URN", human("URN:UUID:2bd1d63d-77e2-560e-821a-dcf3b7bef64e"), wire.Malformed},
		{"name with the prefix of an id", human("svc-payments"), wire.Malformed},
		{"empty name", change(func(p *principalv1.Principal) {
			p.Subject = &principalv1.Identity{Id: &principalv1.Identity_HumanName{}}
		}), wire.Malformed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var p wire.Principal
			err := wire.ParsePrincipal(c.payload, &p)
			if err == nil {
				t.Fatal("accepted")
			}
			if got := fault(t, err); got != c.fault {
				t.Errorf("fault %d (%v), want %d", got, err, c.fault)
			}
		})
	}
	for name, payload := range map[string]string{
		"unknown field":           string(good) + field(99, "x") + field(99, "y") + varint(100, 0),
		"unknown in the subject":  change(func(p *principalv1.Principal) { p.Subject.ProtoReflect().SetUnknown([]byte(field(99, "x"))) }),
		"NFC":                     human("caf\u00e9"),
		"NFD":                     human("cafe\u0301"),
		"spaces around":           human(" alice "),
		"256 bytes":               human(strings.Repeat("a", 256)),
		"64 scopes":               change(func(p *principalv1.Principal) { p.Scopes = names(64) }),
		"attributes of 1 KiB":     change(func(p *principalv1.Principal) { p.Attributes = attributes(4, 254) }),
		"empty authentication":    change(func(p *principalv1.Principal) { p.Authentication = &principalv1.Authentication{} }),
		"session id of all zeros": change(func(p *principalv1.Principal) { p.SessionId = make([]byte, 16) }),
	} {
		var p wire.Principal
		if err := wire.ParsePrincipal(payload, &p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func names(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = string([]byte{'a' + byte(i/26), 'a' + byte(i%26)})
	}
	return list
}

func attributes(n, valueLen int) []*principalv1.Attribute {
	list := make([]*principalv1.Attribute, n)
	for i, name := range names(n) {
		list[i] = &principalv1.Attribute{Name: name, Value: strings.Repeat("v", valueLen)}
	}
	return list
}

func TestEveryByteOfTheOuterMessageMatters(t *testing.T) {
	t.Parallel()
	key := forge.Ed25519Key(1, "i", "k")
	header := forge.Chain{}.Append(key, forge.Marshal(standard())).Append(key, []byte("x")).Header(forge.Opening("o"))
	var e wire.Envelope
	if err := wire.ParseEnvelope(header, &e); err != nil {
		t.Fatal(err)
	}
	if got := string(wire.AppendEnvelope(nil, &e)); got != header {
		t.Fatal("re-encoding differs")
	}
	for i := range header {
		for bit := range 8 {
			changed := []byte(header)
			changed[i] ^= 1 << bit
			if err := wire.ParseEnvelope(string(changed), &e); err == nil && string(wire.AppendEnvelope(nil, &e)) != string(changed) {
				t.Fatalf("byte %d bit %d: accepted, and re-encoded differently", i, bit)
			}
		}
		if err := wire.ParseEnvelope(header[:i], &e); err == nil && string(wire.AppendEnvelope(nil, &e)) != header[:i] {
			t.Fatalf("cut at %d: accepted, and re-encoded differently", i)
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	key := forge.Ed25519Key(1, "i", "k")
	chain := forge.Chain{}.Append(key, forge.Marshal(standard()))
	f.Add([]byte(chain.Header(nil)))
	f.Add([]byte(chain.Append(key, []byte("x")).Header(forge.Opening("o"))))
	f.Fuzz(func(t *testing.T, header []byte) {
		var e wire.Envelope
		if wire.ParseEnvelope(string(header), &e) != nil {
			return
		}
		if got := wire.AppendEnvelope(nil, &e); string(got) != string(header) {
			t.Fatalf("accepted %x, re-encoded %x", header, got)
		}
		var generated principalv1.SignedPrincipal
		if err := proto.Unmarshal(header, &generated); err != nil {
			t.Fatalf("the generated decoder refuses: %v", err)
		}
		if len(generated.ProtoReflect().GetUnknown()) > 0 || len(generated.GetLinks()) != len(e.Links()) ||
			string(generated.GetAuthority().GetPayload()) != e.Authority.Payload {
			t.Fatal("the generated decoder reads something else")
		}
	})
}

// FuzzPrincipal holds the decoder against the generated one: what the former
// accepts, the latter reads the same.
func FuzzPrincipal(f *testing.F) {
	f.Add(forge.Marshal(standard()))
	f.Add(forge.Marshal(principaltest.Human("a")))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var p wire.Principal
		if wire.ParsePrincipal(string(payload), &p) != nil {
			return
		}
		var generated principalv1.Principal
		if err := proto.Unmarshal(payload, &generated); err != nil {
			t.Fatalf("the generated decoder refuses: %v", err)
		}
		discardUnknown(&generated)
		want := forge.Marshal(&generated)
		if got := wire.AppendPrincipal(nil, &p); string(got) != string(want) {
			t.Fatalf("read differently:\n%x\n%x", got, want)
		}
	})
}

func FuzzLink(f *testing.F) {
	f.Add(forge.Marshal(&principalv1.Link{Audience: "payments", Scopes: &principalv1.ScopeSet{Values: []string{"a"}}, ExpiresAt: 5, Commitment: forge.Opening("x")}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var l wire.Link
		if wire.ParseLink(string(payload), &l) != nil {
			return
		}
		var generated principalv1.Link
		if err := proto.Unmarshal(payload, &generated); err != nil {
			t.Fatalf("the generated decoder refuses: %v", err)
		}
		generated.ProtoReflect().SetUnknown(nil)
		if s := generated.GetScopes(); s != nil {
			s.ProtoReflect().SetUnknown(nil)
		}
		if got, want := wire.AppendLinkPayload(nil, &l), forge.Marshal(&generated); string(got) != string(want) {
			t.Fatalf("read differently:\n%x\n%x", got, want)
		}
	})
}

func discardUnknown(p *principalv1.Principal) {
	p.ProtoReflect().SetUnknown(nil)
	identity := func(i *principalv1.Identity) {
		if i != nil {
			i.ProtoReflect().SetUnknown(nil)
		}
	}
	identity(p.GetSubject())
	for _, d := range p.GetDelegations() {
		d.ProtoReflect().SetUnknown(nil)
		identity(d.GetActor())
	}
	if a := p.GetAuthentication(); a != nil {
		a.ProtoReflect().SetUnknown(nil)
	}
	for _, a := range p.GetAttributes() {
		a.ProtoReflect().SetUnknown(nil)
	}
}

// B05 B09: garbage costs little memory.
func TestB05B09GarbageIsCheap(t *testing.T) { //nolint:paralleltest // it counts allocations
	garbage := map[string]string{
		"10,000 empty links":   strings.Repeat("\x12\x00", 10_000),
		"1,500 empty links":    strings.Repeat("\x12\x00", 1500),
		"16 MiB":               strings.Repeat("a", 16<<20),
		"nested messages":      strings.Repeat("\x0a\x7f", 1500),
		"base64 as bytes":      base64.StdEncoding.EncodeToString(make([]byte, 2000)),
		"length 2^63":          "\x0a" + strings.Repeat("\xff", 8) + "\x7f",
		"packed empty entries": "\x0a\x80\x10" + strings.Repeat("\x00", 2048),
	}
	for name, header := range garbage {
		var e wire.Envelope
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 100 {
			if wire.ParseEnvelope(header, &e) == nil {
				t.Fatalf("%s: accepted", name)
			}
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / 100; each > 4096 {
			t.Errorf("%s: %d bytes allocated", name, each)
		}
	}
}
