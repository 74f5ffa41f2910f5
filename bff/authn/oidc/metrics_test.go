package oidc_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
)

// Fetches are counted by what became of them, and the age of keys is told for as
// long as the authenticator is open.
func TestMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		p := newLocalIDP(local)
		issuers := []oidc.Issuer{p.config()}
		a := start(t, issuers, oidc.WithHTTPClient(client(p)), oidc.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))))
		compare := func(want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, readings(t, reader)); diff != "" {
				t.Error(diff)
			}
		}
		compare("onbehalf.jwks.age map[onbehalf.issuer:"+local+"] 0", "onbehalf.jwks.fetches map[onbehalf.issuer:"+local+" onbehalf.outcome:ok] 1")
		p.down.Store(true)
		<-time.After(5*time.Minute + 500*time.Millisecond) // the next try is a second later
		compare("onbehalf.jwks.age map[onbehalf.issuer:"+local+"] 300",
			"onbehalf.jwks.fetches map[onbehalf.issuer:"+local+" onbehalf.outcome:failed] 1", "onbehalf.jwks.fetches map[onbehalf.issuer:"+local+" onbehalf.outcome:ok] 1")
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		for _, r := range readings(t, reader) {
			if strings.HasPrefix(r, "onbehalf.jwks.age") {
				t.Error(r)
			}
		}
	})
}

func labels(set attribute.Set) map[string]string {
	all := make(map[string]string)
	for _, kv := range set.ToSlice() {
		all[string(kv.Key)] = kv.Value.AsString()
	}
	return all
}

// readings returns a line for each series.
func readings(t *testing.T, reader *sdkmetric.ManualReader) (lines []string) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					lines = append(lines, fmt.Sprint(m.Name, " ", labels(p.Attributes), " ", p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					lines = append(lines, fmt.Sprint(m.Name, " ", labels(p.Attributes), " ", int(p.Value)))
				}
			}
		}
	}
	slices.Sort(lines)
	return lines
}
