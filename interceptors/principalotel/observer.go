// Package principalotel counts the decisions of a guard and writes them to the
// span of the call, through the API of OpenTelemetry; the program chooses the
// SDK. It carries no trace context: that is the work of OpenTelemetry's own
// instrumentation, which has to come before the guard's for there to be a span.
//
// Spans name people and agents. Metrics do not, and have no label that a caller
// could vary.
package principalotel

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/onbehalf-dev/onbehalf/principal"
)

const scope = "github.com/onbehalf-dev/onbehalf/interceptors/principalotel"

// other stands for every procedure that has no rule of its own: what a caller
// asks for is its own invention, and each label would be a time series.
const other = "other"

// Option changes an observer.
type Option interface{ apply(*settings) }

type option func(*settings)

func (f option) apply(s *settings) { f(s) }

type settings struct{ meters metric.MeterProvider }

// WithMeterProvider replaces the global provider of meters.
func WithMeterProvider(p metric.MeterProvider) Option {
	return option(func(s *settings) { s.meters = p })
}

// NewObserver returns an observer for [principal.WithObserver]. rules are those
// of the guard; they close the set of labels.
//
// The counter principal.verify has the attributes principal.decision (allowed,
// refused, would_refuse, ended), principal.reason (none, or one of the closed list)
// and principal.procedure (a method or pattern with a rule of its own, else
// other). The span gets decision and reason, and of a verified principal its id,
// kind, actor, subject, delegations and path.
func NewObserver(rules *principal.Rules, opts ...Option) (*Observer, error) {
	if rules == nil {
		return nil, errors.New("principalotel: the rules are nil")
	}
	s := settings{meters: otel.GetMeterProvider()}
	for _, opt := range opts {
		opt.apply(&s)
	}
	calls, err := s.meters.Meter(scope).Int64Counter("principal.verify",
		metric.WithDescription("Calls that a guard decided."), metric.WithUnit("{call}"))
	if err != nil {
		return nil, fmt.Errorf("principalotel: %w", err)
	}
	o := &Observer{calls: calls, procedures: make(map[string]bool)}
	for _, m := range rules.Methods() {
		o.procedures[m] = true
	}
	return o, nil
}

// Observer counts decisions and writes them to spans.
type Observer struct {
	calls      metric.Int64Counter
	procedures map[string]bool
}

// Observe implements [principal.Observer].
func (o *Observer) Observe(ctx context.Context, e *principal.Event) {
	procedure := e.Procedure
	if !o.procedures[procedure] {
		procedure = other
	}
	decision := attribute.String("principal.decision", e.Decision.String())
	reason := attribute.String("principal.reason", e.Reason.String())
	o.calls.Add(ctx, 1, metric.WithAttributes(decision, reason, attribute.String("principal.procedure", procedure)))

	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(decision, reason)
	if e.Principal != nil {
		span.SetAttributes(describe(e.Principal)...)
	}
}

// describe says who acts, for whom and through whom.
func describe(p *principal.Principal) []attribute.KeyValue {
	attributes := []attribute.KeyValue{
		attribute.String("principal.id", p.ID().String()),
		attribute.String("principal.kind", p.Kind().String()),
		attribute.String("principal.actor", p.Actor().String()),
		attribute.String("principal.subject", p.Subject().String()),
		attribute.StringSlice("principal.path", p.Path()),
	}
	if delegations := p.Delegations(); len(delegations) > 0 {
		agents := make([]string, len(delegations))
		for i, d := range delegations {
			agents[i] = d.Actor.String()
		}
		attributes = append(attributes, attribute.StringSlice("principal.delegations", agents))
	}
	return attributes
}
