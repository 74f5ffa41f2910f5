package skew_test

import "testing"

// U01: an edge and services of both versions, in all pairs, and with a second
// service behind the first: the same decisions for the same reasons.
func TestU01Pairs(t *testing.T) {
	t.Parallel()
	old, now := versions(t)
	for _, edge := range []version{old, now} {
		t.Run("edge="+edge.name, func(t *testing.T) {
			t.Parallel()
			p := newPlatform(t, "front-old", "front-new", "orders-old", "orders-new")
			p.runEdge(edge)
			for _, v := range []version{old, now} {
				p.runService("orders-"+v.name, v)
				p.runService("front-"+v.name, v)
			}
			for _, front := range []string{"front-old", "front-new"} {
				for _, orders := range []string{"orders-old", "orders-new"} {
					t.Run(front+"/"+orders, func(t *testing.T) {
						same(t, p, p.services[front], p.services[orders])
						revocations(t, p, p.services[front], p.services[orders])
					})
				}
			}
			rotation(t, p, func() {
				for _, front := range []string{"front-old", "front-new"} {
					for _, orders := range []string{"orders-old", "orders-new"} {
						if got := p.ask(front, "/call?next=http://"+p.services[orders].http+"/who", p.provider.token(t, nil)); got.String() != allowed {
							t.Errorf("%s, %s: %s", front, orders, got)
						}
					}
				}
			})
		})
	}
}
