package metrics_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalotel"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"

	"github.com/onbehalf-dev/onbehalf/bff/internal/metrics"
)

func open(t testing.TB) (*metrics.Metrics, http.Handler) {
	t.Helper()
	e, err := metrics.NewExporter(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	m, err := metrics.New(e.Provider())
	if err != nil {
		t.Fatal(err)
	}
	return m, e.Handler()
}

func scrape(t testing.TB, h http.Handler) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, metrics.Path, nil))
	if w.Code != http.StatusOK {
		t.Fatal(w.Code)
	}
	return w.Body.String()
}

var request = metrics.Request{
	Route: "/orders", Protocol: "http", Decision: "allowed", Credential: true, Issuer: "https://login.test",
	Forwarded: true, Method: http.MethodGet, Status: http.StatusOK, Took: 20 * time.Millisecond, PrincipalBytes: 700,
}

// To count a request allocates nothing.
func TestRequestDoesNotAllocate(t *testing.T) { //nolint:paralleltest // it counts allocations
	m, _ := open(t)
	var off *metrics.Metrics
	ctx := t.Context()
	for name, m := range map[string]*metrics.Metrics{"on": m, "off": off} {
		r := request
		if n := testing.AllocsPerRun(1000, func() {
			m.Request(ctx, &r)
			m.Looked(true)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// What a client or an upstream makes up has no series of its own.
func TestMadeUp(t *testing.T) {
	t.Parallel()
	m, h := open(t)
	for i := range 1000 {
		r := request
		r.Method, r.Status = fmt.Sprint("M", i), i
		m.Request(t.Context(), &r)
	}
	if n := strings.Count(scrape(t, h), "http_server_request_duration_seconds_count{"); n != 6 {
		t.Errorf("%d series of durations, want one for each class of status, and one for what is none", n)
	}
}

func TestNil(t *testing.T) {
	t.Parallel()
	var m *metrics.Metrics
	r := request
	m.Request(t.Context(), &r)
	m.Reloaded(true)
	m.Enriched(t.Context(), time.Second, true)
	m.Added(t.Context(), 1)
	m.Stale()
	stop, err := m.Watch(metrics.Sources{})
	if err != nil || stop() != nil || m.Answering() != nil || m.Provider() != nil {
		t.Error("a nil one does something", err)
	}
}

// A source that is not there any more is not asked.
func TestWatchEnds(t *testing.T) {
	t.Parallel()
	m, h := open(t)
	number := func() int { return 7 }
	stop, err := m.Watch(metrics.Sources{
		Requests: number, Services: number, Revocations: number, Sequence: func() uint64 { return 7 },
		KeyAge: func() (time.Duration, bool) { return 0, false }, Healthy: func() bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := scrape(t, h); !strings.Contains(got, "\nonbehalf_feed_services 7\n") || strings.Contains(got, "key_age") {
		t.Error(got)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := scrape(t, h); strings.Contains(got, "feed_services") {
		t.Error(got)
	}
}

// broken is a provider that makes no instruments.
type broken struct{ noop.MeterProvider }

func (broken) Meter(string, ...metric.MeterOption) metric.Meter { return brokenMeter{} }

type brokenMeter struct{ noop.Meter }

var errBroken = errors.New("no more instruments")

func (brokenMeter) Int64ObservableCounter(string, ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	return nil, errBroken
}

func TestNewError(t *testing.T) {
	t.Parallel()
	if _, err := metrics.New(broken{}); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}

// What a service counts has the name that docs/metrics.md says, and labels that no
// caller can vary (Z03).
func TestServices(t *testing.T) {
	t.Parallel()
	e, err := metrics.NewExporter(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	rules := (&principal.Rules{}).WithMethod("/orders.Orders/Get", principal.AllowAnonymous())
	o, err := principalotel.NewObserver(rules, principalotel.WithMeterProvider(e.Provider()))
	if err != nil {
		t.Fatal(err)
	}
	guard := principaltest.NewIssuer(t).Guard("orders", rules, principal.WithObserver(o))
	for i := range 1000 {
		_, _ = guard.Admit(t.Context(), principal.Call{Procedure: fmt.Sprint("/made.Up/", i), Values: []string{fmt.Sprint("forged", i)}})
	}
	const want = `principal_verify_total{principal_decision="refused",principal_procedure="other",principal_reason="malformed"} 1000`
	if got := scrape(t, e.Handler()); !strings.Contains(got, want) || strings.Count(got, "principal_verify_total{") != 1 {
		t.Error(got)
	}
}

// What it costs to count a request, without and with an SDK.
func BenchmarkRequest(b *testing.B) {
	on, _ := open(b)
	for _, c := range []struct {
		name string
		m    *metrics.Metrics
	}{{"off", nil}, {"on", on}} {
		b.Run(c.name, func(b *testing.B) {
			ctx, r := b.Context(), request
			b.ReportAllocs()
			for b.Loop() {
				c.m.Looked(true)
				c.m.Request(ctx, &r)
			}
		})
	}
}
