// Package metrics counts what an edge does, through the API of OpenTelemetry.
//
// A label's value never comes from a caller: it is the name of a configured route
// or issuer, or of a list that is closed in the code. What has no such name is
// other, so that the number of time series depends on the configuration alone.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// scope is the name of the instrumentation.
const scope = "github.com/onbehalf-dev/onbehalf/bff"

// other stands for what has no name in the configuration.
const other = "other"

// none is the reason of what has none.
const none = "none"

// The names of attributes.
const (
	routeKey    = attribute.Key("http.route")
	methodKey   = attribute.Key("http.request.method")
	statusKey   = attribute.Key("onbehalf.status")
	protocolKey = attribute.Key("onbehalf.protocol")
	decisionKey = attribute.Key("onbehalf.decision")
	reasonKey   = attribute.Key("onbehalf.reason")
	issuerKey   = attribute.Key("onbehalf.issuer")
	outcomeKey  = attribute.Key("onbehalf.outcome")
)

// Metrics are the instruments of an edge. It is safe for concurrent use. A nil
// one counts nothing, at no cost.
type Metrics struct {
	provider  metric.MeterProvider
	meter     metric.Meter
	answering atomic.Int64

	requests    counter[requestKey]
	duration    histogram[durationKey]
	header      histogram[string]
	credentials counter[credentialKey]
	lookups     counter[bool]
	upstream    counter[string]
	reloads     counter[bool]
	enrichment  histogram[bool]
	added       histogram[struct{}]
	stale       counter[struct{}]
}

type requestKey struct{ route, protocol, decision, reason string }

type durationKey struct{ route, method, status string }

type credentialKey struct{ issuer, reason string }

// New returns the instruments of provider, which is not nil.
func New(provider metric.MeterProvider) (*Metrics, error) {
	m := &Metrics{provider: provider, meter: provider.Meter(scope)}
	errs := []error{
		m.requests.open(m.meter, "onbehalf.requests", "{request}", "Requests that were let in or refused.",
			func(k requestKey) []attribute.KeyValue {
				return []attribute.KeyValue{
					routeKey.String(k.route), protocolKey.String(k.protocol), decisionKey.String(k.decision), reasonKey.String(k.reason),
				}
			}),
		m.duration.open(m.meter, "http.server.request.duration", "s", "Duration of requests that were let in; of streams, until the answer begins.",
			[]float64{0.005, 0.01, 0.025, 0.1, 0.25, 1, 2.5, 10},
			func(k durationKey) []attribute.KeyValue {
				return []attribute.KeyValue{routeKey.String(k.route), methodKey.String(k.method), statusKey.String(k.status)}
			}),
		m.header.open(m.meter, "onbehalf.principal.size", "By", "Length of the principal that is sent to the upstream, as text.",
			[]float64{512, 768, 1024, 2048, 4096}, byRoute),
		m.credentials.open(m.meter, "onbehalf.credentials", "{credential}", "Credentials that were verified or refused, cached ones too.",
			func(k credentialKey) []attribute.KeyValue {
				return []attribute.KeyValue{issuerKey.String(k.issuer), reasonKey.String(k.reason)}
			}),
		m.lookups.open(m.meter, "onbehalf.credential.lookups", "{lookup}", "Whether a credential had been verified lately.", named(outcomeKey, "hit", "miss")),
		m.upstream.open(m.meter, "onbehalf.upstream.failures", "{request}", "Requests that were let in and not answered by the upstream.", byRoute),
		m.reloads.open(m.meter, "onbehalf.reloads", "{reload}", "Configurations that were taken or refused while the edge ran.", named(outcomeKey, "ok", "failed")),
		m.enrichment.open(m.meter, "onbehalf.enrichment.duration", "s", "Duration of calls of the enricher.",
			[]float64{0.005, 0.025, 0.1, 0.25, 1, 5}, named(outcomeKey, "ok", "failed")),
		m.added.open(m.meter, "onbehalf.enrichment.size", "By", "Bytes of roles and attributes that enrichment added to a principal.",
			[]float64{0, 64, 128, 256, 512}, func(struct{}) []attribute.KeyValue { return nil }),
		m.stale.open(m.meter, "onbehalf.enrichment.stale", "{use}", "Uses of an old answer as the enricher gave no new one.",
			func(struct{}) []attribute.KeyValue { return nil }),
	}
	// Nothing ends this: what was counted stays so when the edge has ended.
	_, err := m.meter.RegisterCallback(m.observe, m.requests.instrument, m.credentials.instrument, m.lookups.instrument,
		m.upstream.instrument, m.reloads.instrument, m.stale.instrument)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return m, nil
}

func (m *Metrics) observe(_ context.Context, o metric.Observer) error {
	m.requests.observe(o)
	m.credentials.observe(o)
	m.lookups.observe(o)
	m.upstream.observe(o)
	m.reloads.observe(o)
	m.stale.observe(o)
	return nil
}

func byRoute(route string) []attribute.KeyValue { return []attribute.KeyValue{routeKey.String(route)} }

func named(key attribute.Key, yes, no string) func(bool) []attribute.KeyValue {
	return func(ok bool) []attribute.KeyValue {
		if ok {
			return []attribute.KeyValue{key.String(yes)}
		}
		return []attribute.KeyValue{key.String(no)}
	}
}

// Provider returns what m is made of, or nil.
func (m *Metrics) Provider() metric.MeterProvider {
	if m == nil {
		return nil
	}
	return m.provider
}

// Looked says whether a credential was found among those that were verified
// lately.
func (m *Metrics) Looked(hit bool) {
	if m != nil {
		m.lookups.add(hit)
	}
}

// Reloaded says whether a configuration was taken.
func (m *Metrics) Reloaded(ok bool) {
	if m != nil {
		m.reloads.add(ok)
	}
}

// Enriched says how long a call of the enricher took, and whether it was good.
func (m *Metrics) Enriched(ctx context.Context, took time.Duration, ok bool) {
	if m != nil {
		m.enrichment.record(ctx, ok, took.Seconds())
	}
}

// Added says how many bytes enrichment added to a principal.
func (m *Metrics) Added(ctx context.Context, bytes int) {
	if m != nil {
		m.added.record(ctx, struct{}{}, float64(bytes))
	}
}

// Stale says that an old answer of the enricher was used.
func (m *Metrics) Stale() {
	if m != nil {
		m.stale.add(struct{}{})
	}
}

// Answering counts the answers that have begun and not ended, for package proxy.
// It is nil if nothing is counted.
func (m *Metrics) Answering() *atomic.Int64 {
	if m == nil {
		return nil
	}
	return &m.answering
}
