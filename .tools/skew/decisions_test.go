package skew_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
)

// allowed is the answer of an instance of orders to an instance of front.
const allowed = "200 200  human[orders:read orders:write] by bff>front"

// same is what the edge, the service front and the service orders decide, in
// whichever versions they are.
func same(t *testing.T, p *platform, front, orders *service) {
	t.Helper()
	f := newForger(p)
	human, agent := p.provider.token(t, nil), p.provider.token(t, map[string]any{"act": map[string]any{"sub": "helper"}})
	who, write := "?next=http://"+orders.http+"/who", "?next=http://"+orders.http+"/write"
	token := func(claim string, value any) string { return p.provider.token(t, map[string]any{claim: value}) }
	chain := f.link(f.sign("gateway", nil), "orders", nil)
	other := f.link(f.sign("gateway", nil), "orders", nil)
	spliced, shortened := f.parse(chain), f.parse(chain)
	spliced.Links = f.parse(other).GetLinks()
	shortened.Links = nil
	damaged := []byte(chain)
	damaged[len(damaged)/3] ^= 1
	for _, c := range []struct {
		name string
		got  answer
		want string
	}{
		// D01, E07: who is let in, in both modes and over two transports.
		{"a human", p.ask(front.name, "/call"+who, human), allowed},
		{"an agent", p.ask(front.name, "/call"+who, agent), "200 200  agent[orders:read] by bff>front"},
		{"nobody", p.ask("maybe-"+front.name, "/open", ""), "200 anonymous"},
		{"relayed", p.ask("relay-"+front.name, "/call"+who, human), "200 200  human[orders:read orders:write] by"},
		{"over gRPC", p.ask(front.name, "/rpc?next="+orders.grpc, human), "200 OK"},

		// Who is not.
		{"no credential", p.ask(front.name, "/who", ""), `401 missing {"code":"unauthenticated","message":"a valid credential is required"}`},
		{"a token for others", p.ask(front.name, "/who", token("aud", "other")), `401 credential,audience {"code":"unauthenticated","message":"a valid credential is required"}`},
		{"an old token", p.ask(front.name, "/who", token("exp", time.Now().Add(-time.Minute).Unix())), `401 credential,time {"code":"unauthenticated","message":"a valid credential is required"}`},
		{"an unknown agent", p.ask(front.name, "/who", token("act", map[string]any{"sub": "else"})), `401 credential,actor {"code":"unauthenticated","message":"a valid credential is required"}`},
		{"nobody, where somebody must be", p.ask("maybe-"+front.name, "/who", ""), "401 missing unauthenticated"},
		{"an agent, where a human must be", p.ask(front.name, "/human", agent), "403 kind permission denied"},
		{"without the scope", p.ask(front.name, "/write", token("scope", "orders:read")), "403 scope permission denied"},
		{"narrowed on the way", p.ask(front.name, "/narrow"+write, human), "200 403 scope permission denied"},
		{"no rule", p.ask(front.name, "/nothing", human), "404 404 page not found"},

		// Past the edge, with the keys of the platform.
		{"as it may be", p.present(orders, "/who", chain), "200 human[orders:read] by bff>gateway"},
		{"D14 for another audience", p.present(orders, "/who", f.sign("front", nil)), "401 audience unauthenticated"},
		{"expired", p.present(orders, "/who", f.sign("orders", func(p *principalv1.Principal) { p.IssuedAt, p.ExpiresAt = p.IssuedAt-600, p.IssuedAt-300 })), "401 time unauthenticated"},
		{"of the future", p.present(orders, "/who", f.sign("orders", func(p *principalv1.Principal) { p.IssuedAt, p.ExpiresAt = p.IssuedAt+600, p.ExpiresAt+600 })), "401 time unauthenticated"},
		{"E01 widened", p.present(orders, "/who", f.link(f.sign("gateway", nil), "orders", func(l *principalv1.Link) {
			l.Scopes = &principalv1.ScopeSet{Values: []string{"orders:read", "orders:write"}}
		})), "401 widen unauthenticated"},
		{"D06 spliced", p.present(orders, "/who", f.write(spliced)), "401 opening unauthenticated"},
		{"D02 shortened, for its audience no more", p.present(orders, "/who", f.write(shortened)), "401 audience unauthenticated"},
		{"D12 a link for others, signed by the gateway", p.present(orders, "/who", f.link(f.sign("front", nil), "orders", nil)), "401 unknown_key unauthenticated"},
		{"damaged", p.present(orders, "/who", string(damaged)), "401 signature unauthenticated"},
		{"malformed", p.present(orders, "/who", "malformed"), "401 malformed unauthenticated"},
		{"two", p.present(orders, "/who", chain, chain), "401 multiple unauthenticated"},

		// A later version of the format is refused, and nothing falls over it. What is around the blocks never has unknown fields.
		{"a later envelope", p.present(orders, "/who", f.ofNext("orders", false)), "401 malformed unauthenticated"},
		{"a later principal", p.present(orders, "/who", f.ofNext("orders", true)), "401 unsupported unauthenticated"},
		{"and after them", p.ask(front.name, "/call"+who, human), allowed},
	} {
		if diff := cmp.Diff(c.want, c.got.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
