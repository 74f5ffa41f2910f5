package principal_test

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal/internal/forge"
)

// corners are the rules of payloads that a lenient parser would not miss.
func (v *vectors) corners() {
	add := func(name, about, expect string, payload []byte) {
		v.add("corner-"+name, about, "", expect, opened(forge.Chain{}.Append(i1, payload)))
	}
	edited := func(name, about, expect string, edit func(*principalv1.Principal)) {
		add(name, about, expect, authorityPayload(edit))
	}
	human := func(name, about, expect, s string) {
		edited(name, about, expect, func(p *principalv1.Principal) {
			p.Subject = &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: s}}
		})
	}
	service := func(name, about, expect, s string) {
		edited(name, about, expect, func(p *principalv1.Principal) {
			p.Subject = &principalv1.Identity{Id: &principalv1.Identity_ServiceName{ServiceName: s}}
		})
	}
	good := authorityPayload()
	add("wire-type", "a varint where bytes belong", "malformed", append([]byte{0x08, 0x05}, good[18:]...))
	add("field-zero", "field number 0", "malformed", append([]byte{0x02, 0x00}, good...))
	add("field-number-large", "a field number above 2^29-1", "malformed", append(slices.Clone(good), 0x82, 0x80, 0x80, 0x80, 0x10, 0x00))
	add("varint-65-bits", "a varint of more than 64 bits", "malformed", append(slices.Clone(good), "\xf0\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"...))
	add("overlong-length", "a length that is not minimal", "malformed", slices.Concat([]byte{0x0a, 0x90, 0x00}, good[2:]))
	add("zero-written", "max_links written although it is 0", "malformed", slices.Concat(authorityPayload(func(p *principalv1.Principal) {
		p.MaxLinks, p.Commitment = 0, nil
	}), []byte{0x90, 0x01, 0x00, 0xa2, 0x01, 0x10}, forge.Commitment(forge.Opening("0"))))
	twoIDs := protowire.AppendString(protowire.AppendTag(protowire.AppendString(protowire.AppendTag(nil, 3, 2), "a"), 5, 2), "b")
	add("two-ids", "an identity with two ids", "malformed", replaceSubject(twoIDs))
	edited("no-id", "no id", "malformed", func(p *principalv1.Principal) { p.Id = nil })
	edited("no-issuer", "no issuer", "malformed", func(p *principalv1.Principal) { p.Issuer = "" })
	edited("no-grant", "a delegation without grant id", "malformed", func(p *principalv1.Principal) { p.Delegations[0].GrantId = nil })
	edited("no-actor", "a delegation without actor", "malformed", func(p *principalv1.Principal) { p.Delegations[0].Actor = nil })
	edited("attribute-no-name", "an attribute without name", "malformed", func(p *principalv1.Principal) {
		p.Attributes = []*principalv1.Attribute{{Value: "v"}}
	})
	edited("attribute-no-value", "an attribute without value", "malformed", func(p *principalv1.Principal) {
		p.Attributes = []*principalv1.Attribute{{Name: "n"}}
	})
	edited("attribute-order", "attributes out of order", "malformed", func(p *principalv1.Principal) {
		p.Attributes = []*principalv1.Attribute{{Name: "b", Value: "v"}, {Name: "a", Value: "v"}}
	})
	edited("attribute-order-bytes", "attributes in the order of bytes, which is not that of UTF-16", "accept", func(p *principalv1.Principal) {
		p.Attributes = []*principalv1.Attribute{{Name: "\uff5e", Value: "v"}, {Name: "\U00010000", Value: "v"}}
	})
	edited("attributes-17", "an attribute too many", "malformed", func(p *principalv1.Principal) {
		for _, n := range letters(17) {
			p.Attributes = append(p.Attributes, &principalv1.Attribute{Name: n, Value: "v"})
		}
	})
	edited("scopes-64", "as many scopes as there may be", "accept", func(p *principalv1.Principal) { p.Scopes = letters(64) })
	edited("scopes-65", "a scope too many", "malformed", func(p *principalv1.Principal) { p.Scopes = letters(65) })
	edited("roles-17", "a role too many", "malformed", func(p *principalv1.Principal) { p.Roles = letters(17) })
	edited("delegations-7", "a delegation too many", "malformed", func(p *principalv1.Principal) {
		p.Delegations = slices.Concat(p.GetDelegations(), p.GetDelegations(), p.GetDelegations()[:1])
	})
	edited("scope-space", "a scope that would be two for OAuth", "malformed", func(p *principalv1.Principal) { p.Scopes = []string{"a admin"} })
	edited("scope-quote", "a scope with a quotation mark", "malformed", func(p *principalv1.Principal) { p.Scopes = []string{`a"b`} })
	edited("scope-not-ascii", "a scope that is not ASCII", "malformed", func(p *principalv1.Principal) { p.Scopes = []string{"é"} })
	edited("role-space", "a role with a space", "accept", func(p *principalv1.Principal) { p.Roles = []string{"sales manager"} })
	edited("unknown-in-delegation", "an unknown field below 1000 in a delegation", "accept", func(p *principalv1.Principal) {
		p.Delegations[0].ProtoReflect().SetUnknown([]byte("\x9a\x06\x01x"))
	})
	edited("critical-in-delegation", "a critical field in a delegation", "unsupported", func(p *principalv1.Principal) {
		p.Delegations[0].ProtoReflect().SetUnknown([]byte("\xc2\x3e\x01x"))
	})
	edited("no-end-first", "a missing time is noticed before the audience", "time", func(p *principalv1.Principal) { p.ExpiresAt, p.Audience = 0, "payments" })
	edited("foreign-subject", "a subject of an issuer that this one may not speak for", "unknown_key", func(p *principalv1.Principal) {
		p.Delegations = nil
		p.Subject = &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: "ceo"}, Issuer: "https://other.example"}
	})
	edited("foreign-agent", "an agent of an issuer that this one may not speak for", "unknown_key", func(p *principalv1.Principal) {
		p.Delegations[1].Actor.Issuer = "https://other.example"
	})
	for name, s := range map[string]string{
		"urn": "urn:uuid:2bd1d63d-77e2-560e-821a-dcf3b7bef64e", "braces": "{2bd1d63d-77e2-560e-821a-dcf3b7bef64e}",
		"bare": "2bd1d63d77e2560e821adcf3b7bef64e", "capitals": "2BD1D63D-77E2-560E-821A-DCF3B7BEF64E",
	} {
		human("name-uuid-"+name, "a UUID as a name, in another spelling", "malformed", s)
	}
	human("name-line-separator", "a line separator in a name", "malformed", "a\u2028b")
	human("name-c1", "a control character of C1 in a name", "malformed", "a\u0085b")
	human("name-prefix-agent", "a name with the prefix of an agent", "malformed", "am-x")
	human("name-prefix-service", "a name with the prefix of a service", "malformed", "svc-x")
	human("name-256", "a name of 256 bytes", "accept", strings.Repeat("a", 256))
	service("service-upper", "a service name in upper case", "malformed", "Billing")
	service("service-prefix", "a service name with the prefix of an id", "malformed", "svc-billing")
	service("service-uuid", "a service name that is a UUID", "malformed", "2bd1d63d-77e2-560e-821a-dcf3b7bef64e")
	service("service-64", "a service name of 64 characters", "malformed", strings.Repeat("a", 64))
	service("service-63", "a service name of 63 characters", "accept", strings.Repeat("a", 63))
	unknown := linkPayload(1, "payments", scopes("orders:read"), func(l *principalv1.Link) {
		l.Scopes.ProtoReflect().SetUnknown([]byte("\x9a\x06\x01x"))
	})
	v.add("corner-unknown-in-scopes", "an unknown field below 1000 in a set of scopes", "", "accept", opened(linked().Append(orders, unknown)), at("payments"),
		details("scopes: orders:read"))
	v.add("corner-text-size-first", "too long, and not base64 either", "B05", "size", "", text(strings.Repeat("*", 4097)))
}

func replaceSubject(identity []byte) []byte {
	p := authorityPayload(func(p *principalv1.Principal) {
		p.Subject = &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: "abcd"}}
	})
	old := "\x42\x06\x1a\x04abcd"
	if len(identity) != 6 || !strings.Contains(string(p), old) {
		panic("the replacement must have the length of what it replaces")
	}
	return []byte(strings.Replace(string(p), old, "\x42\x06"+string(identity), 1))
}

// letters returns n names in ascending order.
func letters(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = string([]byte{'a' + byte(i/26), 'a' + byte(i%26)})
	}
	return list
}

// keyFiles are keys that must not be loaded. The header is fine without them.
func (v *vectors) keyFiles() {
	ed := func(hexKey string) string {
		b, err := hex.DecodeString(hexKey)
		if err != nil {
			panic(err)
		}
		return "ed25519 " + base64.RawURLEncoding.EncodeToString(b)
	}
	zeros, ones := strings.Repeat("00", 31), strings.Repeat("ff", 30)
	for _, k := range []struct{ name, about, key string }{
		{"order-4", "a point of order 4", ed("00" + zeros)},
		{"order-4-signed", "a point of order 4, the sign bit set", ed(zeros + "80")},
		{"order-8", "a point of order 8", ed("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")},
		{"order-8-other", "another point of order 8", ed("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85")},
		{"zero-unreduced", "y = p, another spelling of 0", ed("ed" + ones + "7f")},
		{"one-unreduced", "y = p + 1, another spelling of 1", ed("ee" + ones + "7f")},
		{"three-unreduced", "y = p + 3, another spelling of a good point", ed("f0" + ones + "7f")},
		{"off-curve", "y = 2, for which there is no x", ed("02" + zeros)},
		{"p256-off-curve", "a point that is not on P-256", "p256 " + strings.Repeat("AA", 21) + "E " + strings.Repeat("AA", 21) + "E"},
		{"p256-unreduced", "x = p, another spelling of the point with x = 0", "p256 _____wAAAAEAAAAAAAAAAAAAAAD_______________8 Zkhcef4Pg9ckM71dhKBrtlQcKvMdrocXKL-FahdPk_Q"},
	} {
		v.add("bad-key-"+k.name, k.about, "C04", "accept", opened(linked()), extraKeyLine("bad-key: authority "+vIssuer+" bad "+k.key))
	}
}

// order freezes which of two faults is reported.
func (v *vectors) order() {
	nope := i1
	nope.ID = "nope"
	v.add("order-audience-time", "for another service, and expired", "", "audience", opened(linked()), at("ledger"), when(1_760_009_999))
	v.add("order-time-key", "expired, and signed by nobody known", "", "time", opened(forge.Chain{}.Append(nope, authorityPayload())), when(1_760_009_999))
	v.add("order-key-opening", "signed by nobody known, and not opened", "", "unknown_key", forge.Chain{}.Append(nope, authorityPayload()).Header(forge.Opening("x")))
	wide := linked().Append(orders, linkPayload(1, "payments", scopes("refund:write")))
	v.add("order-opening-widen", "not opened, and widened", "", "opening", wide.Header(forge.Opening("x")), at("payments"))
	bad := proto.CloneOf(wide[1])
	bad.Signature[5] ^= 1
	v.add("order-widen-signature", "widened, and badly signed", "", "widen", forge.Chain{wide[0], bad}.Header(forge.Opening("1")), at("payments"))
	v.add("order-signature-presenter", "badly signed, and presented by another", "", "signature", opened(forge.Chain{broken(linked()[0])}), mtls("attacker"))

	high := proto.CloneOf(forge.Chain{}.Append(i2, authorityPayload())[0])
	high.Signature = mirrorS(high.GetSignature())
	over := forge.Chain{high}.Append(orders, linkPayload(1, "payments"))
	v.add("chain-malformed-authority", "a link over an authority whose signature is in the upper half", "", "malformed", opened(over), at("payments"))
	v.add("order-tail-first", "the same with a bad tail: the tail is verified first", "", "signature", opened(forge.Chain{over[0], broken(over[1])}), at("payments"))
	v.add("chain-garbage-authority", "a link, well signed, over an authority that nobody signed", "D06", "signature",
		opened(forge.Chain{broken(linked()[0])}.Append(orders, linkPayload(1, "payments"))), at("payments"))
	one := forge.Chain{linked()[0], broken(linked().Append(orders, linkPayload(1, "payments"))[1])}
	v.add("chain-garbage-link", "a link, well signed, over a link that nobody signed", "D06", "signature", opened(one.Append(payments, linkPayload(2, "ledger"))), at("ledger"))
	self := authorityPayload(func(p *principalv1.Principal) { p.Issuer = "orders" })
	v.add("key-role-same-name", "an issuer with the name of a service, signed with the service's link key", "C02", "unknown_key", opened(forge.Chain{}.Append(orders, self)))

	again := linked().Append(orders, linkPayload(0, "payments"))
	v.add("chain-commitment-repeated", "a link with the commitment of its parent, whose opening would open both", "", "opening", again.Header(forge.Opening("0")), at("payments"))
	inner := func(name, about string, expires int64) {
		c := linked().Append(orders, linkPayload(1, "payments", func(l *principalv1.Link) { l.ExpiresAt = expires })).Append(payments, linkPayload(2, "ledger"))
		v.add("time-link-inner-"+name, about, "E02", "time", opened(c), at("ledger"))
	}
	inner("outlives", "a link that is not the tail and outlives the authority", 1_760_000_301)
	inner("zero", "a link that is not the tail and has no deadline", 0)
}

// broken is a block with a bit of its signature changed.
func broken(b *principalv1.Block) *principalv1.Block {
	b = proto.CloneOf(b)
	b.Signature[10] ^= 1
	return b
}
