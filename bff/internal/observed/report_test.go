package observed_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"

	"github.com/onbehalf-dev/onbehalf/bff/internal/audit"
	"github.com/onbehalf-dev/onbehalf/bff/internal/observed"
)

const page = `loans.v1.LoanService/Repay at loans
  not ready: 8 of 8 calls in 7 minutes would be refused
  0 allowed; first 2026-11-22 10:41:00Z, last 2026-11-22 10:48:00Z
  - 5 calls, scope: without scope loans:write
    From bff as human (5).
    For 1 subject.
    Through the edge by route loans.v1.LoanService (5); 1 client address.
    With credentials of https://login.example (5).
    First 2026-11-22 10:41:00Z, last 2026-11-22 10:45:00Z.
    To do: grant loans:write where the credential is issued, or take it out of
    the rule.
  - 2 calls, kind: a caller of kind agent
    From bff as agent (2).
    For 1 subject.
    First 2026-11-22 10:46:00Z, last 2026-11-22 10:47:00Z.
    To do: add the kind to kinds of the rule, or stop the caller.
  - 1 call, missing: no principal
    From 10.0.0.7 grpc-go/1.82.1 (1).
    First 2026-11-22 10:48:00Z, last 2026-11-22 10:48:00Z.
    To do: send these calls through the edge or a guarded service, or write
    anonymous into the rule.

route /api at the edge
  not ready: 1 of 1 call would be refused
  0 allowed; first 2026-11-22 10:00:00Z, last 2026-11-22 10:00:00Z
  - 1 call, credential: a credential that is refused: time
    From 1 client address.
    First 2026-11-22 10:00:00Z, last 2026-11-22 10:00:00Z.
    To do: look at who issues it, and at issuers of the configuration.

loans.v1.LoanService/Close
  not seen: no call in these logs

loans.v1.LoanService/GetLoan at loans
  ready to enforce: 40 calls in 39 minutes, none would be refused
  40 allowed; first 2026-11-22 10:01:00Z, last 2026-11-22 10:40:00Z

route loans.v1.LoanService at the edge
  ready to enforce: 1 call, none would be refused
  1 allowed; first 2026-11-22 10:00:00Z, last 2026-11-22 10:00:00Z

9 of 50 calls would be refused; 2 not ready; 2 ready to enforce; 1 not seen.
Read 51 lines of 2 logs, 50 decisions, 1 of something else.
`

// sample is the log of a service and that of an edge.
func sample(t *testing.T, opts ...principal.GuardOption) (ofService, ofEdge string) {
	t.Helper()
	s := newService(t, opts...)
	reader := principaltest.Human("loans:read")
	s.call(40, get, "req_1", reader)
	s.call(5, repay, "req_2", reader)
	s.call(2, repay, "", principaltest.Delegate(principaltest.Human("loans:read", "loans:write"), "assistant"))
	s.bare(1, repay, "req_3")
	ofEdge = records(t,
		audit.Record{Time: start, RequestID: "req_2", Route: "loans.v1.LoanService", Client: "192.0.2.1", Decision: audit.Allowed, CredentialIssuer: "https://login.example"},
		audit.Record{Time: start, RequestID: "req_9", Route: "/api", Client: "192.0.2.1", Decision: audit.WouldRefuse, Reason: audit.ReasonCredential, CredentialReason: "time"},
		audit.Record{Time: start, RequestID: "req_10", Decision: audit.Refused, Reason: audit.ReasonRoute},
	)
	return s.log.String(), ofEdge
}

func TestText(t *testing.T) {
	t.Parallel()
	ofService, ofEdge := sample(t, principal.ObserveOnly("loans.v1.LoanService"))
	r := read(t, ofService, ofEdge)
	r.Expect([]string{"/loans.v1.LoanService/Close", get})
	if diff := cmp.Diff(page, text(t, r, observed.Options{})); diff != "" {
		t.Error(diff)
	}
	for line := range strings.Lines(text(t, r, observed.Options{Width: 120})) {
		if len(line) > 121 {
			t.Errorf("%d characters: %s", len(line), line)
		}
	}
	if strings.Contains(page, "hm-") {
		t.Error("a user is named")
	}
	if named := text(t, r, observed.Options{Subjects: true}); !strings.Contains(named, "For 1 subject: hm-") {
		t.Error(named)
	}
	if _, named := inJSON(t, r, observed.Options{})["methods"].([]any)[2].(map[string]any)["findings"].([]any)[0].(map[string]any)["subjects"]; named {
		t.Error("a user is named in JSON")
	}
}

// What observing says would be refused is what is refused then, for the same
// reasons and callers.
func TestObservedIsWhatIsRefusedThen(t *testing.T) {
	t.Parallel()
	watched, _ := sample(t, principal.ObserveOnly("loans.v1.LoanService"))
	enforced, _ := sample(t)
	got, want := methods(t, read(t, watched), "would_refuse"), methods(t, read(t, enforced), "refused")
	if diff := cmp.Diff(want, got); diff != "" || len(got) != 2 {
		t.Error(diff)
	}
}

// methods is what is said of each method that does not depend on the decision.
func methods(t *testing.T, r *observed.Report, decision string) map[string]any {
	t.Helper()
	all := make(map[string]any)
	for _, m := range r.Methods() {
		if m.Verdict() != observed.Ready && m.WouldRefuse+m.Refused == 0 {
			t.Error(m.Name, m.Verdict())
		}
		var findings []any
		for _, f := range m.Findings() {
			if f.Decision != decision {
				t.Error(m.Name, f.Decision)
			}
			findings = append(findings, f.Reason, f.Needs, f.Calls, f.Callers, len(f.Subjects))
		}
		all[m.Name] = []any{m.Calls, m.Allowed, m.WouldRefuse + m.Refused, findings}
	}
	return all
}

// It does not matter which of slog's handlers wrote a log.
func TestWordsSayTheSame(t *testing.T) {
	t.Parallel()
	s := newService(t, principal.ObserveOnly("loans.v1.LoanService"))
	s.call(5, repay, "req_2", principaltest.Human("loans:read"))
	s.call(2, repay, "", principaltest.Delegate(principaltest.Human("loans:read", "loans:write"), "assistant"))
	s.bare(1, get, "req_3")
	o := observed.Options{Subjects: true}
	inJSON, inWords := text(t, read(t, s.log.String()), o), text(t, read(t, s.words.String()), o)
	if diff := cmp.Diff(inJSON, inWords); diff != "" || !strings.Contains(inJSON, "8 decisions") {
		t.Error(diff, inJSON)
	}
}

// Each order of the files brings together what belongs together.
func TestJoin(t *testing.T) {
	t.Parallel()
	s := newService(t, principal.ObserveOnly(repay))
	p := principaltest.Human("loans:read")
	s.call(1, repay, "req_1", p)
	s.bare(1, repay, "req_2")
	s.bare(1, repay, "req_other")
	before, after := start.Add(-time.Hour), start.Add(time.Hour)
	for name, at := range map[string]time.Time{"edge first": before, "edge last": after} {
		edge := records(t,
			audit.Record{Time: at, RequestID: "req_1", Route: "/a", Client: "192.0.2.1", Decision: audit.Allowed},
			audit.Record{Time: at, RequestID: "req_2", Route: "/b", Client: "192.0.2.2", Decision: audit.Allowed},
			audit.Record{Time: at, RequestID: "req_2", Route: "/c", Client: "192.0.2.2", Decision: audit.Allowed},
		)
		for _, logs := range [][]string{{s.log.String(), edge}, {edge, s.log.String()}} {
			for _, m := range read(t, logs...).Methods() {
				for _, f := range m.Findings() {
					want := map[string]map[string]int64{"scope": {"/a": 1}, "missing": {"/b": 1}}[f.Reason]
					if name == "edge first" && f.Reason == "missing" { // of two records of one request the later one is taken
						want = map[string]int64{"/c": 1}
					}
					if diff := cmp.Diff(want, f.Routes); diff != "" {
						t.Errorf("%s, %s: %s", name, f.Reason, diff)
					}
				}
			}
		}
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	line := func(decision string, after time.Duration) string {
		return `{"time":"` + start.Add(after).Format(time.RFC3339) + `","msg":"principal","service":"a","method":"/b.C/D","decision":"` + decision + `","principal":"anonymous","reason":"no_rule"}` + "\n"
	}
	day := 24 * time.Hour
	for _, tt := range []struct{ log, want string }{
		{line("allowed", 0), "ready to enforce: 1 call, none would be refused"},
		{line("allowed", 0) + line("allowed", 3*day), "ready to enforce: 2 calls in 3 days, none would be refused"},
		{line("allowed", 0) + line("ended", day), "ready to enforce: 1 call, none would be refused"},
		{line("would_refuse", 0), "not ready: 1 of 1 call would be refused"},
		{line("would_refuse", 0) + line("refused", 3*time.Hour), "not ready: 1 of 2 calls in 3 hours would be refused, 1 was refused"},
		{line("allowed", 0) + line("refused", 5*time.Minute), "in force: 1 of 2 calls in 5 minutes was refused"},
	} {
		if got := read(t, tt.log).Methods()[0].Sentence(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// Each reason that there is has a meaning and something to do.
func TestEachReasonIsExplained(t *testing.T) {
	t.Parallel()
	check := func(r *observed.Report) {
		for _, m := range r.Methods() {
			for _, f := range m.Findings() {
				one := text(t, r, observed.Options{})
				if !strings.Contains(one, f.Reason+": ") || !strings.Contains(one, "To do: ") || strings.Contains(one, "%") {
					t.Errorf("%s: %s", f.Reason, one)
				}
			}
		}
	}
	known := 0
	for reason := principal.Reason(1); reason.String() != "unknown"; reason++ {
		known++
		check(read(t, `{"msg":"principal","service":"a","method":"/b.C/D","decision":"would_refuse","reason":"`+reason.String()+`"}`))
	}
	if known < 20 {
		t.Errorf("%d reasons", known)
	}
	for _, reason := range []audit.Reason{
		audit.ReasonMissing, audit.ReasonCredential, audit.ReasonUnavailable, audit.ReasonEnrichment, audit.ReasonSigning, audit.ReasonStale, audit.ReasonLimited,
	} {
		check(read(t, records(t, audit.Record{Time: start, Route: "/a", Decision: audit.WouldRefuse, Reason: reason})))
	}
}
