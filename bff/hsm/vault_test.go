package hsm_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/pkcs11"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"

	"github.com/onbehalf-dev/onbehalf/bff/hsm"
)

const issuer = "https://edge.test"

func create(t testing.TB, v *hsm.Vault) (string, crypto.Signer) {
	t.Helper()
	id, key, err := v.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id, key
}

func list(t testing.TB, v *hsm.Vault) []string {
	t.Helper()
	ids, err := v.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func idOf(t testing.TB, key crypto.Signer) string {
	t.Helper()
	public, err := principal.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return public.ID()
}

// sign makes a signature and checks it.
func sign(key crypto.Signer) error {
	digest := sha256.Sum256([]byte("message"))
	signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return err
	}
	public, ok := key.Public().(*ecdsa.PublicKey)
	if !ok || !ecdsa.VerifyASN1(public, digest[:], signature) {
		return errors.New("the signature does not verify")
	}
	return nil
}

func mustSign(t testing.TB, key crypto.Signer) {
	t.Helper()
	if err := sign(key); err != nil {
		t.Fatal(err)
	}
}

func TestCreateOpenListDelete(t *testing.T) {
	t.Parallel()
	v := newToken(t).open(t)
	if ids := list(t, v); len(ids) > 0 {
		t.Errorf("a new token holds %v", ids)
	}
	keys := map[string]crypto.Signer{}
	var want []string
	for range 3 {
		id, key := create(t, v)
		if id != idOf(t, key) {
			t.Errorf("the id is %q, the key's %q", id, idOf(t, key))
		}
		mustSign(t, key)
		keys[id], want = key, append(want, id)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, list(t, v)); diff != "" {
		t.Error(diff)
	}
	for id, made := range keys {
		key, err := v.Open(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		mustSign(t, key)
		if idOf(t, key) != idOf(t, made) {
			t.Errorf("another key is %q", id)
		}
	}
	gone, kept := want[0], want[1:]
	for range 2 { // the second time there is none
		if err := v.Delete(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(kept, list(t, v)); diff != "" {
		t.Error(diff)
	}
	for _, id := range []string{gone, "", "never-made-"} {
		if key, err := v.Open(t.Context(), id); !errors.Is(err, fs.ErrNotExist) || key != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	if err := sign(keys[gone]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key that was deleted: %v", err)
	}
	mustSign(t, keys[kept[0]])
}

func TestEndedContext(t *testing.T) {
	t.Parallel()
	v := newToken(t).open(t)
	id, _ := create(t, v)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, created := v.Create(ctx)
	_, opened := v.Open(ctx, id)
	_, listed := v.List(ctx)
	for _, err := range []error{created, opened, listed, v.Delete(ctx, id)} {
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{id}, list(t, v)); diff != "" {
		t.Error(diff)
	}
}

// C04: whatever the token answers, principals carry the lower s, and verify.
func TestSignsPrincipals(t *testing.T) {
	t.Parallel()
	id, key := create(t, newToken(t).open(t))
	signer, err := principal.NewSigner(issuer, key, "")
	if err != nil {
		t.Fatal(err)
	}
	if signer.Key().ID != id {
		t.Errorf("it signs as %q, not %q", signer.Key().ID, id)
	}
	set, err := keyset.NewStatic(signer.Key())
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := principal.NewVerifier("orders", set)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 { // half of the raw signatures are high
		p := principaltest.Human("orders:read")
		p.Audience, p.Presenter, p.IssuedAt = "orders", "bff", time.Now().Unix()
		p.ExpiresAt = p.IssuedAt + 60
		header, err := signer.Sign(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verifier.Verify(t.Context(), header); err != nil {
			t.Fatal(err)
		}
		i := strings.Index(header, id) + len(id) + 8 // in the signature
		forged := []byte(header)
		forged[i] ^= 1
		if _, err := verifier.Verify(t.Context(), string(forged)); err == nil {
			t.Fatal("a changed signature verifies")
		}
	}
}

func TestOnlySHA256IsSigned(t *testing.T) {
	t.Parallel()
	_, key := create(t, newToken(t).open(t))
	for name, tt := range map[string]struct {
		digest []byte
		opts   crypto.SignerOpts
	}{
		"no options":   {make([]byte, 32), nil},
		"no hash":      {make([]byte, 32), crypto.Hash(0)},
		"SHA-512":      {make([]byte, 64), crypto.SHA512},
		"SHA-512/256":  {make([]byte, 32), crypto.SHA512_256},
		"31 bytes":     {make([]byte, 31), crypto.SHA256},
		"33 bytes":     {make([]byte, 33), crypto.SHA256},
		"nothing":      {nil, crypto.SHA256},
		"a megabyte":   {make([]byte, 1<<20), crypto.SHA256},
		"wrong length": {make([]byte, 20), crypto.SHA1},
	} {
		if signature, err := key.Sign(rand.Reader, tt.digest, tt.opts); err == nil || signature != nil {
			t.Errorf("%s: signed", name)
		}
	}
	mustSign(t, key)
}

func TestRestart(t *testing.T) {
	t.Parallel()
	tk := newToken(t)
	v := tk.open(t)
	id, old := create(t, v)
	for range 2 {
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, _, created := v.Create(t.Context())
	_, opened := v.Open(t.Context(), id)
	_, listed := v.List(t.Context())
	for _, err := range []error{sign(old), created, opened, listed, v.Delete(t.Context(), id)} {
		if err == nil || !strings.Contains(err.Error(), "closed") || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Close: %v", err)
		}
	}
	again := tk.open(t)
	if diff := cmp.Diff([]string{id}, list(t, again)); diff != "" {
		t.Error(diff)
	}
	key, err := again.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	mustSign(t, key)
}

func TestTwoVaultsOnOneToken(t *testing.T) {
	t.Parallel()
	tk := newToken(t)
	a, b := tk.open(t), tk.open(t)
	id, key := create(t, a)
	other, err := b.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	mustSign(t, other)
	if err := a.Close(); err != nil { // the login is the process's, not the vault's
		t.Fatal(err)
	}
	if sign(key) == nil {
		t.Error("a key of a closed vault signs")
	}
	mustSign(t, other)
	create(t, b)
	if ids := list(t, b); len(ids) != 2 {
		t.Error(ids)
	}
	if err := b.Delete(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := sign(other); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Replicas of an edge are processes of their own.
func TestTwoProcessesOnOneToken(t *testing.T) {
	t.Parallel()
	tk := newToken(t)
	v := tk.open(t)
	id, key := create(t, v)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childToken+"="+tk.label)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen, made, _ := strings.Cut(string(out), " ")
	if seen != id {
		t.Errorf("the other process saw %q, not %q", seen, id)
	}
	if ids := list(t, v); !slices.Contains(ids, id) || !slices.Contains(ids, made) || len(ids) != 2 {
		t.Errorf("%q and %q, but %q", id, made, ids)
	}
	theirs, err := v.Open(t.Context(), made)
	if err != nil {
		t.Fatal(err)
	}
	mustSign(t, theirs)
	mustSign(t, key)
}

// child signs with the one key there is, makes another, and prints both ids.
func child(label string) {
	v, err := hsm.Open(hsm.Config{Module: module, TokenLabel: label, PIN: pin})
	if err != nil {
		panic(err)
	}
	defer v.Close()
	ctx := context.Background()
	ids, err := v.List(ctx)
	if err != nil || len(ids) != 1 {
		panic(err)
	}
	key, err := v.Open(ctx, ids[0])
	if err == nil {
		err = sign(key)
	}
	if err != nil {
		panic(err)
	}
	made, _, err := v.Create(ctx)
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString(ids[0] + " " + made)
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	v := newToken(t).open(t)
	id, key := create(t, v)
	var group sync.WaitGroup
	for range 24 { // more than there are sessions
		group.Go(func() {
			for range 20 {
				if err := sign(key); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 4 {
		group.Go(func() {
			for range 5 {
				other, made, err := v.Create(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if err := sign(made); err != nil {
					t.Error(err)
				}
				if _, err := v.Open(t.Context(), id); err != nil {
					t.Error(err)
				}
				if ids, err := v.List(t.Context()); err != nil || !slices.Contains(ids, other) {
					t.Error(ids, err)
				}
				if err := v.Delete(t.Context(), other); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if diff := cmp.Diff([]string{id}, list(t, v)); diff != "" {
		t.Error(diff)
	}
}

// The key's names are what the HSM's own tools show, and it cannot leave.
func TestKeyInToken(t *testing.T) {
	t.Parallel()
	tk := newToken(t)
	id, _ := create(t, tk.open(t))
	r := tk.raw(t)
	for _, class := range []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY} {
		objects := r.find(t, class, id)
		if len(objects) != 1 {
			t.Fatalf("%d objects of class %d", len(objects), class)
		}
		got, err := r.GetAttributeValue(r.session, objects[0], []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, nil)})
		if err != nil || string(got[0].Value) != "onbehalf-authority" {
			t.Errorf("%v %v", got, err)
		}
	}
	private := r.find(t, pkcs11.CKO_PRIVATE_KEY, id)[0]
	for attribute, want := range map[uint]byte{
		pkcs11.CKA_TOKEN: 1, pkcs11.CKA_PRIVATE: 1, pkcs11.CKA_SENSITIVE: 1, pkcs11.CKA_EXTRACTABLE: 0, pkcs11.CKA_SIGN: 1,
		pkcs11.CKA_DERIVE: 0, pkcs11.CKA_LOCAL: 1, pkcs11.CKA_ALWAYS_SENSITIVE: 1, pkcs11.CKA_NEVER_EXTRACTABLE: 1,
	} {
		got, err := r.GetAttributeValue(r.session, private, []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, nil)})
		if err != nil || len(got[0].Value) != 1 || got[0].Value[0] != want {
			t.Errorf("attribute %#x: %v %v, want %d", attribute, got, err, want)
		}
	}
	if _, err := r.GetAttributeValue(r.session, private, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)}); err == nil {
		t.Error("the private key can be read")
	}
	for attribute, value := range map[uint]bool{pkcs11.CKA_EXTRACTABLE: true, pkcs11.CKA_SENSITIVE: false} {
		if err := r.SetAttributeValue(r.session, private, []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, value)}); err == nil {
			t.Errorf("attribute %#x can be changed", attribute)
		}
	}
}

func softwareKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
