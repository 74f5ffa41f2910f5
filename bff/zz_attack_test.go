package bff_test

import (
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
)

// An edge that cannot record issues nothing to services either, unless it is told
// to go on.
func TestAuditFailsForServices(t *testing.T) {
	t.Parallel()
	for action, refused := range map[string]bool{"refuse": true, "serve": false} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			e := start(t, setup{config: strings.Replace(template, "{file: audit.jsonl}", "{file: /dev/full, on_failure: "+action+"}", 1)})
			billing := e.join("billing") // leaves records that cannot be written
			_, err := billing.AsService(t.Context())
			if got := connect.CodeOf(err) == connect.CodeUnavailable; got != refused || err != nil != refused {
				t.Error(err)
			}
		})
	}
}
