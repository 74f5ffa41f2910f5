package metrics

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/metric"
)

// Sources are asked when metrics are read. All are required.
type Sources struct {
	// Requests returns how many are under way.
	Requests func() int
	// Services returns how many instances of services follow the feed.
	Services func() int
	// Revocations returns how many are known.
	Revocations func() int
	// Sequence returns that of the last event.
	Sequence func() uint64
	// KeyAge returns for how long the key has signed that signs now; false if the
	// edge does not know.
	KeyAge func() (time.Duration, bool)
	// Healthy reports whether what the store knows is recent enough.
	Healthy func() bool
}

// Watch reports the state of what s returns, whenever it is read, until stop is
// called.
func (m *Metrics) Watch(s Sources) (stop func() error, err error) {
	if m == nil {
		return func() error { return nil }, nil
	}
	o := observer{sources: s, m: m}
	if err := o.open(m.meter); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	registration, err := m.meter.RegisterCallback(o.observe, o.active, o.streams, o.services, o.revocations, o.sequence, o.keyAge, o.healthy)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return registration.Unregister, nil
}

type observer struct {
	m       *Metrics
	sources Sources

	active, streams                          metric.Int64ObservableUpDownCounter
	services, revocations, sequence, healthy metric.Int64ObservableGauge
	keyAge                                   metric.Float64ObservableGauge
}

func (o *observer) open(m metric.Meter) (err error) {
	for _, c := range []struct {
		into             *metric.Int64ObservableUpDownCounter
		name, unit, text string
	}{
		{&o.active, "http.server.active_requests", "{request}", "Requests under way, streams too."},
		{&o.streams, "onbehalf.streams", "{stream}", "Answers that have begun and not ended: streams, WebSockets, downloads."},
	} {
		if *c.into, err = m.Int64ObservableUpDownCounter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.text)); err != nil {
			return err
		}
	}
	for _, g := range []struct {
		into             *metric.Int64ObservableGauge
		name, unit, text string
	}{
		{&o.services, "onbehalf.feed.services", "{instance}", "Instances of services that follow the feed."},
		{&o.revocations, "onbehalf.revocations", "{revocation}", "Revocations that are remembered."},
		{&o.sequence, "onbehalf.store.sequence", "{event}", "The sequence of the last event of the store that is known here."},
		{&o.healthy, "onbehalf.store.healthy", "{store}", "1 if the store can be reached, or could less than store.outage ago; otherwise 0."},
	} {
		if *g.into, err = m.Int64ObservableGauge(g.name, metric.WithUnit(g.unit), metric.WithDescription(g.text)); err != nil {
			return err
		}
	}
	o.keyAge, err = m.Float64ObservableGauge("onbehalf.key.age", metric.WithUnit("s"),
		metric.WithDescription("For how long the key has signed that signs now."))
	return err
}

func (o *observer) observe(_ context.Context, to metric.Observer) error {
	to.ObserveInt64(o.active, int64(o.sources.Requests()))
	to.ObserveInt64(o.streams, o.m.answering.Load())
	to.ObserveInt64(o.services, int64(o.sources.Services()))
	to.ObserveInt64(o.revocations, int64(o.sources.Revocations()))
	to.ObserveInt64(o.sequence, int64(o.sources.Sequence()))
	if age, ok := o.sources.KeyAge(); ok {
		to.ObserveFloat64(o.keyAge, age.Seconds())
	}
	var healthy int64
	if o.sources.Healthy() {
		healthy = 1
	}
	to.ObserveInt64(o.healthy, healthy)
	return nil
}
