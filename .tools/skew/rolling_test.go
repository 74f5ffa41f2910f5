package skew_test

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// step replaces the program of an instance, or of the edge, by another version.
type step struct {
	what string
	v    version
}

// U01: a platform that is upgraded, from either end, and taken back, on the same
// data directory. Nothing that was revoked is good again, and nobody has to be
// restarted but what is replaced.
func TestU01Rolling(t *testing.T) {
	t.Parallel()
	old, now := versions(t)
	edgeFirst := []step{
		{"edge", now}, {"orders-a", now}, {"front-a", now},
		{"front-a", old}, {"orders-a", old}, {"edge", old},
	}
	servicesFirst := []step{
		{"orders-a", now}, {"front-a", now}, {"edge", now},
		{"edge", old}, {"front-a", old}, {"orders-a", old}, {"edge", now},
	}
	for name, steps := range map[string][]step{"the edge first": edgeFirst, "services first": servicesFirst} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rolled(t, old, steps)
		})
	}
}

func rolled(t *testing.T, first version, steps []step) {
	t.Helper()
	p := newPlatform(t, "front-a", "orders-a")
	p.runEdge(first)
	p.runService("orders-a", first)
	p.runService("front-a", first)
	front, orders := p.services["front-a"], p.services["orders-a"]
	call := "/call?next=http://" + orders.http + "/who"
	lasting := p.provider.token(t, nil)
	var gone []string // tokens of sessions that were revoked, in each version of the edge
	for i, s := range steps {
		token := p.provider.token(t, nil)
		made := p.ask("front-a", "/who", token)
		header := captured(t, p.ask("capture", "/orders", token))
		p.command("revoke", "session", made.header.Get("Skew-Session"), "--reason", s.what)
		gone = append(gone, token)
		if i == 1 {
			p.command("keys", "rotate") // the one that will sign is made by one version and used by the next
		}
		keys, listed := p.published(), p.command("revoke", "list", "--limit", "100")

		if s.what == "edge" {
			p.runEdge(s.v)
			if diff := cmp.Diff(listed, p.command("revoke", "list", "--limit", "100")); diff != "" {
				t.Errorf("%d: the list of what is revoked, before and after the edge is %s:\n%s", i, s.v.name, diff)
			}
			if diff := cmp.Diff(keys, p.published()); diff != "" {
				t.Errorf("%d: the published keys, before and after the edge is %s:\n%s", i, s.v.name, diff)
			}
		} else {
			p.runService(s.what, s.v)
		}

		var got answer
		for end := time.Now().Add(20 * time.Second); got.String() != allowed; got = p.ask("front-a", call, lasting) {
			if time.Now().After(end) {
				t.Fatalf("%d: with %s %s, calls do not pass again: %s", i, s.what, s.v.name, got)
			}
		}
		p.refused("what was revoked before", orders, header, "401 revoked unauthenticated")
		for _, token := range gone {
			if got := p.ask("front-a", "/who", token); got.status != http.StatusUnauthorized {
				t.Errorf("%d: a session that was revoked is good again with %s %s: %s", i, s.what, s.v.name, got)
			}
		}
		revocations(t, p, front, orders)
	}
	files, err := filepath.Glob(filepath.Join(p.dir, "data", "authority-*.pem"))
	if err != nil || len(files) > 2 {
		t.Error("keys were made anew: ", files, err)
	}
}

// published returns the key set that the edge publishes.
func (p *platform) published() string {
	p.t.Helper()
	return p.get("", "http://"+p.mesh+"/.well-known/onbehalf/jwks.json", nil).body
}
