package contract_test

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// field appends a field of bytes to a message.
func field(message []byte, number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(message, number, protowire.BytesType), value)
}

// signedPayload returns a header around a payload that is signed as it is.
func signedPayload(payload []byte) string { return chain{}.with(i1, payload).header("") }

// payloadWith is the fixture in relay mode with bytes at the end of its payload.
func payloadWith(tail []byte) []byte { return append(canonical(alice(mesh)), tail...) }

func TestParsing(t *testing.T) {
	t.Parallel()
	a := func() string { return text(relayed()) }
	b := func() string { return text(relayed(bob)) }
	run(t, []attack{
		{name: "B01 missing", values: func() []string { return nil }, reason: principal.ReasonMissing, unread: true},
		{name: "B01 empty", values: func() []string { return []string{""} }, reason: principal.ReasonMalformed, unread: true},
		{name: "B02 alice, bob", values: func() []string { return []string{a(), b()} }, reason: principal.ReasonMultiple, unread: true},
		{name: "B02 bob, alice", values: func() []string { return []string{b(), a()} }, reason: principal.ReasonMultiple, unread: true},
		{name: "B02 alice twice", values: func() []string { v := a(); return []string{v, v} }, reason: principal.ReasonMultiple, unread: true},
		{name: "B03 joined", values: func() []string { return joined(a(), b()) }, reason: principal.ReasonMultiple, before: true, unread: true},
		{name: "B03 joined with a space", values: func() []string { return []string{a() + ", " + b()} }, reason: principal.ReasonMultiple, before: true, unread: true},
		{name: "B05 one byte too long", values: one(func() string { return strings.Repeat("A", 3073) }), reason: principal.ReasonSize, unread: true},
		{name: "B05 8 KiB", values: one(func() string { return strings.Repeat("A", 6<<10) }), reason: principal.ReasonSize, unread: true},
		{name: "B06 payload twice", values: one(func() string { return repeated(1) }), reason: principal.ReasonMalformed, unread: true},
		{name: "B06 key id twice", values: one(func() string { return repeated(2) }), reason: principal.ReasonMalformed, unread: true},
		{name: "B06 signature twice", values: one(func() string { return repeated(3) }), reason: principal.ReasonMalformed, unread: true},
		{name: "B06 two authorities", values: one(func() string { return relayed() + relayed(bob) }), reason: principal.ReasonMalformed, unread: true},
		{name: "B07 unknown field of the envelope", values: one(func() string {
			return string(field([]byte(relayed()), 99, []byte("x")))
		}), reason: principal.ReasonMalformed, unread: true},
		{name: "B07 unknown field of the payload", header: func() (chain, string) {
			return chain{}.with(i1, payloadWith(field(nil, 999, []byte("later")))), ""
		}},
		{name: "B07 critical field of the payload", values: one(func() string {
			return signedPayload(payloadWith(field(nil, 1000, []byte("later"))))
		}), reason: principal.ReasonUnsupported, unread: true},
		{name: "B07 subject without an id", values: one(func() string {
			return relayed(func(p *principalv1.Principal) { p.Subject = &principalv1.Identity{Issuer: edgeB} })
		}), reason: principal.ReasonUnsupported, unread: true},
		{name: "B07 subject of an unknown kind", values: one(func() string {
			return relayed(func(p *principalv1.Principal) {
				p.Subject = new(principalv1.Identity)
				p.Subject.ProtoReflect().SetUnknown(field(nil, 77, []byte("robot")))
			})
		}), reason: principal.ReasonUnsupported, unread: true},
		{name: "B09 nested 200 deep", values: one(func() string { return string(nested(200)) }), reason: principal.ReasonMalformed, unread: true},
		{name: "B09 length of 2^31-1", values: one(func() string { return "\x0a\xff\xff\xff\xff\x07" }), reason: principal.ReasonMalformed, unread: true},
		{name: "B09 length of 2^63", values: one(func() string { return "\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01" }), reason: principal.ReasonMalformed, unread: true},
		{name: "B09 empty fields", values: one(func() string { return strings.Repeat("\x12\x00", 1500) }), reason: principal.ReasonMalformed, unread: true},
		{name: "B09 1,000 links of no bytes", values: one(func() string { return relayed() + strings.Repeat("\x12\x00", 1000) }), reason: principal.ReasonMalformed, unread: true},
		{name: "B10 invalid UTF-8", values: named("a\xff"), reason: principal.ReasonMalformed, unread: true},
		{name: "B10 NUL", values: named("a\x00b"), reason: principal.ReasonMalformed, unread: true},
		{name: "B10 line end", values: named("a\nb"), reason: principal.ReasonMalformed, unread: true},
		{name: "B10 right-to-left override", values: named("a\u202eb"), reason: principal.ReasonMalformed, unread: true},
		{name: "B10 zero-width no-break space", values: named("a\ufeffb"), reason: principal.ReasonMalformed, unread: true},
		{name: "B10 300 bytes", values: named(strings.Repeat("a", 300)), reason: principal.ReasonMalformed, unread: true},
		{name: "B10 empty", values: named(""), reason: principal.ReasonMalformed, unread: true},
		{name: "B10 composed", header: func() (chain, string) { return withName("Zo\u00eb"), "" }},
		{name: "B10 decomposed is another name", header: func() (chain, string) { return withName("Zoe\u0308"), "" }},
	})
}

// repeated returns an envelope in whose block a field is repeated: once as it
// was signed, once as the attacker would have it read.
func repeated(number protowire.Number) string {
	genuine, forged := authority(alice(mesh))[0], authority(alice(mesh, bob))[0]
	var block []byte
	for _, f := range []struct {
		number         protowire.Number
		signed, forged []byte
	}{
		{1, genuine.GetPayload(), forged.GetPayload()},
		{2, []byte(genuine.GetKeyId()), []byte("x1")},
		{3, genuine.GetSignature(), forged.GetSignature()},
	} {
		block = field(block, f.number, f.signed)
		if f.number == number {
			block = field(block, f.number, f.forged)
		}
	}
	return string(field(nil, 1, block))
}

func nested(depth int) []byte {
	var m []byte
	for range depth {
		m = field(nil, 1, m)
	}
	return m
}

// named is the fixture under another name, signed though no signer would.
func named(name string) func() []string {
	return one(func() string { return withName(name).header("") })
}

func withName(name string) chain {
	const placeholder = "ALICE-ALICE"
	payload := canonical(alice(mesh, func(p *principalv1.Principal) { p.Subject = human(placeholder) }))
	// Written by hand: proto.Marshal refuses invalid UTF-8.
	subject := field(nil, 8, field(nil, 3, []byte(placeholder)))
	return chain{}.with(i1, bytes.Replace(payload, subject, field(nil, 8, field(nil, 3, []byte(name))), 1))
}
