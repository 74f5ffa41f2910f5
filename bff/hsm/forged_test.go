package hsm_test

import (
	"crypto/ecdsa"
	"encoding/asn1"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/pkcs11"
)

// prime256v1, as DER.
var p256OID = []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}

func point(t testing.TB, key *ecdsa.PublicKey) []byte {
	t.Helper()
	raw, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (r *raw) create(t testing.TB, class uint, id string, more ...*pkcs11.Attribute) {
	t.Helper()
	template := append([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, class),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_EC),
		pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, p256OID),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, "onbehalf-authority"),
		pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)),
	}, more...)
	if _, err := r.CreateObject(r.session, template); err != nil {
		t.Fatal(err)
	}
}

// G08: somebody without the PIN deletes the public half of a key, and perhaps
// places one of his own. If the edge published that, he would be the issuer.
func TestG08PublicHalfIsDeletedOrExchanged(t *testing.T) {
	t.Parallel()
	for name, place := range map[string]bool{"deleted": false, "exchanged": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tk := newToken(t)
			v := tk.open(t)
			id, key := create(t, v)
			kept, _ := create(t, v)
			r := tk.raw(t)
			if err := r.DestroyObject(r.session, r.find(t, pkcs11.CKO_PUBLIC_KEY, id)[0]); err != nil {
				t.Fatal(err)
			}
			his := softwareKey(t)
			hisID := idOf(t, his)
			if place {
				r.create(t, pkcs11.CKO_PUBLIC_KEY, id, pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, point(t, &his.PublicKey)),
					pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false))
				for call, err := range map[string]error{
					"Open":   second(v.Open(t.Context(), hisID)),
					"Delete": v.Delete(t.Context(), hisID),
				} {
					if err == nil || !strings.Contains(err.Error(), "halves do not belong together") {
						t.Errorf("%s of his: %v", call, err)
					}
				}
			}
			for call, err := range map[string]error{
				"Open":   second(v.Open(t.Context(), id)),
				"Delete": v.Delete(t.Context(), id),
			} {
				if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "damaged") {
					t.Errorf("%s: %v", call, err)
				}
			}
			if len(r.find(t, pkcs11.CKO_PRIVATE_KEY, id)) != 1 {
				t.Error("the private half was deleted")
			}
			mustSign(t, key) // as it was opened before, and its public half is known
			if _, err := v.Open(t.Context(), kept); err != nil {
				t.Error(err)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

// A key that was brought from outside, or can be taken there, may be known to
// others.
func TestKeyThatCanBeReadIsRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ sensitive, extractable bool }{
		"readable":    {false, true},
		"plain":       {false, false},
		"extractable": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tk := newToken(t)
			v := tk.open(t)
			r := tk.raw(t)
			key := softwareKey(t)
			id := idOf(t, key)
			scalar, err := key.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			r.create(t, pkcs11.CKO_PUBLIC_KEY, id, pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, point(t, &key.PublicKey)))
			r.create(t, pkcs11.CKO_PRIVATE_KEY, id, pkcs11.NewAttribute(pkcs11.CKA_VALUE, scalar), pkcs11.NewAttribute(pkcs11.CKA_SIGN, true),
				pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, tt.sensitive), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, tt.extractable))
			opened, err := v.Open(t.Context(), id)
			if opened != nil || err == nil || !strings.Contains(err.Error(), "could be read out of the token") {
				t.Error(err)
			}
		})
	}
}

// Keys of other programs in the same token are left alone.
func TestOtherKeysInTheToken(t *testing.T) {
	t.Parallel()
	tk := newToken(t)
	v := tk.open(t)
	id, _ := create(t, v)
	r := tk.raw(t)
	generate := func(mechanism uint, public ...*pkcs11.Attribute) {
		public = append(public, pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true))
		private := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte("x")),
			pkcs11.NewAttribute(pkcs11.CKA_LABEL, "tls")}
		if _, _, err := r.GenerateKeyPair(r.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, append(public, private[1:]...), private); err != nil {
			t.Fatal(err)
		}
	}
	generate(pkcs11.CKM_EC_KEY_PAIR_GEN, pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, p256OID))
	generate(pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, 2048),
		pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}))
	if diff := cmp.Diff([]string{id}, list(t, v)); diff != "" {
		t.Error(diff)
	}
	if err := v.Delete(t.Context(), "x"); err != nil {
		t.Error(err)
	}
	if n := len(r.find(t, pkcs11.CKO_PRIVATE_KEY, "x")); n != 2 {
		t.Errorf("%d of 2 keys of others are left", n)
	}
}
