package contract_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// R05 over real TCP, among other open streams: from what a service learns to
// the end of a stream as its client sees it.
func TestEndOfStreamOverTCP(t *testing.T) { //nolint:paralleltest // it measures time
	const (
		rounds = 200
		others = 200
		bound  = 100 * time.Millisecond
	)
	sessions := 0
	for _, s := range stacks {
		f := newFeed(t)
		v := verifierOf(t, "s2", newKeySet(), principal.WithRevocations(f))
		srv := s.startTCP(t, guardOf(t, v, rules(anyKind())), new(app))
		open := func(client *peer) (*exchange, string) {
			sessions++
			name := fmt.Sprintf("session %08d", sessions)
			session := func(p *principalv1.Principal) { p.SessionId = []byte(name) }
			e, err := client.open(t.Context(), bidi, http.Header{"X-Principal-Bin": {text(authority(alice("s2", sequenced, session)).header("A"))}})
			if err != nil {
				t.Fatal(err)
			}
			if err := e.send("one"); err != nil {
				t.Fatal(err)
			}
			if m, err := e.receive(); m != "one" || err != nil {
				t.Fatal(m, err)
			}
			return e, name
		}
		for _, p := range s.protocols {
			client := newPeer(t, srv, p, nil)
			var idle []*exchange
			for range others {
				e, _ := open(client)
				idle = append(idle, e)
			}
			times := make([]time.Duration, 0, rounds)
			for range rounds {
				e, session := open(client)
				start := time.Now()
				f.revoke(sessionOf(session))
				for {
					if _, err := e.receive(); err != nil {
						break
					}
				}
				times = append(times, time.Since(start))
				if p != plainProtocol && (e.end == nil || e.end.reason != "revoked") {
					t.Fatalf("%s %s: the stream ended with %+v", s.name, p, e.end)
				}
				e.close()
			}
			for _, e := range idle {
				e.close()
			}
			slices.Sort(times)
			p99 := times[rounds*99/100]
			t.Logf("%s %s: revocation to the end of a stream at its client: p50 %v, p99 %v, max %v", s.name, p, times[rounds/2], p99, times[rounds-1])
			if p99 > bound {
				t.Errorf("%s %s: p99 %v, want %v at most", s.name, p, p99, bound)
			}
		}
	}
}
