package contract_test

import (
	"crypto/tls"
	"net/http"
	"testing"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// observed is what comes to a method that is observed only, why it would be
// refused, and whether its handler sees a principal all the same.
type observed struct {
	name   string
	values []string
	reason principal.Reason
	seen   bool
}

func observedCalls() []observed {
	expired := func(p *principalv1.Principal) { p.IssuedAt, p.ExpiresAt = p.GetIssuedAt()-600, p.GetIssuedAt()-300 }
	forged := chain{}.with(x, canonical(alice("s2"))).header("A")
	spoilt := []byte(relayed())
	spoilt[len(spoilt)-1] ^= 1
	return []observed{
		{"no header", nil, principal.ReasonMissing, false},
		{"not in the format", []string{text("\x00garbage")}, principal.ReasonMalformed, false},
		{"twice", []string{text(relayed()), text(relayed())}, principal.ReasonMultiple, false},
		{"for another service", []string{text(authority(alice("s3")).header("A"))}, principal.ReasonAudience, false},
		{"expired", []string{text(relayed(expired))}, principal.ReasonTime, false},
		{"of an unknown key", []string{text(forged)}, principal.ReasonUnknownKey, false},
		{"another signature", []string{text(string(spoilt))}, principal.ReasonSignature, false},
		{"without a right", []string{text(relayed())}, principal.ReasonScope, true},
	}
}

// While a method is only observed, whether it is named itself or its service,
// what would be refused gets through, and without a principal that did not
// verify. Without the name the same calls are refused for the same reason.
func TestObserveOnly(t *testing.T) {
	t.Parallel()
	methods := make([]string, 0, 2*len(shapes))
	patterns := []string{serviceName} // net/http knows no services
	for _, sh := range shapes {
		methods = append(methods, sh.procedure(), sh.pattern())
		patterns = append(patterns, sh.pattern())
	}
	for name, names := range map[string][]string{"service": patterns, "methods": methods, "enforced": nil} {
		for _, s := range stacks {
			t.Run(name+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				events := new(record)
				g := guardOf(t, verifierOf(t, "s2", newKeySet()), rules(&principalv1.AccessRule{AllScopes: []string{"orders:delete"}}),
					principal.WithObserver(events), principal.ObserveOnly(names...))
				srv := s.start(t, g, new(app), nil)
				for _, p := range s.protocols {
					client := newPeer(t, srv, p, nil)
					for _, sh := range shapes {
						for _, c := range observedCalls() {
							observe(t, srv, client, sh, c, events, names != nil)
						}
					}
				}
			})
		}
	}
}

func observe(t *testing.T, srv *server, client *peer, sh shape, c observed, events *record, through bool) {
	t.Helper()
	_, o, err := client.call(t.Context(), sh, http.Header{"X-Principal-Bin": c.values})
	contexts, _, _ := srv.app.take()
	want := principal.Refused
	if through {
		want = principal.WouldRefuse
	}
	if (o == outcome{}) != through || err != nil || (len(contexts) == 1) != through {
		t.Fatalf("%s %s: %+v, %d handlers, %v", sh, c.name, o, len(contexts), err)
	}
	if through {
		if _, ok := principal.FromContext(contexts[0]); ok != c.seen {
			t.Errorf("%s %s: the handler saw a principal: %v", sh, c.name, ok)
		}
	}
	if got := events.take(); len(got) != 1 || got[0].Decision != want || got[0].Reason != c.reason || (got[0].Principal != nil) != c.seen {
		t.Errorf("%s %s: %+v", sh, c.name, got)
	}
}

// Where a call came from that shows no principal is told, as far as it is known
// and nothing that may be a secret. Of others it is not.
func TestOrigin(t *testing.T) {
	t.Parallel()
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			events := new(record)
			g := guardOf(t, verifierOf(t, "s2", newKeySet()), rules(anyKind()), principal.WithObserver(events))
			for _, config := range []*tls.Config{nil, serverTLS(t)} {
				srv, id := s.startTCP(t, g, new(app)), ""
				if config != nil {
					srv, id = s.start(t, g, new(app), config), spiffe("s1")[0]
				}
				for _, p := range s.protocols {
					var client *peer
					if config == nil {
						client = newPeer(t, srv, p, nil)
					} else {
						client = newPeer(t, srv, p, clientTLS(t, id))
					}
					origin(t, srv, client, "grpc-go/1.82.1 "+canary, "grpc-go/1.82.1", id, events)
					origin(t, srv, client, canary, "", id, events)
					header := http.Header{"X-Principal-Bin": {text(relayed())}}
					if _, o, err := client.call(t.Context(), unary, header); o != (outcome{}) || err != nil {
						t.Fatal(o, err)
					}
					if e := events.take()[0]; e.Address != "" || e.UserAgent != "" || e.Certificate != "" {
						t.Errorf("%s: told of a call that was allowed: %+v", p, e)
					}
				}
			}
		})
	}
}

func origin(t *testing.T, srv *server, client *peer, agent, want, id string, events *record) {
	t.Helper()
	if _, o, err := client.call(t.Context(), unary, http.Header{"User-Agent": {agent}}); o == (outcome{}) || err != nil {
		t.Fatal(o, err)
	}
	address := ""
	if srv.address != "" {
		address = "127.0.0.1"
	}
	if e := events.take()[0]; e.Address != address || e.UserAgent != want || e.Certificate != id {
		t.Errorf("%s: address %q, user agent %q, certificate %q", client.protocol, e.Address, e.UserAgent, e.Certificate)
	}
}
