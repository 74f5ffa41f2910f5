package principal_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"

	"google.golang.org/protobuf/proto"
)

const keysIssuer = "https://keys.test"

func p256Key(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	seed := sha256.Sum256([]byte("a P-256 key"))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// signedBy returns a header for "orders", and a verifier that knows the key.
func signedBy(t testing.TB, private crypto.Signer) (*principalv1.SignedPrincipal, *principal.Verifier) {
	t.Helper()
	signer, err := principal.NewSigner(keysIssuer, private, "")
	if err != nil {
		t.Fatal(err)
	}
	p := principaltest.Human("orders:read")
	p.Audience, p.Presenter = "orders", "bff"
	p.IssuedAt = time.Now().Unix()
	p.ExpiresAt = p.IssuedAt + 300
	header, err := signer.Sign(p)
	if err != nil {
		t.Fatal(err)
	}
	signed := new(principalv1.SignedPrincipal)
	if err := proto.Unmarshal([]byte(header), signed); err != nil {
		t.Fatal(err)
	}
	set, err := keyset.NewStatic(signer.Key())
	if err != nil {
		t.Fatal(err)
	}
	v, err := principal.NewVerifier("orders", set)
	if err != nil {
		t.Fatal(err)
	}
	return signed, v
}

// verifyWith verifies a header with another signature.
func verifyWith(t testing.TB, v *principal.Verifier, signed *principalv1.SignedPrincipal, signature []byte) principal.Reason {
	t.Helper()
	signed = proto.CloneOf(signed)
	signed.Authority.Signature = signature
	header, err := proto.MarshalOptions{Deterministic: true}.Marshal(signed)
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Verify(t.Context(), string(header))
	return principal.ReasonOf(err)
}

func TestC04P256SignaturesHaveOneSpelling(t *testing.T) {
	t.Parallel()
	signed, v := signedBy(t, p256Key(t))
	good := signed.GetAuthority().GetSignature()
	r, s, n := new(big.Int).SetBytes(good[:32]), new(big.Int).SetBytes(good[32:]), elliptic.P256().Params().N
	half := new(big.Int).Rsh(n, 1)
	add := func(a *big.Int, b int64) *big.Int { return new(big.Int).Add(a, big.NewInt(b)) }
	most := add(new(big.Int).Lsh(big.NewInt(1), 256), -1)
	pair := func(r, s *big.Int) []byte {
		return slices.Concat(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32)))
	}
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		t.Fatal(err)
	}
	zero, one := big.NewInt(0), big.NewInt(1)
	for name, tt := range map[string]struct {
		signature []byte
		want      principal.Reason
	}{
		"as it was signed":      {good, 0},
		"n - s":                 {pair(r, new(big.Int).Sub(n, s)), principal.ReasonMalformed},
		"the highest s allowed": {pair(r, half), principal.ReasonSignature},
		"one above it":          {pair(r, add(half, 1)), principal.ReasonMalformed},
		"s = 0":                 {pair(r, zero), principal.ReasonMalformed},
		"s = 1":                 {pair(r, one), principal.ReasonSignature},
		"s = n - 1":             {pair(r, add(n, -1)), principal.ReasonMalformed},
		"s = n":                 {pair(r, n), principal.ReasonMalformed},
		"s of all bits":         {pair(r, most), principal.ReasonMalformed},
		"r = 0":                 {pair(zero, s), principal.ReasonMalformed},
		"r = 1":                 {pair(one, s), principal.ReasonSignature},
		"r = n - 1":             {pair(add(n, -1), s), principal.ReasonSignature},
		"r = n":                 {pair(n, s), principal.ReasonMalformed},
		"r = n + 1":             {pair(add(n, 1), s), principal.ReasonMalformed},
		"r of all bits":         {pair(most, s), principal.ReasonMalformed},
		"r = s = 0":             {make([]byte, 64), principal.ReasonMalformed},
		"s and r exchanged":     {pair(s, new(big.Int).Rsh(r, 1)), principal.ReasonSignature},
		"DER":                   {der, principal.ReasonMalformed},
		"63 bytes":              {good[:63], principal.ReasonMalformed},
		"65 bytes":              {append(slices.Clone(good), 0), principal.ReasonMalformed},
		"none":                  {nil, principal.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := verifyWith(t, v, signed, tt.signature); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// However the HSM answers, what leaves the signer is the lower s.
func TestC04SignerLowersS(t *testing.T) {
	t.Parallel()
	for range 20 { // half of the raw signatures are high
		signed, v := signedBy(t, p256Key(t))
		if got := verifyWith(t, v, signed, signed.GetAuthority().GetSignature()); got != 0 {
			t.Fatal(got)
		}
	}
}

// The algorithm belongs to the key: a signature of another one does not verify.
func TestC04SignatureOfTheOtherAlgorithm(t *testing.T) {
	t.Parallel()
	edHeader, edVerifier := signedBy(t, ed25519.NewKeyFromSeed(make([]byte, 32)))
	ecHeader, ecVerifier := signedBy(t, p256Key(t))
	if got := verifyWith(t, edVerifier, edHeader, ecHeader.GetAuthority().GetSignature()); got != principal.ReasonSignature {
		t.Error(got)
	}
	got := verifyWith(t, ecVerifier, ecHeader, edHeader.GetAuthority().GetSignature())
	if got != principal.ReasonSignature && got != principal.ReasonMalformed {
		t.Error(got)
	}
}

func TestC04OtherKeysAreRefused(t *testing.T) {
	t.Parallel()
	params := elliptic.P256().Params()
	good := p256Key(t).PublicKey
	point := func(x, y *big.Int) *ecdsa.PublicKey {
		return &ecdsa.PublicKey{Curve: elliptic.P256(), X: x, Y: y} //nolint:staticcheck // a point that no constructor makes
	}
	on := func(curve elliptic.Curve) crypto.PublicKey {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key.Public()
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	one := big.NewInt(1)
	for name, tt := range map[string]struct {
		key  crypto.PublicKey
		want string
	}{
		"P-224":                   {on(elliptic.P224()), "must be on P-256"},
		"no point":                {&ecdsa.PublicKey{Curve: elliptic.P256()}, "bad P-256 key"},
		"P-384":                   {on(elliptic.P384()), "must be on P-256"},
		"P-521":                   {on(elliptic.P521()), "must be on P-256"},
		"a curve like P-256":      {&ecdsa.PublicKey{Curve: params, X: good.X, Y: good.Y}, "must be on P-256"}, //nolint:staticcheck // as above
		"no curve":                {new(ecdsa.PublicKey), "must be on P-256"},
		"a nil ECDSA key":         {(*ecdsa.PublicKey)(nil), "must be on P-256"},
		"infinity":                {point(new(big.Int), new(big.Int)), "bad P-256 key"},
		"not on the curve":        {point(good.X, new(big.Int).Xor(good.Y, one)), "bad P-256 key"}, //nolint:staticcheck // as above
		"x = 1, y = 1":            {point(one, one), "bad P-256 key"},
		"x negative":              {point(new(big.Int).Neg(good.X), good.Y), "bad P-256 key"},           //nolint:staticcheck // as above
		"x + p":                   {point(new(big.Int).Add(good.X, params.P), good.Y), "bad P-256 key"}, //nolint:staticcheck // as above
		"y + p":                   {point(good.X, new(big.Int).Add(good.Y, params.P)), "bad P-256 key"}, //nolint:staticcheck // as above
		"of 300 bits":             {point(new(big.Int).Lsh(one, 300), good.Y), "bad P-256 key"},         //nolint:staticcheck // as above
		"an ECDSA key by value":   {good, "cannot be used"},
		"an ECDSA private key":    {p256Key(t), "cannot be used"},
		"an Ed25519 private key":  {ed25519.NewKeyFromSeed(make([]byte, 32)), "cannot be used"},
		"an Ed25519 key as bytes": {[]byte(ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)), "cannot be used"},
		"a nil Ed25519 key":       {ed25519.PublicKey(nil), "not 32 bytes"},
		"RSA":                     {rsaKey.Public(), "cannot be used"},
		"X25519":                  {x25519.Public(), "cannot be used"},
		"nothing":                 {nil, "cannot be used"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, err := principal.NewPublicKey(tt.key)
			if err == nil || !strings.Contains(err.Error(), tt.want) || key != nil {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func newPublicKey(t testing.TB, key crypto.PublicKey) *principal.PublicKey {
	t.Helper()
	public, err := principal.NewPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return public
}

func TestKeyIDIsTheThumbprint(t *testing.T) {
	t.Parallel()
	// RFC 8037, appendix A.
	ed := unhex(t, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
	if id := newPublicKey(t, ed25519.PublicKey(ed)).ID(); id != "kPrK_qmxVWa" {
		t.Error(id)
	}
	// The key of RFC 7517, appendix A.1; its thumbprint by RFC 7638 is cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s.
	ec, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), unhex(t, "04"+
		"30a0424cd21c2944838a2d75c92b37e76ea20d9f00893a3b4eee8a3c0aafec3e"+
		"e04b65e92456d9888b52b379bdfbd51ee869ef1f0fc65b6659695b6cce081723"))
	if err != nil {
		t.Fatal(err)
	}
	if id := newPublicKey(t, ec).ID(); id != "cn-I_WNMCle" {
		t.Error(id)
	}
}

func TestPublicKeyIsACopy(t *testing.T) {
	t.Parallel()
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	raw := slices.Clone(private.Public().(ed25519.PublicKey))
	public := newPublicKey(t, raw)
	raw[0] ^= 1
	got := public.Crypto().(ed25519.PublicKey)
	if !got.Equal(private.Public()) {
		t.Error("it changes with the key that it was made of")
	}
	got[0] ^= 1
	if !bytes.Equal(public.Crypto().(ed25519.PublicKey), private.Public().(ed25519.PublicKey)) {
		t.Error("it changes with the key that it gave away")
	}
	ec := p256Key(t).PublicKey
	public = newPublicKey(t, &ec)
	ec.X = new(big.Int) //nolint:staticcheck // what the old fields let a caller do
	if !p256Key(t).PublicKey.Equal(public.Crypto()) {
		t.Error("it changes with the P-256 key that it was made of")
	}
}

func TestPublicKeyEqual(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := []crypto.PublicKey{
		ed25519.NewKeyFromSeed(make([]byte, 32)).Public(),
		ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)).Public(),
		p256Key(t).Public(),
		ec.Public(),
	}
	for i := range keys {
		for j := range keys {
			if got := newPublicKey(t, keys[i]).Equal(newPublicKey(t, keys[j])); got != (i == j) {
				t.Errorf("key %d equals key %d: %t", i, j, got)
			}
		}
	}
}

func TestKeyCheck(t *testing.T) {
	t.Parallel()
	public := newPublicKey(t, p256Key(t).Public())
	for name, tt := range map[string]struct {
		ref    principal.KeyRef
		public *principal.PublicKey
		want   string
	}{
		"an authority key":     {principal.KeyRef{Role: principal.RoleAuthority, Owner: keysIssuer, ID: "aZ09_-"}, public, ""},
		"a link key":           {principal.KeyRef{Role: principal.RoleLink, Owner: "orders", ID: "k"}, public, ""},
		"no public key":        {principal.KeyRef{Role: principal.RoleLink, Owner: "orders", ID: "k"}, nil, "without a public key"},
		"C02 no role":          {principal.KeyRef{Owner: "orders", ID: "k"}, public, "without a role"},
		"C02 another role":     {principal.KeyRef{Role: 3, Owner: "orders", ID: "k"}, public, "without a role"},
		"no owner":             {principal.KeyRef{Role: principal.RoleAuthority, ID: "k"}, public, "without an owner"},
		"a trust domain links": {principal.KeyRef{Role: principal.RoleLink, Owner: "mesh:prod", ID: "k"}, public, "not a service name"},
		"C01 no id":            {principal.KeyRef{Role: principal.RoleLink, Owner: "orders"}, public, "the id is not"},
		"C01 a NUL in the id":  {principal.KeyRef{Role: principal.RoleLink, Owner: "orders", ID: "k\x00"}, public, "the id is not"},
		"C01 an id of 33":      {principal.KeyRef{Role: principal.RoleLink, Owner: "orders", ID: strings.Repeat("k", 33)}, public, "the id is not"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := (&principal.Key{KeyRef: tt.ref, Public: tt.public}).Check()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// A key verifies within its window and 30 s around it.
func TestKeyWindow(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_767_225_600, 0)
	after := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	var none time.Time
	for name, tt := range map[string]struct {
		notBefore, notAfter time.Time
		want                principal.Reason
	}{
		"unbounded":              {none, none, 0},
		"open":                   {after(-60), after(60), 0},
		"opens within the skew":  {after(30), none, 0},
		"opens later":            {after(31), none, principal.ReasonUnknownKey},
		"closed within the skew": {none, after(-29), 0},
		"closed before":          {none, after(-30), principal.ReasonUnknownKey},
		"for ever closed":        {none, time.Unix(1, 0), principal.ReasonUnknownKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			signer, err := principal.NewSigner(keysIssuer, p256Key(t), "")
			if err != nil {
				t.Fatal(err)
			}
			key := signer.Key()
			key.NotBefore, key.NotAfter = tt.notBefore, tt.notAfter
			set, err := keyset.NewStatic(key)
			if err != nil {
				t.Fatal(err)
			}
			v, err := principal.NewVerifier("orders", set, principal.WithClock(func() time.Time { return now }))
			if err != nil {
				t.Fatal(err)
			}
			p := principaltest.Human()
			p.Audience, p.Presenter, p.IssuedAt, p.ExpiresAt = "orders", "bff", now.Unix(), now.Unix()+60
			header, err := signer.Sign(p)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time perhaps from the cache
				if _, err := v.Verify(t.Context(), header); principal.ReasonOf(err) != tt.want {
					t.Errorf("%v, want %v", err, tt.want)
				}
			}
		})
	}
}

func TestKeyRoleString(t *testing.T) {
	t.Parallel()
	for role, want := range map[principal.KeyRole]string{0: "none", principal.RoleAuthority: "authority", principal.RoleLink: "link", 3: "none"} {
		if got := role.String(); got != want {
			t.Errorf("%d: %s", role, got)
		}
	}
}
