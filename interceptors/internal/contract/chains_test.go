package contract_test

import (
	"slices"
	"testing"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// via is the fixture after s1 has passed it on to s2.
func via(edit ...func(*principalv1.Principal)) chain {
	return authority(alice("s1", edit...)).link(s1, to("s2", "B"))
}

// far is a chain of three links, from s1 over s2 and s3 to s4.
func far() chain {
	return via().link(s2, to("s3", "C")).link(s3, to("s4", "D"))
}

// Section D without a binding: what holds without TLS.
func TestChains(t *testing.T) {
	t.Parallel()
	run(t, slices.Concat(chains(false, nil), []attack{
		{name: "D02 cut to the first block, for another service", at: "s3", values: one(func() string { return via()[:1].header("A") }), reason: principal.ReasonAudience},
		{name: "D03 cut and sent back", at: "s1", values: one(func() string { return via()[:1].header("B") }), reason: principal.ReasonOpening},
		{name: "D09 cut and sent back, without an opening", at: "s1", values: one(func() string { return via()[:1].header("") }), reason: principal.ReasonMalformed},
		{name: "D17 lifted from a log, for its audience", header: func() (chain, string) { return via(), "B" }},
		{name: "D17 lifted from a log, for another service", at: "s3", values: one(func() string { return via().header("B") }), reason: principal.ReasonAudience},
	}))
}

// Section D where the presenter's certificate counts.
func TestChainsWithMTLS(t *testing.T) {
	t.Parallel()
	presented := func() (chain, string) { return via(), "B" }
	lifted := one(func() string { return via().header("B") })
	run(t, slices.Concat(chains(true, spiffe("s1")), []attack{
		{name: "D01 from the edge", at: "s1", mtls: true, peer: spiffe("bff"), header: linkedTo("s1")},
		{name: "D01 relayed by a member", mtls: true, peer: spiffe("s9"), header: func() (chain, string) { return authority(alice(mesh)), "" }},
		{name: "D02 cut to the first block, for another service", at: "s3", mtls: true, peer: spiffe("s2"), values: one(func() string { return via()[:1].header("A") }), reason: principal.ReasonAudience},
		{name: "D03 cut and sent back", at: "s1", mtls: true, peer: spiffe("s2"), values: one(func() string { return via()[:1].header("B") }), reason: principal.ReasonOpening},
		{name: "D03 cut and sent back with a stolen opening", at: "s1", mtls: true, peer: spiffe("s2"), values: one(func() string { return via()[:1].header("A") }), reason: principal.ReasonPresenter},
		{name: "D16 through a gateway", mtls: true, peer: spiffe("gw"), values: lifted, reason: principal.ReasonPresenter},
		{name: "D16 through a transparent gateway", mtls: true, peer: spiffe("gw"), gateways: []string{"gw"}, header: presented},
		{name: "D16 through a gateway that is another one's", mtls: true, peer: spiffe("gw2"), gateways: []string{"gw"}, values: lifted, reason: principal.ReasonPresenter},
		{name: "D17 lifted from a log, for its audience", mtls: true, peer: spiffe("s9"), values: lifted, reason: principal.ReasonPresenter},
		{name: "D17 lifted from a log, for another service", at: "s3", mtls: true, peer: spiffe("s9"), values: lifted, reason: principal.ReasonAudience},
		{name: "D17 without a certificate", mtls: true, values: lifted, reason: principal.ReasonPresenter},
		{name: "D17 relayed without a certificate", mtls: true, values: one(func() string { return relayed() }), reason: principal.ReasonPresenter},
		{name: "D17 name at the end of a longer path", mtls: true, peer: []string{"spiffe://" + trustDomain + "/ns/prod/s1"}, values: lifted, reason: principal.ReasonPresenter},
		{name: "D17 name in another trust domain", mtls: true, peer: []string{"spiffe://other.example/s1"}, values: lifted, reason: principal.ReasonPresenter},
		{name: "D17 two names", mtls: true, peer: []string{spiffe("s1")[0], spiffe("s9")[0]}, values: lifted, reason: principal.ReasonPresenter},
	}))
}

// chains are the cases that have the same outcome with and without a binding.
func chains(mtls bool, peer []string) []attack {
	attacks := []attack{
		{name: "D01 happy chain", header: func() (chain, string) { return via(), "B" }},
		{name: "D01 happy chain of an agent", header: func() (chain, string) { return via(delegated), "B" }},
		{name: "D01 narrowed", header: func() (chain, string) {
			return authority(alice("s1")).link(s1, to("s2", "B", "orders:read")), "B"
		}},
		{name: "D01 narrowed to nothing", header: func() (chain, string) {
			return authority(alice("s1")).link(s1, to("s2", "B", []string{}...)), "B"
		}},
		{name: "D05 own link in place of the narrowing one", at: "s3", values: one(func() string {
			return via()[:1].link(s2, to("s3", "C")).header("C")
		}), reason: principal.ReasonUnknownKey},
		{name: "D05 under the id of the key it has to be", at: "s3", values: one(func() string {
			return via()[:1].link(s2.as(s1.ID), to("s3", "C")).header("C")
		}), reason: principal.ReasonSignature},
		{name: "D06 spliced", values: one(func() string {
			return slices.Concat(via(bob)[:1], via()[1:]).header("B")
		}), reason: principal.ReasonSignature},
		{name: "D07 swapped", at: "s3", values: one(func() string {
			c := far()
			return chain{c[0], c[1], c[3], c[2]}.header("C")
		}), reason: principal.ReasonUnknownKey},
		{name: "D07 one twice", at: "s3", values: one(func() string {
			c := far()
			return chain{c[0], c[1], c[2], c[2]}.header("C")
		}), reason: principal.ReasonUnknownKey},
		{name: "D07 the first twice", values: one(func() string {
			c := via()
			return chain{c[0], c[1], c[1]}.header("B")
		}), reason: principal.ReasonUnknownKey},
		{name: "D11 by a service that has no link key", at: "s3", values: one(func() string {
			return authority(alice("s9")).link(s9, to("s3", "B")).header("B")
		}), reason: principal.ReasonUnknownKey},
		{name: "D12 by another service", values: one(func() string {
			return authority(alice("s1")).link(s2, to("s2", "B")).header("B")
		}), reason: principal.ReasonUnknownKey},
		{name: "D12 by another service, with the right key id", values: one(func() string {
			return authority(alice("s1")).link(s2.as(s1.ID), to("s2", "B")).header("B")
		}), reason: principal.ReasonSignature},
		{name: "D14 no audience", values: audience(""), reason: principal.ReasonMalformed},
		{name: "D14 any audience", values: audience("*"), reason: principal.ReasonMalformed},
		{name: "D14 upper case", values: audience("S2"), reason: principal.ReasonMalformed},
		{name: "D14 dot at the end", values: audience("s2."), reason: principal.ReasonMalformed},
		{name: "D14 slash at the end", values: audience("s2/"), reason: principal.ReasonMalformed},
		{name: "D14 escaped", values: audience("s%32"), reason: principal.ReasonMalformed},
		{name: "D14 longer", values: audience("s20"), reason: principal.ReasonAudience},
		{name: "D14 another", values: audience("s1"), reason: principal.ReasonAudience},
		{name: "D14 another trust domain", values: one(func() string {
			return authority(alice(mesh, func(p *principalv1.Principal) { p.Audience = "mesh:other" })).header("")
		}), reason: principal.ReasonAudience},
		{name: "D14 link for any", values: linkAudience("*"), reason: principal.ReasonMalformed},
		{name: "D14 link for a trust domain", values: linkAudience(mesh), reason: principal.ReasonMalformed},
		{name: "D14 link for two", values: one(func() string {
			payload := field(canonical(&principalv1.Link{Audience: "s2"}), 1, []byte("s3"))
			l := to("", "B")
			return authority(alice("s1")).with(s1, append(payload, canonical(l)...)).header("B")
		}), reason: principal.ReasonMalformed},
		{name: "D14 link after a relay", values: one(func() string {
			return authority(alice(mesh)).link(s1, to("s2", "B")).header("B")
		}), reason: principal.ReasonMalformed},

		{name: "E01 scope", values: linkScopes("orders:read", "orders:refund", "orders:write"), reason: principal.ReasonWiden},
		{name: "E01 scope that an earlier link had taken away", at: "s3", values: one(func() string {
			return authority(alice("s1")).link(s1, to("s2", "B", "orders:read")).link(s2, to("s3", "C", "orders:read", "orders:write")).header("C")
		}), reason: principal.ReasonWiden},
		{name: "E02 longer life", values: one(func() string {
			l := to("s2", "B")
			return authority(alice("s1", lasting(-260, 20))).link(s1, l).header("B")
		}), reason: principal.ReasonTime},
		{name: "E02 more links", values: one(func() string {
			return authority(alice("s1", func(p *principalv1.Principal) { p.MaxLinks = 0 })).link(s1, to("s2", "B")).header("B")
		}), reason: principal.ReasonWiden},
		{name: "E02 one link more", at: "s4", values: one(func() string {
			return authority(alice("s1", func(p *principalv1.Principal) { p.MaxLinks = 2 })).
				link(s1, to("s2", "B")).link(s2, to("s3", "C")).link(s3, to("s4", "D")).header("D")
		}), reason: principal.ReasonWiden},
		{name: "E02 something that only a later version knows", values: one(func() string {
			payload := field(canonical(to("s2", "B")), 1000, []byte("bob"))
			return authority(alice("s1")).with(s1, payload).header("B")
		}), reason: principal.ReasonUnsupported},
	}
	for i := range attacks {
		attacks[i].mtls, attacks[i].peer = mtls, peer
	}
	return attacks
}

func audience(name string) func() []string {
	return one(func() string {
		return authority(alice("s2", func(p *principalv1.Principal) { p.Audience = name })).header("A")
	})
}

func linkAudience(name string) func() []string {
	return one(func() string { return authority(alice("s1")).link(s1, to(name, "B")).header("B") })
}

func linkScopes(scopes ...string) func() []string {
	return one(func() string { return authority(alice("s1")).link(s1, to("s2", "B", scopes...)).header("B") })
}

// E02: a link cannot say who it is about.
func TestLinkSchema(t *testing.T) {
	t.Parallel()
	var names []string
	fields := (&principalv1.Link{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		names = append(names, string(fields.Get(i).Name()))
	}
	if want := []string{"audience", "scopes", "expires_at", "commitment"}; !slices.Equal(names, want) {
		t.Errorf("a link has the fields %q, want %q", names, want)
	}
}
