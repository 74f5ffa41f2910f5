package contract_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// by signs the fixture with a key, in relay mode.
func by(key forgeKey, edit ...func(*principalv1.Principal)) func() []string {
	return one(func() string { return chain{}.with(key, canonical(alice(mesh, edit...))).header("") })
}

// crossed is the fixture with a signature that was made for something else.
func crossed(signature func(payload []byte) []byte) func() []string {
	return one(func() string {
		payload := canonical(alice(mesh))
		return chain{}.signed(i1, payload, signature(payload)).header("")
	})
}

func sign(parts ...[]byte) []byte { return ed25519.Sign(i1.private, slices.Concat(parts...)) }

func TestSignatures(t *testing.T) {
	t.Parallel()
	run(t, []attack{
		{name: "C01 key of another under a known id", values: by(x.as("i1")), reason: principal.ReasonSignature},
		{name: "C01 unknown id", values: by(i1.as("nope")), reason: principal.ReasonUnknownKey},
		{name: "C01 empty id", values: by(i1.as("")), reason: principal.ReasonMalformed, unread: true},
		{name: "C01 id of 33 characters", values: by(i1.as(strings.Repeat("k", 33))), reason: principal.ReasonMalformed, unread: true},
		{name: "C01 id of 4 KiB", values: by(i1.as(strings.Repeat("k", 4<<10))), reason: principal.ReasonSize, unread: true},
		{name: "C01 id that is a path", values: by(i1.as("../../etc/passwd")), reason: principal.ReasonMalformed, unread: true},
		{name: "C01 id with NUL", values: by(i1.as("i1\x00")), reason: principal.ReasonMalformed, unread: true},
		{name: "C01 one bit of the signature", values: crossed(func(payload []byte) []byte {
			s := ed25519.Sign(i1.private, chain{}.message(tagAuthority, i1, payload))
			s[0] ^= 1
			return s
		}), reason: principal.ReasonSignature},

		{name: "C02 authority signed by a link key", values: by(s1), reason: principal.ReasonUnknownKey},
		{name: "C02 link key under the id of an authority", values: by(s1.as("i1")), reason: principal.ReasonSignature},
		{name: "C02 link signed by an authority key", values: one(func() string {
			return authority(alice("s1")).link(i1, to("s2", "B")).header("B")
		}), reason: principal.ReasonUnknownKey},

		{name: "C03 no prefix", values: crossed(func(payload []byte) []byte { return sign(payload) }), reason: principal.ReasonSignature},
		{name: "C03 prefix of a link", values: crossed(func(payload []byte) []byte {
			return ed25519.Sign(i1.private, chain{}.message(tagLink, i1, payload))
		}), reason: principal.ReasonSignature},
		{name: "C03 prefix of another version", values: crossed(func(payload []byte) []byte {
			return ed25519.Sign(i1.private, chain{}.message("onbehalf/v2 authority\x00", i1, payload))
		}), reason: principal.ReasonSignature},
		{name: "C03 no key id", values: crossed(func(payload []byte) []byte {
			return sign([]byte(tagAuthority), make([]byte, 32), payload)
		}), reason: principal.ReasonSignature},
		{name: "C03 JWS", values: crossed(func(payload []byte) []byte {
			return sign([]byte("eyJhbGciOiJFZERTQSJ9." + base64.RawURLEncoding.EncodeToString(payload)))
		}), reason: principal.ReasonSignature},

		{name: "C06 issuer A in the words of B", values: by(b1), reason: principal.ReasonUnknownKey},
		{name: "C06 issuer A in the words of B, with A's key id", values: by(b1.as("i1")), reason: principal.ReasonSignature},
	})
}

// lasting sets the times of the fixture, in seconds from now.
func lasting(issued, expires int64) func(*principalv1.Principal) {
	return func(p *principalv1.Principal) {
		now := time.Now().Unix()
		p.IssuedAt, p.ExpiresAt = now+issued, now+expires
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	at := func(expires int64) func() []string {
		return by(i1, func(p *principalv1.Principal) { p.ExpiresAt = expires })
	}
	run(t, []attack{
		{name: "C07 no end", values: at(0), reason: principal.ReasonTime},
		{name: "C07 end at the end of time", values: at(math.MaxInt64), reason: principal.ReasonTime},
		{name: "C07 end before time", values: at(-1), reason: principal.ReasonTime},
		{name: "C07 over, beyond the skew", values: by(i1, lasting(-200, -31)), reason: principal.ReasonTime},
		{name: "C07 over, within the skew", header: func() (chain, string) { return authority(alice(mesh, lasting(-200, -25))), "" }},
		{name: "C07 not begun, beyond the skew", values: by(i1, lasting(35, 200)), reason: principal.ReasonTime},
		{name: "C07 not begun, within the skew", header: func() (chain, string) { return authority(alice(mesh, lasting(25, 200))), "" }},
		{name: "C07 for ten years", values: by(i1, lasting(0, 10*365*86400)), reason: principal.ReasonTime},
		{name: "C07 for 301 seconds", values: by(i1, lasting(0, 301)), reason: principal.ReasonTime},
		{name: "C07 over before it begins", values: by(i1, lasting(0, -1)), reason: principal.ReasonTime},
		{name: "C07 link held for too long", values: linkExpiring(100), reason: principal.ReasonTime},
		{name: "C07 link over", values: linkExpiring(-31), reason: principal.ReasonTime},
		{name: "C07 link without an end", values: one(func() string {
			l := to("s2", "B")
			l.ExpiresAt = 0
			return authority(alice("s1")).link(s1, l).header("B")
		}), reason: principal.ReasonTime},
	})
}

func linkExpiring(seconds int64) func() []string {
	return one(func() string {
		l := to("s2", "B")
		l.ExpiresAt = time.Now().Unix() + seconds
		return authority(alice("s1")).link(s1, l).header("B")
	})
}
