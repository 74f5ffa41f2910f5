package principalotel_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalotel"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

// meters is a provider whose one counter keeps what it is given: the API has no
// SDK, and neither have these tests.
type meters struct {
	noop.MeterProvider

	fail   error
	name   string
	mu     sync.Mutex
	series map[attribute.Set]int64
}

func (m *meters) Meter(string, ...metric.MeterOption) metric.Meter { return meter{m: m} }

type meter struct {
	noop.Meter

	m *meters
}

func (m meter) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	m.m.name = name
	return counter{m: m.m}, m.m.fail
}

type counter struct {
	noop.Int64Counter

	m *meters
}

func (c counter) Add(_ context.Context, n int64, options ...metric.AddOption) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if c.m.series == nil {
		c.m.series = make(map[attribute.Set]int64)
	}
	c.m.series[metric.NewAddConfig(options).Attributes()] += n
}

// span keeps its attributes.
type span struct {
	tracenoop.Span

	attributes []attribute.KeyValue
}

func (*span) IsRecording() bool                        { return true }
func (s *span) SetAttributes(kv ...attribute.KeyValue) { s.attributes = append(s.attributes, kv...) }
func (s *span) in(ctx context.Context) context.Context { return trace.ContextWithSpan(ctx, s) }
func (s *span) String() string                         { return lines(attribute.NewSet(s.attributes...)) }

func lines(set attribute.Set) string {
	var b strings.Builder
	for _, kv := range set.ToSlice() {
		fmt.Fprintf(&b, "%s=%s ", kv.Key, kv.Value.Emit()) //nolint:staticcheck // what replaces it is not in the oldest version that is supported
	}
	return strings.TrimSpace(b.String())
}

const method = "/shop.orders.v1.OrderService/PlaceOrder"

func world(t testing.TB) (*principaltest.Issuer, *principal.Guard, *meters) {
	t.Helper()
	iss, m := principaltest.NewIssuer(t), new(meters)
	rules := (&principal.Rules{}).
		WithMethod(method, &principalv1.AccessRule{Kinds: []principalv1.Kind{principalv1.Kind_KIND_AGENT}}).
		WithService("grpc.health.v1.Health", principal.AllowAnonymous())
	observer, err := principalotel.NewObserver(rules, principalotel.WithMeterProvider(m))
	if err != nil {
		t.Fatal(err)
	}
	return iss, iss.Guard("orders", rules, principal.WithObserver(observer)), m
}

func TestSpanAndCounter(t *testing.T) {
	t.Parallel()
	iss, g, m := world(t)
	alice := principaltest.Human("orders:write")
	header := iss.Pass(iss.Header("gateway", principaltest.Delegate(principaltest.Delegate(alice, "shopper"), "fetcher")), "gateway", "orders")
	for _, c := range []struct {
		name   string
		values []string
		span   string
	}{
		{"allowed", []string{header}, "principal.actor=am-fetcher principal.decision=allowed principal.delegations=[\"am-shopper\",\"am-fetcher\"] " +
			"principal.id=ID principal.kind=agent principal.path=[\"bff\",\"gateway\"] principal.reason=none principal.subject=hm-2bd806c9-7f0e-00af-1a1f-c3328fa763a9"},
		{"of a kind that may not", []string{iss.Header("orders", alice)}, "principal.actor=hm-2bd806c9-7f0e-00af-1a1f-c3328fa763a9 principal.decision=refused " +
			"principal.id=ID principal.kind=human principal.path=[\"bff\"] principal.reason=kind principal.subject=hm-2bd806c9-7f0e-00af-1a1f-c3328fa763a9"},
		{"not verified", []string{"garbage"}, "principal.decision=refused principal.reason=malformed"},
		{"missing", nil, "principal.decision=refused principal.reason=missing"},
	} {
		s := new(span)
		a, _ := g.Admit(s.in(t.Context()), principal.Call{Procedure: method, Values: c.values})
		want := c.span
		for _, kv := range s.attributes {
			if kv.Key == "principal.id" {
				want = strings.Replace(want, "=ID", "="+kv.Value.AsString(), 1)
				if a.Principal != nil && kv.Value.AsString() != a.Principal.ID().String() {
					t.Errorf("%s: id %s", c.name, kv.Value.AsString())
				}
			}
		}
		if s.String() != want {
			t.Errorf("%s: span\n%s\nwant\n%s", c.name, s, want)
		}
		for _, v := range c.values {
			if strings.Contains(s.String(), v) || strings.Contains(s.String(), principal.EncodeHeader(v)) {
				t.Errorf("%s: the span shows the header", c.name)
			}
		}
	}
	var got []string
	for set, n := range m.series {
		got = append(got, fmt.Sprintf("%d %s", n, lines(set)))
	}
	slices.Sort(got)
	want := []string{
		"1 principal.decision=allowed principal.procedure=" + method + " principal.reason=none",
		"1 principal.decision=refused principal.procedure=" + method + " principal.reason=kind",
		"1 principal.decision=refused principal.procedure=" + method + " principal.reason=malformed",
		"1 principal.decision=refused principal.procedure=" + method + " principal.reason=missing",
	}
	if !slices.Equal(got, want) || m.name != "principal.verify" {
		t.Errorf("%s: %q, want %q", m.name, got, want)
	}
}

// Z03: a million inventions of callers make no more than a handful of series.
func TestCardinality(t *testing.T) {
	t.Parallel()
	iss, g, m := world(t)
	good := iss.Header("orders", principaltest.Agent("shopper"))
	for i := range 10_000 {
		for _, procedure := range []string{
			fmt.Sprintf("/invented.v%d.Service/Method", i), fmt.Sprintf("/shop.orders.v1.OrderService/Invented%d", i),
			fmt.Sprintf("/grpc.health.v1.Health/Invented%d", i), fmt.Sprintf("GET /%d", i), method,
		} {
			call := principal.Call{Procedure: procedure, RequestID: fmt.Sprint("req_", i), Values: []string{fmt.Sprint("garbage", i)}}
			if i%2 == 0 {
				call.Values = []string{good}
			}
			_, _ = g.Admit(t.Context(), call)
		}
	}
	if len(m.series) > 8 {
		t.Errorf("%d series", len(m.series))
		for set := range m.series {
			t.Log(lines(set))
		}
	}
}

func TestNewObserverErrors(t *testing.T) {
	t.Parallel()
	if _, err := principalotel.NewObserver(nil); err == nil {
		t.Error("no rules, no error")
	}
	failure := errors.New("no more instruments")
	if _, err := principalotel.NewObserver(&principal.Rules{}, principalotel.WithMeterProvider(&meters{fail: failure})); !errors.Is(err, failure) {
		t.Error(err)
	}
}

func ExampleNewObserver() {
	iss := principaltest.NewIssuer(&testing.T{}) // in a test: its t
	rules := (&principal.Rules{}).WithMethod(method, &principalv1.AccessRule{})
	observer, err := principalotel.NewObserver(rules) // the global providers, unless an option says otherwise
	if err != nil {
		fmt.Println(err)
		return
	}
	guard, err := principal.NewGuard(iss.Verifier("orders"), rules, principal.WithObserver(observer))
	fmt.Println(guard != nil, err)

	// Output:
	// true <nil>
}
