package contract_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// An observer is told which call it was, whatever the transport.
func TestRecord(t *testing.T) {
	t.Parallel()
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			events := new(record)
			g := guardOf(t, verifierOf(t, "s2", newKeySet(), principal.WithMTLS(trustDomain, nil)), rules(anyKind()), principal.WithObserver(events))
			srv := s.start(t, g, new(app), serverTLS(t))
			for _, p := range s.protocols {
				client := newPeer(t, srv, p, clientTLS(t, spiffe("s1")...))
				for _, sh := range shapes {
					want := principal.Event{
						Decision: principal.Allowed, Service: "s2", Procedure: sh.procedure(), Peer: "s1",
						RequestID: "req_7", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
					}
					if p == plainProtocol {
						want.Procedure = sh.pattern()
					}
					header := http.Header{
						"X-Principal-Bin": {text(via().header("B"))}, "X-Request-Id": {"req_7"},
						"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
					}
					for _, given := range []string{"req_7", `what a "caller": {makes up}`} {
						header.Set("X-Request-Id", given)
						if given != "req_7" {
							want.RequestID = ""
						}
						if _, o, err := client.call(t.Context(), sh, header); o != (outcome{}) || err != nil {
							t.Fatalf("%s %s: %+v, %v", p, sh, o, err)
						}
						got := events.take()
						if diff := cmp.Diff([]principal.Event{want}, got, cmpopts.IgnoreUnexported(principal.Event{}), cmpopts.IgnoreFields(principal.Event{}, "Principal")); diff != "" {
							t.Errorf("%s %s: (-want +got):\n%s", p, sh, diff)
						}
						contexts, _, _ := srv.app.take()
						if id := principal.RequestID(contexts[0]); id != want.RequestID {
							t.Errorf("%s %s: the handler saw the request id %q", p, sh, id)
						}
					}
				}
			}
		})
	}
}
