package principal_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/hex"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/principal"

	"github.com/google/go-cmp/cmp"
)

// keyVectors returns the columns of a file in testdata/keys.
func keyVectors(t *testing.T, name string) [][]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "keys", name))
	if err != nil {
		t.Fatal(err)
	}
	var vectors [][]string
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, "#") {
			vectors = append(vectors, strings.Fields(line))
		}
	}
	return vectors
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "-"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// verdict is what this library says of a signature.
func verdict(key crypto.PublicKey, message, signature []byte) string {
	public, err := principal.NewPublicKey(key)
	if err != nil {
		return "key"
	}
	switch r := principal.VerifyForTest(public, message, signature); r {
	case 0:
		return "valid"
	case principal.ReasonSignature:
		return "invalid"
	default:
		return r.String()
	}
}

func TestC04WycheproofEd25519(t *testing.T) {
	t.Parallel()
	count := map[string]int{}
	for _, v := range keyVectors(t, "wycheproof_ed25519.txt") {
		want, id, key, signature, message := v[0], v[1], unhex(t, v[2]), unhex(t, v[3]), unhex(t, v[4])
		if got := verdict(ed25519.PublicKey(key), message, signature); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
		count[want]++
	}
	if diff := cmp.Diff(map[string]int{"valid": 88, "invalid": 63}, count); diff != "" {
		t.Error(diff)
	}
}

// crypto/ed25519 as it is now, without the public keys of low order.
func TestC04CCTV(t *testing.T) {
	t.Parallel()
	count := map[string]int{}
	for i, v := range keyVectors(t, "cctv_ed25519.txt") {
		want, wantGo, key, signature, message := v[0], v[1], unhex(t, v[2]), unhex(t, v[3]), unhex(t, v[4])
		if got := ed25519.Verify(key, message, signature); got != (wantGo == "valid") {
			t.Errorf("%d: crypto/ed25519 says %t, want %s", i, got, wantGo)
		}
		if got := verdict(ed25519.PublicKey(key), message, signature); got != want {
			t.Errorf("%d: %s, want %s", i, got, want)
		}
		count[want+" of "+wantGo]++
	}
	if diff := cmp.Diff(map[string]int{"valid of valid": 86, "invalid of invalid": 214, "key of valid": 112, "key of invalid": 356}, count); diff != "" {
		t.Error(diff)
	}
}

func TestC04WycheproofP256(t *testing.T) {
	t.Parallel()
	count := map[string]int{}
	for _, v := range keyVectors(t, "wycheproof_p256.txt") {
		want, id, signature, message := v[0], v[1], unhex(t, v[3]), unhex(t, v[4])
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), unhex(t, v[2]))
		if err != nil {
			t.Fatal(err)
		}
		if got := verdict(key, message, signature); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
		count[want]++
	}
	if diff := cmp.Diff(map[string]int{"valid": 103, "invalid": 9, "malformed": 129}, count); diff != "" {
		t.Error(diff)
	}
}

// The points whose order divides 8, in all their encodings.
func TestC04LowOrderKeysAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ key, want string }{
		{"0100000000000000000000000000000000000000000000000000000000000000", "low order"}, // the identity
		{"0100000000000000000000000000000000000000000000000000000000000080", "low order"},
		{"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "low order"}, // of order 2
		{"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "low order"},
		{"0000000000000000000000000000000000000000000000000000000000000000", "low order"}, // of order 4
		{"0000000000000000000000000000000000000000000000000000000000000080", "low order"},
		{"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "low order"}, // of order 8
		{"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85", "low order"},
		{"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "low order"},
		{"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa", "low order"},
		{"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "not canonical"}, // y ≥ p
		{"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "not canonical"},
		{"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "not canonical"},
		{"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "not canonical"},
	} {
		if _, err := principal.NewPublicKey(ed25519.PublicKey(unhex(t, tt.key))); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.key, err, tt.want)
		}
	}
}

func TestC04OtherEd25519KeysAreRefused(t *testing.T) {
	t.Parallel()
	refused := func(key []byte, want string) {
		t.Helper()
		if _, err := principal.NewPublicKey(ed25519.PublicKey(key)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%x: %v, want %q", key, err, want)
		}
	}
	prime := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	for k := range int64(19) { // every y that has two encodings, in the wrong one
		key := new(big.Int).Add(prime, big.NewInt(k)).FillBytes(make([]byte, 32))
		slices.Reverse(key)
		refused(key, "not canonical")
		key[31] |= 0x80
		refused(key, "not canonical")
	}
	refused(append([]byte{2}, make([]byte, 31)...), "not a point")
	for _, length := range []int{0, 1, 31, 33, 64} {
		refused(bytes.Repeat([]byte{1}, length), "not 32 bytes")
	}
}

// A key with a component of low order beside one of prime order is none that a
// signature can be made up for.
func TestC04GoodEd25519KeysAreAccepted(t *testing.T) {
	t.Parallel()
	for i := range 100 {
		private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i)}, 32))
		if got := verdict(private.Public(), []byte("m"), ed25519.Sign(private, []byte("m"))); got != "valid" {
			t.Errorf("key %d: %s", i, got)
		}
	}
	for _, y := range []byte{3, 4, 5, 6, 9, 10} { // the smallest y of points, all of high order
		if _, err := principal.NewPublicKey(ed25519.PublicKey(append([]byte{y}, make([]byte, 31)...))); err != nil {
			t.Errorf("y = %d: %v", y, err)
		}
	}
}

// S and S + L satisfy the same equation; only one of them is a signature.
func TestC04SOutOfRange(t *testing.T) {
	t.Parallel()
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	message := []byte("message")
	signature := ed25519.Sign(private, message)
	if got := verdict(private.Public(), message, signature); got != "valid" {
		t.Fatal(got)
	}
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	le := slices.Clone(signature[32:])
	slices.Reverse(le)
	s := new(big.Int).SetBytes(le)
	tested := 0
	for s.Add(s, order); s.BitLen() <= 256; s.Add(s, order) {
		high := s.FillBytes(make([]byte, 32))
		slices.Reverse(high)
		if got := verdict(private.Public(), message, slices.Concat(signature[:32], high)); got != "invalid" {
			t.Errorf("S + %d L: %s", tested+1, got)
		}
		tested++
	}
	if tested < 14 {
		t.Errorf("%d values tested", tested)
	}
}
