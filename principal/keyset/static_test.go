package keyset_test

import (
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"

	"github.com/google/go-cmp/cmp"
)

func TestStaticFindsByRoleOwnerAndID(t *testing.T) {
	t.Parallel()
	a, b, orders := authority(t, edgeA, "k1"), authority(t, edgeB, "k1"), link(t, "orders", "k1")
	set, err := keyset.NewStatic(a, b, orders)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []principal.Key{a, b, orders} {
		if got := find(t, set, want.KeyRef); got == nil || !cmp.Equal(*got, want, sameKeys) {
			t.Errorf("Find(%v) = %v", want.KeyRef, got)
		}
	}
	for _, ref := range []principal.KeyRef{
		{},
		{Role: principal.RoleAuthority, Owner: edgeA, ID: "k2"},
		{Role: principal.RoleAuthority, Owner: edgeA},
		{Role: principal.RoleAuthority, Owner: "orders", ID: "k1"},
		{Role: principal.RoleLink, Owner: edgeA, ID: "k1"},
		{Owner: "orders", ID: "k1"},
		{Role: principal.RoleLink, Owner: "payments", ID: "k1"},
		{Role: principal.RoleLink, Owner: "orders", ID: "K1"},
	} {
		if got := find(t, set, ref); got != nil {
			t.Errorf("Find(%v) = %v, want nil", ref, got)
		}
	}
	if v := set.Version(); v != set.Version() {
		t.Errorf("the version changed from %d", v)
	}
}

// The set must not be reached through the slice that it was made of.
func TestStaticIsACopy(t *testing.T) {
	t.Parallel()
	keys := []principal.Key{authority(t, edgeA, "k1")}
	want := keys[0]
	set, err := keyset.NewStatic(keys...)
	if err != nil {
		t.Fatal(err)
	}
	keys[0].Public = authority(t, edgeB, "k1").Public
	keys[0].NotAfter = time.Unix(1, 0)
	if diff := cmp.Diff(&want, find(t, set, want.KeyRef), sameKeys); diff != "" {
		t.Error(diff)
	}
}

func TestNewStaticRefuses(t *testing.T) {
	t.Parallel()
	with := func(edit func(*principal.Key)) principal.Key {
		key := link(t, "orders", "k1")
		edit(&key)
		return key
	}
	for name, tt := range map[string]struct {
		keys []principal.Key
		want string
	}{
		"no keys":               {nil, "at least one key"},
		"the zero key":          {[]principal.Key{{}}, "without a public key"},
		"no public key":         {[]principal.Key{with(func(k *principal.Key) { k.Public = nil })}, "without a public key"},
		"no role":               {[]principal.Key{with(func(k *principal.Key) { k.Role = 0 })}, "without a role"},
		"another role":          {[]principal.Key{with(func(k *principal.Key) { k.Role = 3 })}, "without a role"},
		"no owner":              {[]principal.Key{with(func(k *principal.Key) { k.Role, k.Owner = principal.RoleAuthority, "" })}, "without an owner"},
		"not a service":         {[]principal.Key{with(func(k *principal.Key) { k.Owner = "mesh:prod" })}, "not a service name"},
		"C01 no id":             {[]principal.Key{with(func(k *principal.Key) { k.ID = "" })}, "the id is not"},
		"C01 id with a path":    {[]principal.Key{with(func(k *principal.Key) { k.ID = "../../etc/passwd" })}, "the id is not"},
		"C01 id with a NUL":     {[]principal.Key{with(func(k *principal.Key) { k.ID = "k1\x00" })}, "the id is not"},
		"C01 id of 33":          {[]principal.Key{with(func(k *principal.Key) { k.ID = strings.Repeat("k", 33) })}, "the id is not"},
		"one name twice":        {[]principal.Key{link(t, "orders", "k1"), with(func(k *principal.Key) { k.Public = link(t, "orders", "k2").Public })}, `two link keys of "orders" with the id "k1"`},
		"the same record twice": {[]principal.Key{link(t, "orders", "k1"), link(t, "orders", "k1")}, "two link keys"},
		"one key, two ids": {[]principal.Key{link(t, "orders", "k1"), with(func(k *principal.Key) { k.ID = "k2" })},
			`link key "k2" of "orders" is also link key "k1" of "orders"`},
		"one key, two services": {[]principal.Key{link(t, "orders", "k1"), with(func(k *principal.Key) { k.Owner = "payments" })},
			"belongs to one record"},
		"C02 one key, two roles": {[]principal.Key{link(t, "orders", "k1"), with(func(k *principal.Key) { k.Role, k.Owner = principal.RoleAuthority, edgeA })},
			`authority key "k1" of "https://edge-a.test" is also link key "k1" of "orders"`},
		"C02 one P-256 key, two roles": {[]principal.Key{
			record(t, principal.RoleLink, "orders", "k1", ecKey(t, "hsm")),
			record(t, principal.RoleAuthority, edgeA, "k1", ecKey(t, "hsm")),
		}, "belongs to one record"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, err := keyset.NewStatic(tt.keys...)
			if err == nil || !strings.Contains(err.Error(), tt.want) || set != nil {
				t.Errorf("NewStatic = %v, %v; want an error with %q", set, err, tt.want)
			}
		})
	}
}

// C02: a key counts in its role only. C06: and for its owner only.
func TestC02C06VerifierLooksKeysUpByRoleAndOwner(t *testing.T) {
	t.Parallel()
	signerA, err := principal.NewSigner(edgeA, edKey("authority "+edgeA+" k1"), "k1")
	if err != nil {
		t.Fatal(err)
	}
	own, other, service := authority(t, edgeA, "k1"), authority(t, edgeB, "k1"), link(t, "orders", "k1")
	renamed := func(key principal.Key, role principal.KeyRole, owner, id string) principal.Key {
		key.KeyRef = principal.KeyRef{Role: role, Owner: owner, ID: id}
		return key
	}
	for name, tt := range map[string]struct {
		keys []principal.Key
		want principal.Reason
	}{
		"its own key":                         {[]principal.Key{own, other, service}, 0},
		"C01 another key under its id":        {[]principal.Key{renamed(authority(t, edgeA, "x"), principal.RoleAuthority, edgeA, "k1")}, principal.ReasonSignature},
		"C01 under another id":                {[]principal.Key{renamed(own, principal.RoleAuthority, edgeA, "k2")}, principal.ReasonUnknownKey},
		"C02 as the link key of a service":    {[]principal.Key{renamed(own, principal.RoleLink, "orders", "k1")}, principal.ReasonUnknownKey},
		"C06 the key belongs to another edge": {[]principal.Key{renamed(own, principal.RoleAuthority, edgeB, "k1")}, principal.ReasonUnknownKey},
		"C06 both edges, the keys exchanged": {[]principal.Key{
			renamed(own, principal.RoleAuthority, edgeB, "k1"), renamed(other, principal.RoleAuthority, edgeA, "k1"),
		}, principal.ReasonSignature},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, err := keyset.NewStatic(tt.keys...)
			if err != nil {
				t.Fatal(err)
			}
			v, err := principal.NewVerifier("orders", set)
			if err != nil {
				t.Fatal(err)
			}
			p := principaltest.Human("orders:read")
			p.Audience, p.Presenter, p.MaxLinks = "orders", "bff", 1
			p.IssuedAt = time.Now().Unix()
			p.ExpiresAt = p.IssuedAt + 60
			header, err := signerA.Sign(p)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Verify(t.Context(), header); principal.ReasonOf(err) != tt.want {
				t.Errorf("Verify: %v, want %v", err, tt.want)
			}
		})
	}
}
