package observed_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"

	"github.com/onbehalf-dev/onbehalf/bff/internal/audit"
	"github.com/onbehalf-dev/onbehalf/bff/internal/observed"
)

const (
	get   = "/loans.v1.LoanService/GetLoan"
	repay = "/loans.v1.LoanService/Repay"
)

var start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// timed is a handler for which the clock is where the test puts it.
type timed struct {
	slog.Handler

	at *time.Time
}

func (h timed) Handle(ctx context.Context, r slog.Record) error {
	r.Time = *h.at
	return h.Handler.Handle(ctx, r)
}

// service is one whose guard observes, and writes a log.
type service struct {
	t     *testing.T
	iss   *principaltest.Issuer
	guard *principal.Guard
	log   bytes.Buffer // in JSON
	words bytes.Buffer // the same as text
	now   time.Time
}

func newService(t *testing.T, opts ...principal.GuardOption) *service {
	t.Helper()
	s := &service{t: t, iss: principaltest.NewIssuer(t), now: start}
	rules := (&principal.Rules{}).
		WithMethod(get, &principalv1.AccessRule{AllScopes: []string{"loans:read"}, Kinds: []principalv1.Kind{principalv1.Kind_KIND_HUMAN, principalv1.Kind_KIND_AGENT}}).
		WithMethod(repay, &principalv1.AccessRule{AllScopes: []string{"loans:read", "loans:write"}})
	logger := slog.New(timed{slog.NewJSONHandler(&s.log, nil), &s.now})
	worded := slog.New(timed{slog.NewTextHandler(&s.words, nil), &s.now})
	s.guard = s.iss.Guard("loans", rules, append(opts,
		principal.WithObserver(principal.NewLogObserver(logger)), principal.WithObserver(principal.NewLogObserver(worded)))...)
	return s
}

// from is where a call of the test comes from.
type from struct{ address, agent string }

func (f from) Origin(context.Context) (address string, userAgent []string) {
	return f.address, []string{f.agent}
}

// call makes calls, a minute apart.
func (s *service) call(n int, method, id string, p *principalv1.Principal) {
	s.t.Helper()
	for range n {
		s.now = s.now.Add(time.Minute)
		_, _ = s.guard.Admit(s.t.Context(), principal.Call{
			Procedure: method, Values: []string{s.iss.Header("loans", p)}, RequestID: id, Origin: from{"10.0.0.7:5123", "grpc-go/1.82.1"},
		})
	}
}

// bare makes calls without a principal.
func (s *service) bare(n int, method, id string) {
	s.t.Helper()
	for range n {
		s.now = s.now.Add(time.Minute)
		_, _ = s.guard.Admit(s.t.Context(), principal.Call{Procedure: method, RequestID: id, Origin: from{"10.0.0.7:5123", "grpc-go/1.82.1"}})
	}
}

// records writes records as an edge does.
func records(t *testing.T, list ...audit.Record) string {
	t.Helper()
	var out bytes.Buffer
	l, err := audit.Open("", audit.Options{Stdout: &out, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		l.Write(t.Context(), &list[i])
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func read(t *testing.T, logs ...string) *observed.Report {
	t.Helper()
	r := observed.New(time.Time{})
	inputs := make([]observed.Input, len(logs))
	for i, log := range logs {
		inputs[i] = observed.Input{Name: "log", Reader: strings.NewReader(log)}
	}
	if err := r.Add(inputs...); err != nil {
		t.Fatal(err)
	}
	return r
}

func text(t *testing.T, r *observed.Report, o observed.Options) string {
	t.Helper()
	var out bytes.Buffer
	if err := r.Text(&out, o); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func markdown(t *testing.T, r *observed.Report) string {
	t.Helper()
	var out bytes.Buffer
	if err := r.Markdown(&out, observed.Options{}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func inJSON(t *testing.T, r *observed.Report, o observed.Options) map[string]any {
	t.Helper()
	var out bytes.Buffer
	if err := r.JSON(&out, o); err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(out.Bytes(), &all); err != nil {
		t.Fatal(err, out.String())
	}
	return all
}
