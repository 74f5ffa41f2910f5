package principal_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/internal/forge"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

const (
	vNow    = int64(1_760_000_010)
	vIssuer = principaltest.StandardIssuer
	vMesh   = "mesh:prod"
)

var (
	i1       = forge.Ed25519Key(principal.RoleAuthority, vIssuer, "i1")
	i2       = forge.P256Key(principal.RoleAuthority, vIssuer, "i2")
	other    = forge.Ed25519Key(principal.RoleAuthority, "https://other.example", "o1")
	orders   = forge.Ed25519Key(principal.RoleLink, "orders", "s1")
	payments = forge.P256Key(principal.RoleLink, "payments", "s2")
	ledger   = forge.Ed25519Key(principal.RoleLink, "ledger", "s3")
	attacker = forge.Ed25519Key(principal.RoleLink, "attacker", "x")

	vKeys = []forge.Key{i1, i2, other, orders, payments, ledger, attacker}
)

// definition is a vector before it is written down.
type definition struct {
	name, about, covers string
	now                 int64
	audience, mesh      string
	keys                []string
	binding, peer       string
	headers             []string
	expect              string
	details             []string
}

func (d definition) text() []byte {
	var b bytes.Buffer
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	line("about", d.about)
	line("covers", d.covers)
	line("now", strconv.FormatInt(d.now, 10))
	line("audience", d.audience)
	line("trust-domain", d.mesh)
	for _, k := range d.keys {
		fmt.Fprintln(&b, k)
	}
	line("binding", d.binding)
	line("peer", d.peer)
	for _, h := range d.headers {
		fmt.Fprintf(&b, "header: %s\n", h)
	}
	line("expect", d.expect)
	for _, detail := range d.details {
		fmt.Fprintln(&b, detail)
	}
	return b.Bytes()
}

// vectors collects definitions.
type vectors struct{ list []definition }

type change func(*definition)

func (v *vectors) add(name, about, covers, expect string, header string, changes ...change) {
	d := definition{
		name: name, about: about, covers: covers, now: vNow, audience: "orders", mesh: vMesh, expect: expect,
		headers: []string{base64.RawStdEncoding.EncodeToString([]byte(header))},
	}
	for _, k := range vKeys {
		d.keys = append(d.keys, "key: "+keyLine(k.Public()))
	}
	for _, c := range changes {
		c(&d)
	}
	v.list = append(v.list, d)
}

func at(audience string) change        { return func(d *definition) { d.audience = audience } }
func when(now int64) change            { return func(d *definition) { d.now = now } }
func noMesh(d *definition)             { d.mesh = "" }
func noKeys(d *definition)             { d.keys = nil }
func mtls(peer string) change          { return func(d *definition) { d.binding, d.peer = "mtls", peer } }
func text(values ...string) change     { return func(d *definition) { d.headers = values } }
func details(lines ...string) change   { return func(d *definition) { d.details = lines } }
func extraKeyLine(line string) change  { return func(d *definition) { d.keys = append(d.keys, line) } }
func window(line string, k int) change { return func(d *definition) { d.keys[k] += " " + line } }

// authorityPayload is a linked principal for orders; edit changes it first.
func authorityPayload(edit ...func(*principalv1.Principal)) []byte {
	p := principaltest.Standard()
	p.Id = forge.Opening("id")
	p.Issuer, p.Audience, p.Presenter = vIssuer, "orders", "bff"
	p.IssuedAt, p.ExpiresAt = 1_760_000_000, 1_760_000_300
	p.Roles = []string{"buyer"}
	p.MaxLinks, p.Commitment = 6, forge.Commitment(forge.Opening("0"))
	for _, e := range edit {
		e(p)
	}
	return forge.Marshal(p)
}

func relayed(p *principalv1.Principal) {
	p.Audience, p.Presenter, p.MaxLinks, p.Commitment = vMesh, "", 0, nil
}

func linkPayload(n int, audience string, edit ...func(*principalv1.Link)) []byte {
	l := &principalv1.Link{Audience: audience, ExpiresAt: vNow + 60, Commitment: forge.Commitment(forge.Opening(strconv.Itoa(n)))}
	for _, e := range edit {
		e(l)
	}
	return forge.Marshal(l)
}

func scopes(list ...string) func(*principalv1.Link) {
	return func(l *principalv1.Link) { l.Scopes = &principalv1.ScopeSet{Values: list} }
}

func opened(c forge.Chain) string { return c.Header(forge.Opening(strconv.Itoa(len(c) - 1))) }

func linked(edit ...func(*principalv1.Principal)) forge.Chain {
	return forge.Chain{}.Append(i1, authorityPayload(edit...))
}

func relay(edit ...func(*principalv1.Principal)) string {
	return forge.Chain{}.Append(i1, authorityPayload(append([]func(*principalv1.Principal){relayed}, edit...)...)).Header(nil)
}

func vectorDefinitions() []definition {
	v := &vectors{}
	v.accepted()
	v.headerForms()
	v.outerForms()
	v.payloadForms()
	v.modes()
	v.times()
	v.keyCases()
	v.chains()
	v.presenters()
	v.corners()
	v.keyFiles()
	v.order()
	return v.list
}

func (v *vectors) accepted() {
	subject := "subject: hm-2bd806c9-7f0e-00af-1a1f-c3328fa763a9"
	all := "scopes: ledger:read orders:read orders:write payments:read payments:write profile:read stock:read stock:reserve"
	v.add("accept-relay", "the standard principal in relay mode", "D01", "accept", relay(), details("mode: relay", subject, all, "roles: buyer", "path:"))
	v.add("accept-relay-at-ledger", "any service of the trust domain accepts a relayed principal", "", "accept", relay(), at("ledger"))
	v.add("accept-linked", "the standard principal in linked mode", "D01", "accept", opened(linked()), details("mode: linked", subject, all, "roles: buyer", "path: bff"))
	one := linked().Append(orders, linkPayload(1, "payments"))
	v.add("accept-one-link", "one hop, inheriting scopes and roles", "D01", "accept", opened(one), at("payments"), details(all, "roles: buyer", "path: bff orders"))
	two := one.Append(payments, linkPayload(2, "ledger", scopes("ledger:read")))
	v.add("accept-two-links-narrowed", "two hops; the second, signed with P-256, narrows", "D01", "accept", opened(two), at("ledger"),
		details("scopes: ledger:read", "roles:", "path: bff orders payments"))
	v.add("accept-narrowed-to-nothing", "a present and empty scope set leaves no scopes and no roles", "", "accept",
		opened(linked().Append(orders, linkPayload(1, "payments", scopes()))), at("payments"), details("scopes:", "roles:"))
	c := linked()
	signers := []forge.Key{orders, payments, ledger, orders, payments, ledger}
	for n, to := range []string{"payments", "ledger", "orders", "payments", "ledger", "orders"} {
		c = c.Append(signers[n], linkPayload(n+1, to))
	}
	v.add("accept-six-links", "the longest chain, twice around a cycle", "", "accept", opened(c), details("path: bff orders payments ledger orders payments ledger"))
	v.add("accept-p256-authority", "an authority key on P-256", "", "accept", opened(forge.Chain{}.Append(i2, authorityPayload())))
	v.add("accept-unknown-field", "an unknown field below 1000 in a signed payload", "B07", "accept",
		opened(forge.Chain{}.Append(i1, protowire.AppendString(protowire.AppendTag(authorityPayload(), 99, protowire.BytesType), "x"))))
	v.add("accept-service-subject", "a service that acts for itself", "", "accept", opened(linked(func(p *principalv1.Principal) {
		p.Subject = &principalv1.Identity{Id: &principalv1.Identity_ServiceName{ServiceName: "billing"}}
		p.Delegations = nil
	})), details("subject: svc-billing", "actor: svc-billing", "delegations:"))
	v.add("accept-foreign-agent", "a delegation to an agent of another issuer", "", "accept", opened(linked(func(p *principalv1.Principal) {
		p.Delegations = p.Delegations[:1]
		p.Delegations[0].Actor = &principalv1.Identity{Id: &principalv1.Identity_AgentName{AgentName: "fetcher"}, Issuer: "https://agents.example"}
	})), details("actor: am-fetcher", "delegations: am-fetcher"), extraKeyLine("may-name: "+vIssuer+" https://agents.example"))
	v.add("accept-minimal", "nothing but what is required", "", "accept", opened(linked(func(p *principalv1.Principal) {
		proto.Reset(p)
		p.Id, p.Issuer, p.Audience, p.IssuedAt, p.ExpiresAt = forge.Opening("id"), vIssuer, "orders", vNow, vNow+1
		p.Subject = &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: "alice"}}
		p.Commitment = forge.Commitment(forge.Opening("0"))
	})), details("subject: hm-alice", "scopes:", "roles:", "path:"))
	v.add("accept-nfd-name", "names are compared by byte and never normalised", "B10", "accept", opened(linked(func(p *principalv1.Principal) {
		p.Delegations = nil
		p.Subject = &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: "cafe\u0301"}}
	})), details("subject: hm-cafe\u0301"))
}

func (v *vectors) headerForms() {
	good := opened(linked())
	enc := base64.RawStdEncoding.EncodeToString([]byte(good))
	bob := base64.RawStdEncoding.EncodeToString([]byte(opened(linked(func(p *principalv1.Principal) { p.Tenant = "bob" }))))
	v.add("missing", "no header", "B01", "missing", good, text())
	v.add("multiple", "two headers, each valid", "B02", "multiple", good, text(enc, bob))
	v.add("multiple-reversed", "two headers, in the other order", "B02", "multiple", good, text(bob, enc))
	v.add("multiple-same", "the same header twice", "B02", "multiple", good, text(enc, enc))
	v.add("multiple-joined", "two headers joined by a comma", "B03", "multiple", good, text(enc+","+bob))
	padded := base64.StdEncoding.EncodeToString([]byte(good))
	if len(padded) == len(enc) {
		panic("choose a fixture whose base64 has padding")
	}
	v.add("accept-padded", "padding that is complete", "", "accept", good, text(padded))
	v.add("base64-half-padded", "padding that is incomplete", "B06", "malformed", good, text(strings.TrimSuffix(padded, "==")+"="))
	v.add("base64-extra-padding", "padding where none belongs", "", "malformed", good, text(padded+"===="))
	v.add("base64-line-end", "a line end inside", "", "malformed", good, text(enc[:100]+"%0A"+enc[100:]))
	v.add("base64-space", "a space inside", "", "malformed", good, text(enc[:100]+" "+enc[100:]))
	v.add("base64-url-alphabet", "the URL-safe alphabet", "", "malformed", good, text(urlSafe(enc)))
	v.add("base64-stray-bits", "bits behind the last byte that are not zero", "", "malformed", good, text(stray(enc)))
	v.add("size-bytes", "3,073 bytes", "B05", "size", strings.Repeat("a", 3073))
	v.add("size-text", "more than 4,096 characters", "B05", "size", good, text(strings.Repeat("A", 4098)))
	v.add("empty", "an empty header", "", "malformed", "", text(""))
	v.add("garbage", "3,072 bytes of garbage", "B09", "malformed", strings.Repeat("\x12\x00", 1536))
}

func urlSafe(s string) string {
	out := strings.NewReplacer("+", "-", "/", "_").Replace(s)
	if out == s {
		panic("choose a fixture whose base64 has + or /")
	}
	return out
}

func stray(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	last := strings.IndexByte(alphabet, s[len(s)-1])
	return s[:len(s)-1] + string(alphabet[last|1])
}

func (v *vectors) outerForms() {
	chain := linked()
	good := opened(chain)
	outer := func(s *principalv1.SignedPrincipal) string { return string(forge.Marshal(s)) }
	block := func(edit func(b *principalv1.Block)) string {
		b := proto.CloneOf(chain[0])
		edit(b)
		return outer(&principalv1.SignedPrincipal{Authority: b, TailOpening: forge.Opening("0")})
	}
	forged := authorityPayload(func(p *principalv1.Principal) { p.Tenant = "admin" })
	payloadTwice := protowire.AppendBytes(protowire.AppendTag(protowire.AppendBytes(protowire.AppendTag(nil, 1, 2), chain[0].GetPayload()), 1, 2), forged)
	payloadTwice = protowire.AppendString(protowire.AppendTag(payloadTwice, 2, 2), "i1")
	payloadTwice = protowire.AppendBytes(protowire.AppendTag(payloadTwice, 3, 2), chain[0].GetSignature())
	v.add("outer-payload-twice", "a signed payload followed by a forged one", "B06", "malformed",
		string(protowire.AppendBytes(protowire.AppendTag(nil, 1, 2), payloadTwice)))
	v.add("outer-authority-twice", "two authority blocks", "B06", "malformed",
		outer(&principalv1.SignedPrincipal{Authority: chain[0]})+good)
	v.add("outer-opening-twice", "two openings", "B06", "malformed", good+outer(&principalv1.SignedPrincipal{TailOpening: forge.Opening("x")}))
	v.add("outer-opening-first", "fields out of order", "", "malformed",
		outer(&principalv1.SignedPrincipal{TailOpening: forge.Opening("0")})+outer(&principalv1.SignedPrincipal{Authority: chain[0]}))
	v.add("outer-unknown-field", "an unknown field in the outer message", "B07", "malformed", good+"\x9a\x06\x01x")
	v.add("outer-critical-field", "also a critical number is malformed here", "B07", "malformed", good+"\xc2\x3e\x01x")
	v.add("outer-no-authority", "no authority", "", "malformed", outer(&principalv1.SignedPrincipal{TailOpening: forge.Opening("0")}))
	v.add("outer-overlong-varint", "a tag that is not minimal", "", "malformed", "\x8a\x00"+good[1:])
	v.add("outer-short-opening", "an opening of 15 bytes", "", "malformed", outer(&principalv1.SignedPrincipal{Authority: chain[0], TailOpening: forge.Opening("0")[:15]}))
	v.add("block-no-payload", "a block without payload", "", "malformed", block(func(b *principalv1.Block) { b.Payload = nil }))
	v.add("block-no-key-id", "a block without key id", "C01", "malformed", block(func(b *principalv1.Block) { b.KeyId = "" }))
	v.add("block-key-id-path", "a key id that is a path", "C01", "malformed", block(func(b *principalv1.Block) { b.KeyId = "../../etc/passwd" }))
	v.add("block-key-id-nul", "a key id with a NUL", "C01", "malformed", block(func(b *principalv1.Block) { b.KeyId = "i1\x00" }))
	v.add("block-key-id-long", "a key id of 33 characters", "C01", "malformed", block(func(b *principalv1.Block) { b.KeyId = strings.Repeat("k", 33) }))
	v.add("block-short-signature", "a signature of 63 bytes", "", "malformed", block(func(b *principalv1.Block) { b.Signature = b.GetSignature()[:63] }))
	v.add("block-long-signature", "a signature of 65 bytes", "", "malformed", block(func(b *principalv1.Block) { b.Signature = append(b.Signature, 0) }))
	seven := linked()
	for n := range 7 {
		seven = seven.Append(orders, linkPayload(n+1, "orders"))
	}
	v.add("outer-seven-links", "one link too many for the format", "B09", "malformed", opened(seven))
}

func (v *vectors) payloadForms() {
	edited := func(name, about, covers, expect string, edit func(*principalv1.Principal)) {
		v.add("payload-"+name, about, covers, expect, opened(linked(edit)))
	}
	name := func(s string) func(*principalv1.Principal) {
		return func(p *principalv1.Principal) {
			p.Subject = &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: s}}
		}
	}
	raw := func(n, about, expect string, payload []byte) {
		v.add("payload-"+n, about, "B07", expect, opened(forge.Chain{}.Append(i1, payload)))
	}
	raw("critical-field", "field 1000, signed", "unsupported", append(authorityPayload(), 0xc2, 0x3e, 0x01, 'x'))
	raw("commitment-twice", "a singular field twice", "malformed", append(authorityPayload(), slices.Concat([]byte{0xa2, 0x01, 16}, forge.Opening("0"))...))
	raw("group", "a group", "malformed", append(authorityPayload(), 0xf3, 0x01, 0xf4, 0x01))
	edited("no-kind", "a subject without id", "B07", "unsupported", func(p *principalv1.Principal) { p.Subject = &principalv1.Identity{} })
	edited("unknown-kind", "a subject of a kind that this version does not know", "B07", "unsupported", func(p *principalv1.Principal) {
		p.Subject = &principalv1.Identity{}
		p.Subject.ProtoReflect().SetUnknown([]byte("\x4a\x03bot"))
	})
	edited("no-subject", "no subject", "", "malformed", func(p *principalv1.Principal) { p.Subject = nil })
	edited("issuer-repeated", "an identity that repeats the principal's issuer", "", "malformed", func(p *principalv1.Principal) { p.Subject.Issuer = vIssuer })
	edited("delegate-service", "a delegation to a service", "", "malformed", func(p *principalv1.Principal) {
		p.Delegations[2].Actor = &principalv1.Identity{Id: &principalv1.Identity_ServiceName{ServiceName: "cron"}}
	})
	edited("delegate-human", "a delegation to a human", "", "malformed", func(p *principalv1.Principal) { p.Delegations[2].Actor = p.GetSubject() })
	edited("short-id", "an id of 15 bytes", "", "malformed", func(p *principalv1.Principal) { p.Id = p.GetId()[1:] })
	edited("scopes-order", "scopes out of order", "", "malformed", func(p *principalv1.Principal) { p.Scopes = []string{"b", "a"} })
	edited("scopes-twice", "a scope twice", "", "malformed", func(p *principalv1.Principal) { p.Scopes = []string{"a", "a"} })
	edited("attributes-large", "attributes of more than 1 KiB", "", "malformed", func(p *principalv1.Principal) {
		for _, n := range []string{"a", "b", "c", "d", "e"} {
			p.Attributes = append(p.Attributes, &principalv1.Attribute{Name: n, Value: strings.Repeat("v", 210)})
		}
	})
	edited("audience-star", "any audience", "D14", "malformed", func(p *principalv1.Principal) { p.Audience = "*" })
	edited("audience-empty", "no audience", "D14", "malformed", func(p *principalv1.Principal) { p.Audience = "" })
	edited("audience-case", "the audience in upper case", "D14", "malformed", func(p *principalv1.Principal) { p.Audience = "Orders" })
	edited("audience-dot", "the audience with a dot behind it", "D14", "malformed", func(p *principalv1.Principal) { p.Audience = "orders." })
	edited("audience-slash", "the audience with a slash behind it", "D14", "malformed", func(p *principalv1.Principal) { p.Audience = "orders/" })
	edited("audience-escape", "the audience percent-encoded", "D14", "malformed", func(p *principalv1.Principal) { p.Audience = "order%73" })
	edited("max-links-seven", "more links allowed than the format knows", "", "malformed", func(p *principalv1.Principal) { p.MaxLinks = 7 })
	edited("name-control", "a line end in a name", "B10", "malformed", name("a\nb"))
	edited("name-nul", "a NUL in a name", "B10", "malformed", name("a\x00b"))
	edited("name-override", "a right-to-left override in a name", "B10", "malformed", name("a\u202eb"))
	edited("name-bom", "a byte order mark in a name", "B10", "malformed", name("\ufeffab"))
	edited("name-empty", "an empty name", "B10", "malformed", name(""))
	edited("name-long", "a name of 300 bytes", "B10", "malformed", name(strings.Repeat("a", 300)))
	edited("name-uuid", "a UUID as a name", "", "malformed", name("2bd1d63d-77e2-560e-821a-dcf3b7bef64e"))
	edited("name-prefix", "a name with the prefix of an id", "", "malformed", name("hm-alice"))
	utf8 := bytes.Replace(authorityPayload(name("aXb")), []byte("aXb"), []byte("a\xffb"), 1)
	v.add("payload-name-utf8", "a name that is not UTF-8", "B10", "malformed", opened(forge.Chain{}.Append(i1, utf8)))
}

func (v *vectors) modes() {
	v.add("relay-not-accepted", "a relayed principal where none are accepted", "", "audience", relay(), noMesh)
	v.add("relay-other-mesh", "a relayed principal of another trust domain", "", "audience", relay(func(p *principalv1.Principal) { p.Audience = "mesh:test" }))
	v.add("relay-with-max-links", "a relayed principal that allows links", "", "malformed", relay(func(p *principalv1.Principal) { p.MaxLinks = 1 }))
	v.add("relay-with-presenter", "a relayed principal that names a presenter", "", "malformed", relay(func(p *principalv1.Principal) { p.Presenter = "bff" }))
	v.add("relay-with-commitment", "a relayed principal with a commitment", "", "malformed",
		relay(func(p *principalv1.Principal) { p.Commitment = forge.Commitment(forge.Opening("0")) }))
	base := forge.Chain{}.Append(i1, authorityPayload(relayed))
	v.add("relay-with-opening", "a relayed principal with an opening", "", "malformed", base.Header(forge.Opening("0")))
	v.add("relay-with-link", "a link behind a relayed principal", "D05", "malformed", opened(base.Append(orders, linkPayload(1, "payments"))), at("payments"))
	v.add("linked-no-opening", "a linked principal without opening", "", "malformed", linked().Header(nil))
	v.add("linked-no-commitment", "a linked principal without commitment", "", "malformed", opened(linked(func(p *principalv1.Principal) { p.Commitment = nil })))
	v.add("link-to-mesh", "a link whose audience is a trust domain", "D14", "malformed", opened(linked().Append(orders, linkPayload(1, vMesh))), at("payments"))
	v.add("link-no-commitment", "a link without commitment", "", "malformed",
		opened(linked().Append(orders, linkPayload(1, "payments", func(l *principalv1.Link) { l.Commitment = nil }))), at("payments"))
	v.add("link-identity-field", "a link with a field of its own for a subject, critical", "E02", "unsupported",
		opened(linked().Append(orders, append(linkPayload(1, "payments"), "\xc2\x3e\x05alice"...))), at("payments"))
}

func (v *vectors) times() {
	when300 := func(name, about, expect string, now int64) {
		v.add("time-"+name, about, "C07", expect, opened(linked()), when(now))
	}
	when300("last-second", "29 s after the end", "accept", 1_760_000_329)
	when300("expired", "30 s after the end", "time", 1_760_000_330)
	when300("first-second", "30 s before the beginning", "accept", 1_759_999_970)
	when300("early", "31 s before the beginning", "time", 1_759_999_969)
	edited := func(name, about string, edit func(*principalv1.Principal)) {
		v.add("time-"+name, about, "C07", "time", opened(linked(edit)))
	}
	edited("no-end", "no expires_at", func(p *principalv1.Principal) { p.ExpiresAt = 0 })
	edited("no-beginning", "no issued_at", func(p *principalv1.Principal) { p.IssuedAt = 0 })
	edited("negative", "a negative expires_at", func(p *principalv1.Principal) { p.ExpiresAt = -1 })
	edited("too-long", "a life of 301 s", func(p *principalv1.Principal) { p.ExpiresAt++ })
	edited("ten-years", "a life of ten years", func(p *principalv1.Principal) { p.ExpiresAt += 315_360_000 })
	edited("max-int", "the largest expires_at there is", func(p *principalv1.Principal) { p.ExpiresAt = 1<<63 - 1 })
	edited("backwards", "an end before the beginning", func(p *principalv1.Principal) { p.ExpiresAt = p.GetIssuedAt() - 1 })
	edited("empty", "an end at the beginning", func(p *principalv1.Principal) { p.ExpiresAt = p.GetIssuedAt() })
	edited("stream-before-end", "stream_until before expires_at", func(p *principalv1.Principal) { p.StreamUntil = p.GetExpiresAt() - 1 })
	link := func(name, about, expect string, now, expires int64) {
		c := linked().Append(orders, linkPayload(1, "payments", func(l *principalv1.Link) { l.ExpiresAt = expires }))
		v.add("time-link-"+name, about, "C07 E02", expect, opened(c), at("payments"), when(now))
	}
	link("held", "a link whose deadline was 29 s ago", "accept", vNow, vNow-29)
	link("late", "a link whose deadline was 30 s ago", "time", vNow, vNow-30)
	link("far", "a deadline 91 s ahead", "time", vNow, vNow+91)
	link("near", "a deadline 90 s ahead", "accept", vNow, vNow+90)
	link("outlives", "a deadline behind the authority's end", "time", 1_760_000_299, 1_760_000_301)
	link("zero", "no deadline", "time", vNow, 0)
	old := linked().Append(orders, linkPayload(1, "payments", func(l *principalv1.Link) { l.ExpiresAt = vNow - 200 + 195 })).
		Append(payments, linkPayload(2, "ledger", func(l *principalv1.Link) { l.ExpiresAt = vNow + 260 }))
	v.add("time-link-inner-past", "the deadline of a link that is not the tail does not matter any more", "", "accept", opened(old), at("ledger"), when(vNow+220))
}

func (v *vectors) keyCases() {
	tampered := linked()
	b := proto.CloneOf(tampered[0])
	b.Signature[10] ^= 1
	v.add("signature-bad", "a bit of the signature changed", "", "signature", opened(forge.Chain{b}))
	x := forge.Ed25519Key(principal.RoleAuthority, vIssuer, "not-i1")
	x.ID = "i1"
	v.add("signature-other-key", "signed by another key under the id of a known one", "C01", "signature", opened(forge.Chain{}.Append(x, authorityPayload())))
	nope := i1
	nope.ID = "nope"
	v.add("key-unknown", "a key id that nobody has", "C01", "unknown_key", opened(forge.Chain{}.Append(nope, authorityPayload())))
	v.add("key-no-keys", "a verifier that holds no keys", "", "no_keys", opened(linked()), noKeys)
	wrongRole := orders
	v.add("key-role", "an authority block signed with a link key", "C02", "unknown_key", opened(forge.Chain{}.Append(wrongRole, authorityPayload())))
	v.add("key-role-link", "a link signed with an authority key", "C02 D11", "unknown_key", opened(linked().Append(i1, linkPayload(1, "payments"))), at("payments"))
	v.add("key-owner", "an issuer's principal signed with another issuer's key", "C06", "unknown_key", opened(forge.Chain{}.Append(other, authorityPayload())))
	v.add("key-early", "a key before its window", "", "unknown_key", opened(linked()), window(fmt.Sprintf("%d %d", vNow+31, vNow+1000), 0))
	v.add("key-late", "a key behind its window", "", "unknown_key", opened(linked()), window(fmt.Sprintf("%d %d", vNow-1000, vNow-30), 0))
	v.add("key-in-window", "a key whose window opens in 30 s", "", "accept", opened(linked()), window(fmt.Sprintf("%d %d", vNow+30, vNow+1000), 0))
	v.add("key-still-in-window", "a key whose window closed 29 s ago", "", "accept", opened(linked()), window(fmt.Sprintf("%d %d", vNow-1000, vNow-29), 0))
	v.add("domain-no-tag", "a signature over the bare payload", "C03", "signature", opened(forge.Chain{&principalv1.Block{
		Payload: authorityPayload(), KeyId: "i1", Signature: i1.Sign(authorityPayload()),
	}}))
	asLink := slices.Concat([]byte("onbehalf/v1 link\x00"), make([]byte, 32), []byte{2}, []byte("i1"), authorityPayload())
	v.add("domain-link-tag", "a signature made for a link", "C03", "signature", opened(forge.Chain{&principalv1.Block{
		Payload: authorityPayload(), KeyId: "i1", Signature: i1.Sign(asLink),
	}}))
	p256 := forge.Chain{}.Append(i2, authorityPayload())
	high := proto.CloneOf(p256[0])
	high.Signature = mirrorS(high.GetSignature())
	v.add("p256-high-s", "the other spelling of a P-256 signature", "", "malformed", opened(forge.Chain{high}))
	zero := proto.CloneOf(p256[0])
	copy(zero.Signature[:32], make([]byte, 32))
	v.add("p256-r-zero", "r = 0", "", "malformed", opened(forge.Chain{zero}))
	changed := proto.CloneOf(p256[0])
	changed.Signature[5] ^= 1
	v.add("p256-bad", "a bit of a P-256 signature changed", "", "signature", opened(forge.Chain{changed}))
	identity := slices.Concat([]byte{1}, make([]byte, 31))
	anything := &principalv1.Block{Payload: authorityPayload(), KeyId: "low", Signature: slices.Concat(identity, make([]byte, 32))}
	for name, point := range map[string][]byte{"identity": identity, "order-two": slices.Concat([]byte{0xec}, bytes.Repeat([]byte{0xff}, 30), []byte{0x7f})} {
		v.add("key-low-order-"+name, "a public key of low order, under which a signature can be made up", "C04", "unknown_key", opened(forge.Chain{anything}),
			extraKeyLine("bad-key: authority "+vIssuer+" low ed25519 "+base64.RawURLEncoding.EncodeToString(point)))
	}
}

func (v *vectors) chains() {
	one := linked().Append(orders, linkPayload(1, "payments"))
	two := one.Append(payments, linkPayload(2, "ledger"))
	v.add("chain-truncated", "the link removed, presented to a third service", "D02", "audience", one[:1].Header(forge.Opening("1")), at("ledger"))
	v.add("chain-reflected", "the link removed, presented to the service before", "D03", "opening", one[:1].Header(forge.Opening("1")))
	v.add("chain-own-link", "the narrowing link replaced by one's own", "D05", "unknown_key", opened(linked().Append(payments, linkPayload(1, "ledger"))), at("ledger"))
	v.add("chain-own-link-relabelled", "the same, under the key id of the service that was passed over", "D05 D12", "signature",
		opened(linked().Append(forge.Key{KeyRef: orders.KeyRef, Private: attacker.Private}, linkPayload(1, "ledger"))), at("ledger"))
	bob := linked(func(p *principalv1.Principal) { p.Tenant = "bob" })
	v.add("chain-spliced", "a link of one chain behind the authority of another", "D06", "signature", opened(slices.Concat(bob, one[1:])), at("payments"))
	three := two.Append(ledger, linkPayload(3, "orders"))
	v.add("chain-swapped", "two links swapped", "D07", "unknown_key", forge.Chain{three[0], three[1], three[3], three[2]}.Header(forge.Opening("2")), at("ledger"))
	v.add("chain-duplicated", "a link twice", "D07", "unknown_key", forge.Chain{two[0], two[1], two[1]}.Header(forge.Opening("1")), at("payments"))
	cyc := linked().Append(orders, linkPayload(1, "orders"))
	v.add("chain-duplicated-cycle", "a link to oneself twice", "D07", "opening", forge.Chain{cyc[0], cyc[1], cyc[1]}.Header(forge.Opening("1")))
	v.add("chain-inner-removed", "a link removed from the middle", "D07", "unknown_key", forge.Chain{two[0], two[2]}.Header(forge.Opening("2")), at("ledger"))
	v.add("chain-not-a-linker", "a service without link key appends one", "D11", "unknown_key",
		opened(linked(func(p *principalv1.Principal) { p.Audience = "stock" }).Append(forge.Ed25519Key(principal.RoleLink, "stock", "s9"), linkPayload(1, "payments"))), at("payments"))
	v.add("chain-wrong-audience", "a chain for payments at ledger", "D02 D17", "audience", opened(one), at("ledger"))
	v.add("chain-opening-of-parent", "the tail presented with the opening of its parent", "", "opening", one.Header(forge.Opening("0")), at("payments"))
	v.add("widen-scope", "a link with a scope that its parent does not have", "E01", "widen",
		opened(linked().Append(orders, linkPayload(1, "payments", scopes("orders:read", "refund:write")))), at("payments"))
	v.add("widen-second", "a link that takes back what the one before removed", "E01", "widen",
		opened(linked().Append(orders, linkPayload(1, "payments", scopes("orders:read"))).Append(payments, linkPayload(2, "ledger", scopes("orders:read", "orders:write")))), at("ledger"))
	v.add("widen-count", "one link more than allowed", "E02", "widen",
		opened(linked(func(p *principalv1.Principal) { p.MaxLinks = 1 }).Append(orders, linkPayload(1, "payments")).Append(payments, linkPayload(2, "ledger"))), at("ledger"))
	v.add("widen-none-allowed", "a link where none is allowed", "E02", "widen",
		opened(linked(func(p *principalv1.Principal) { p.MaxLinks = 0 }).Append(orders, linkPayload(1, "payments"))), at("payments"))
	badTail := proto.CloneOf(two[2])
	badTail.Signature[40] ^= 1
	v.add("chain-bad-tail", "a bad tail behind good blocks", "Z06", "signature", forge.Chain{two[0], two[1], badTail}.Header(forge.Opening("2")), at("ledger"))
	badMiddle := proto.CloneOf(two[1])
	badMiddle.Signature[40] ^= 1
	v.add("chain-bad-middle", "a bad signature in the middle changes the transcript, so the tail's fails", "", "signature",
		forge.Chain{two[0], badMiddle, two[2]}.Header(forge.Opening("2")), at("ledger"))
}

func (v *vectors) presenters() {
	one := linked().Append(orders, linkPayload(1, "payments"))
	v.add("presenter-edge", "the issuing edge presents what it signed", "D01", "accept", opened(linked()), mtls("bff"))
	v.add("presenter-signer", "the tail's signer presents it", "D01", "accept", opened(one), at("payments"), mtls("orders"))
	v.add("presenter-other", "another service presents a stolen chain", "D17", "presenter", opened(one), at("payments"), mtls("attacker"))
	v.add("presenter-none", "no client certificate", "D17", "presenter", opened(one), at("payments"), mtls(""))
	v.add("presenter-not-the-edge", "another service presents what the edge signed", "D03", "presenter", opened(linked()), mtls("payments"))
	v.add("presenter-unnamed", "no presenter named where one is needed", "", "presenter", opened(linked(func(p *principalv1.Principal) { p.Presenter = "" })), mtls("bff"))
	v.add("presenter-relay", "any member of the trust domain presents a relayed principal", "", "accept", relay(), mtls("stock"))
	v.add("presenter-relay-none", "but one without certificate does not", "", "presenter", relay(), mtls(""))
}
