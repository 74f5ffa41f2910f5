package skew_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// cluster runs a NATS server with JetStream, and returns its URL.
func cluster(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return s.ClientURL()
}

// U01: while the replicas of an edge are replaced one after the other, both
// versions are on one store. Services of either trust the keys of both, and what
// is revoked at one is refused everywhere.
func TestU01Replicas(t *testing.T) {
	t.Parallel()
	old, now := versions(t)
	store := fmt.Sprintf("store: {url: %q, replicas: 1}\n", cluster(t))
	replicas := make(map[version]*platform)
	for _, v := range []version{old, now} {
		p := newPlatform(t, "orders-a")
		p.append("onbehalf.yaml", store)
		p.runEdge(v)
		p.runService("orders-a", v)
		replicas[v] = p
	}
	for v, p := range replicas {
		both := func(what, header, want string) {
			t.Helper()
			for at, other := range replicas {
				orders := other.services["orders-a"]
				var got answer
				took := p.until(what, func() bool { got = other.present(orders, "/who", header); return got.String() == want })
				if took > soon {
					t.Errorf("%s, of the %s edge at a service of the %s one: only after %v", what, v.name, at.name, took)
				}
			}
		}
		token := p.provider.token(t, nil)
		made := p.ask("orders-a", "/who", token)
		header := captured(t, p.ask("capture", "/orders", token))
		both("a principal", header, "200 human[orders:read orders:write] by bff")
		p.command("revoke", "session", made.header.Get("Skew-Session"))
		both("a session that was revoked", header, "401 revoked unauthenticated")

		first := keyOf(t, header)
		p.command("keys", "rotate")
		p.until("the next key signs", func() bool {
			header = captured(t, p.ask("capture", "/orders", p.provider.token(t, nil)))
			return keyOf(t, header) != first
		})
		both("a principal of the next key", header, "200 human[orders:read orders:write] by bff")
		p.command("keys", "revoke", "--", keyOf(t, header))
		both("a principal of a key that was revoked", header, "401 unknown_key unauthenticated")
	}
}

// append adds to a file of the platform.
func (p *platform) append(name, text string) {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(name, string(data)+text)
}
