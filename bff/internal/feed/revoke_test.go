package feed_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/internal/feed"
	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

func TestRevoke(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	human := &principalv1.Identity{Issuer: issuer, Id: &principalv1.Identity_HumanName{HumanName: "alice"}}
	var last uint64
	for name, target := range map[string]*trustv1.Target{
		"principal": revocation.Principal(issuer, principal.ID{1}).Proto(),
		"session":   session(1),
		"grant":     revocation.Grant(issuer, principal.ID{1}).Proto(),
		"identity":  {Target: &trustv1.Target_Identity{Identity: human}},
		"service":   revocation.Service("orders").Proto(),
		"key":       revocation.Key(principal.KeyRef{Role: principal.RoleAuthority, Owner: issuer, ID: "k1"}).Proto(),
	} {
		sequence := e.revoke(target)
		parsed, err := revocation.FromProto(target)
		if err != nil || !e.state.Revoked(parsed, time.Time{}) || sequence <= last {
			t.Error(name, sequence, err)
		}
		last = sequence
		if again := e.revoke(target); again <= sequence {
			t.Error(name, "again:", again)
		} else {
			last = again
		}
	}
}

func TestRevokeRefuses(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	key := func(role trustv1.KeyRole, owner, id string) *trustv1.Target {
		return &trustv1.Target{Target: &trustv1.Target_Key{Key: &trustv1.KeyRef{Role: role, Owner: owner, Id: id}}}
	}
	for name, target := range map[string]*trustv1.Target{
		"nothing":           nil,
		"no target":         {},
		"short id":          {Target: &trustv1.Target_Session{Session: &trustv1.IssuedId{Issuer: issuer, Id: []byte("short")}}},
		"no issuer":         {Target: &trustv1.Target_Grant{Grant: &trustv1.IssuedId{Id: make([]byte, 16)}}},
		"long issuer":       {Target: &trustv1.Target_Grant{Grant: &trustv1.IssuedId{Issuer: strings.Repeat("x", 257), Id: make([]byte, 16)}}},
		"identity, no name": {Target: &trustv1.Target_Identity{Identity: &principalv1.Identity{Issuer: issuer}}},
		"no service name":   {Target: &trustv1.Target_Service{Service: "Orders"}},
		"key without role":  key(0, issuer, "k1"),
		"key of no service": key(trustv1.KeyRole_KEY_ROLE_LINK, "Orders", "k1"),
		"key, a newline":    key(trustv1.KeyRole_KEY_ROLE_AUTHORITY, issuer, "k\n1"),
	} {
		before := e.state.Sequence()
		if _, err := e.Revoke(t.Context(), target, ""); !errors.Is(err, feed.ErrInvalid) || e.state.Sequence() != before {
			t.Error(name, err)
		}
	}
	for _, reason := range []string{"a\nb", strings.Repeat("x", 257), "\xff"} {
		if _, err := e.Revoke(t.Context(), session(1), reason); !errors.Is(err, feed.ErrInvalid) {
			t.Error(reason, err)
		}
	}
	e.store.broken.Store(true)
	if _, err := e.Revoke(t.Context(), session(1), ""); !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
}

// R02, R09: an edge that is started again on its data tells who comes back all
// that was revoked, and never a lower sequence. Its sequences go on.
func TestRestart(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	c, id := e.dial(), instance()
	key := e.enrolled(c, "orders")
	f := watch(t.Context(), t, c, &trustv1.WatchRequest{Service: "orders", Instance: id})
	at := f.snapshot().GetSequence()
	seen := e.revoke(session(1))
	if at = f.event(at).GetSequence(); at < seen {
		t.Fatal(at)
	}
	unseen := e.revoke(session(2))
	e.stop()
	for err := error(nil); err == nil; {
		_, err = f.Receive()
	}
	e.start()
	f = watch(t.Context(), t, e.dial(), &trustv1.WatchRequest{Service: "orders", Instance: id, Sequence: at})
	s := f.snapshot()
	found := false
	for _, r := range s.GetRevocations() {
		found = found || r.GetSequence() == unseen
	}
	if !found || s.GetSequence() < unseen || !e.published(key) {
		t.Error(s)
	}
	if next := e.revoke(session(3)); next <= s.GetSequence() {
		t.Error(next, s.GetSequence())
	}
}
