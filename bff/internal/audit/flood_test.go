package audit_test

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/audit"
)

// summary is what is left of records: "reason detail omitted".
func summary(list []map[string]any) []string {
	var s []string
	for _, r := range list {
		omitted, _ := r["omitted"].(float64)
		s = append(s, fmt.Sprintf("%v %v %v", r["reason"], r["detail"], omitted))
	}
	return s
}

func sameLines(t *testing.T, got []map[string]any, want ...string) {
	t.Helper()
	lines := summary(got)
	if fmt.Sprint(lines) != fmt.Sprint(want) {
		t.Errorf("records\n%q, want\n%q", lines, want)
	}
}

// A flood leaves a record a second, and none of its requests is lost count of.
func TestFlood(t *testing.T) {
	t.Parallel()
	d := &disk{room: -1}
	l, _ := newLog(t, d)
	start := time.Unix(1_800_000_000, 0)
	write := func(after time.Duration, reason audit.Reason, detail string) {
		l.Write(t.Context(), &audit.Record{Time: start.Add(after), Decision: audit.Refused, Reason: reason, Detail: detail})
	}
	write(0, audit.ReasonOverload, "a")
	for range 1000 {
		write(500*time.Millisecond, audit.ReasonOverload, "b")
	}
	write(600*time.Millisecond, audit.ReasonLimited, "c") // another reason
	write(700*time.Millisecond, audit.ReasonMissing, "d") // is no flood
	write(700*time.Millisecond, audit.ReasonMissing, "e")
	write(time.Second, audit.ReasonOverload, "f")
	write(1100*time.Millisecond, audit.ReasonOverload, "g")
	write(1200*time.Millisecond, audit.ReasonOverload, "h")
	write(time.Hour, "", "i") // also tells what has been kept back
	write(time.Hour, audit.ReasonOverload, "j")
	write(time.Hour-time.Minute, audit.ReasonOverload, "k") // the clock was set back
	write(time.Hour-time.Minute, audit.ReasonOverload, "l")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	sameLines(t, d.records(t),
		"overload a 0", "limited c 0", "missing d 0", "missing e 0", "overload b 999",
		"overload h 2", "<nil> i 0", "overload j 0", "overload k 0", "overload l 0")
}

// Refusals that take long are of the second in which they end, as their records
// are: among those that take no time they do not make room for more.
func TestFloodOfSlowRefusals(t *testing.T) {
	t.Parallel()
	d := &disk{room: -1}
	l, _ := newLog(t, d)
	start := time.Unix(1_800_000_000, 0)
	const n = 100
	for i := range n { // in half a second
		end := start.Add(time.Duration(i) * 5 * time.Millisecond)
		took := time.Duration(i%3) * 2 * time.Second
		l.Write(t.Context(), &audit.Record{Time: end.Add(-took), Duration: took, Decision: audit.Refused, Reason: audit.ReasonLimited})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	records := d.records(t)
	if len(records) != 2 || records[1]["omitted"] != float64(n-2) {
		t.Errorf("records\n%v, want one, and one of the %d others", records, n-1)
	}
}

// However requests interleave, each has a record or is counted.
func TestFloodIsCounted(t *testing.T) {
	t.Parallel()
	d := &disk{room: -1}
	l, _ := newLog(t, d)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 1000 {
				l.Write(t.Context(), &audit.Record{
					Time: time.Unix(1_800_000_000, int64(n)*100_000), Decision: audit.Refused,
					Reason: []audit.Reason{audit.ReasonOverload, audit.ReasonLimited}[i%2],
				})
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	total := 0
	records := d.records(t)
	for _, r := range records {
		omitted, _ := r["omitted"].(float64)
		total += 1 + int(omitted)
	}
	if total != 8000 || len(records) > 4 {
		t.Errorf("%d requests in %d records", total, len(records))
	}
}

// What anybody can cause is bounded too; what is done for somebody never is.
func TestFloodOfRefusals(t *testing.T) {
	t.Parallel()
	d := &disk{room: -1}
	l, err := audit.Open("", audit.Options{Stdout: d, Logger: slog.New(slog.DiscardHandler), Refusals: 5})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Unix(1_800_000_000, 0)
	reasons := []audit.Reason{audit.ReasonTarget, audit.ReasonRoute, audit.ReasonMissing, audit.ReasonCredential, "", audit.ReasonRevoked}
	for i := range 10_000 { // in 10 s
		for _, reason := range reasons {
			l.Write(t.Context(), &audit.Record{Time: start.Add(time.Duration(i) * time.Millisecond), Reason: reason})
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	records, all := make(map[string]int), make(map[string]int)
	for _, r := range d.records(t) {
		reason, _ := r["reason"].(string)
		omitted, _ := r["omitted"].(float64)
		records[reason]++
		all[reason] += 1 + int(omitted)
	}
	for _, reason := range reasons {
		n := records[string(reason)]
		if limited := reason != "" && reason != audit.ReasonRevoked; limited && (n < 50 || n > 60) || !limited && n != 10_000 {
			t.Errorf("%q: %d records", reason, n)
		}
		if all[string(reason)] != 10_000 {
			t.Errorf("%q: %d requests", reason, all[string(reason)])
		}
	}
}

// Whoever reaches the mesh listener can ask for a key without end, and is refused
// with a record a second, as for requests; keys that are enrolled have their own.
func TestFloodOfEnrolments(t *testing.T) {
	t.Parallel()
	d := &disk{room: -1}
	l, err := audit.Open("", audit.Options{Stdout: d, Logger: slog.New(slog.DiscardHandler), Refusals: 5})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Unix(1_800_000_000, 0)
	for i := range 10_000 { // in 10 s
		at := start.Add(time.Duration(i) * time.Millisecond)
		l.WriteEvent(t.Context(), &audit.Event{Time: at, Action: audit.ActionEnroll, Decision: audit.Refused, Service: "orders"})
		l.WriteEvent(t.Context(), &audit.Event{Time: at, Action: audit.ActionEnroll, Decision: audit.Allowed, Service: "orders"})
		l.WriteEvent(t.Context(), &audit.Event{Time: at, Action: audit.ActionRevoke, Decision: audit.Refused})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	records, all := make(map[string]int), make(map[string]int)
	for _, r := range d.records(t) {
		what := fmt.Sprint(r["action"], " ", r["decision"])
		omitted, _ := r["omitted"].(float64)
		records[what]++
		all[what] += 1 + int(omitted)
	}
	if n := records["enroll refused"]; n < 50 || n > 60 || all["enroll refused"] != 10_000 {
		t.Errorf("%d records of %d refused enrolments", n, all["enroll refused"])
	}
	if records["enroll allowed"] != 10_000 || records["revoke refused"] != 10_000 {
		t.Errorf("others were kept back: %v", records)
	}
}
