package metrics

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// counter counts by itself and tells when it is asked, which costs a request less
// than to tell an SDK each time.
type counter[K comparable] struct {
	instrument metric.Int64ObservableCounter
	sets       sets[K]
}

func (c *counter[K]) open(m metric.Meter, name, unit, text string, attributes func(K) []attribute.KeyValue) (err error) {
	c.sets.attributes = attributes
	c.instrument, err = m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(text))
	return err
}

func (c *counter[K]) add(k K) { c.sets.get(k).count.Add(1) }

func (c *counter[K]) observe(o metric.Observer) {
	if known := c.sets.known.Load(); known != nil {
		for _, v := range *known {
			o.ObserveInt64(c.instrument, v.count.Load(), v.observe...)
		}
	}
}

type histogram[K comparable] struct {
	instrument metric.Float64Histogram
	sets       sets[K]
}

func (h *histogram[K]) open(m metric.Meter, name, unit, text string, bounds []float64, attributes func(K) []attribute.KeyValue) (err error) {
	h.sets.attributes = attributes
	h.instrument, err = m.Float64Histogram(name, metric.WithUnit(unit), metric.WithDescription(text), metric.WithExplicitBucketBoundaries(bounds...))
	return err
}

func (h *histogram[K]) record(ctx context.Context, k K, value float64) {
	h.instrument.Record(ctx, value, h.sets.get(k).record...)
}

// sets are the sets of attributes of one instrument, each made once. They are read
// without a lock and hardly ever written.
type sets[K comparable] struct {
	attributes func(K) []attribute.KeyValue

	known atomic.Pointer[map[K]*labelled]
	mu    sync.Mutex // held by who adds one
}

type labelled struct {
	count   atomic.Int64
	observe []metric.ObserveOption
	record  []metric.RecordOption
}

func (s *sets[K]) get(k K) *labelled {
	if known := s.known.Load(); known != nil {
		if o := (*known)[k]; o != nil {
			return o
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[K]*labelled)
	if known := s.known.Load(); known != nil {
		if o := (*known)[k]; o != nil {
			return o
		}
		maps.Copy(next, *known)
	}
	set := metric.WithAttributeSet(attribute.NewSet(s.attributes(k)...))
	o := &labelled{observe: []metric.ObserveOption{set}, record: []metric.RecordOption{set}}
	next[k] = o
	s.known.Store(&next)
	return o
}
