package audit_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/audit"
)

// What goes on because its route is observed has a record of its own, as all that
// goes on has, and does not count among the refusals.
func TestObservedIsNoFlood(t *testing.T) {
	t.Parallel()
	d := &disk{room: -1}
	l, err := audit.Open("", audit.Options{Stdout: d, Logger: slog.New(slog.DiscardHandler), Refusals: 5})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		l.Write(t.Context(), &audit.Record{Time: time.Unix(1_800_000_000, 0), Decision: audit.WouldRefuse, Reason: audit.ReasonMissing})
	}
	if n := strings.Count(d.written.String(), `"decision":"would_refuse","reason":"missing"`); n != 100 {
		t.Errorf("%d records, want 100", n)
	}
}
