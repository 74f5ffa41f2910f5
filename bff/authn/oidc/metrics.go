package oidc

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const (
	scope     = "github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
	issuerKey = attribute.Key("onbehalf.issuer")
)

// measured are the instruments of all issuers. A nil one measures nothing.
type measured struct {
	fetches      metric.Int64Counter
	registration metric.Registration
}

// measure has the age of the keys of all sources told, until close.
func measure(provider metric.MeterProvider, sources []*keySource) (*measured, error) {
	if provider == nil {
		return nil, nil
	}
	meter := provider.Meter(scope)
	fetches, err := meter.Int64Counter("onbehalf.jwks.fetches", metric.WithUnit("{fetch}"),
		metric.WithDescription("Fetches of the keys of an issuer."))
	if err != nil {
		return nil, fmt.Errorf("oidc: %w", err)
	}
	age, err := meter.Float64ObservableGauge("onbehalf.jwks.age", metric.WithUnit("s"),
		metric.WithDescription("For how long the keys of an issuer have been here."))
	if err != nil {
		return nil, fmt.Errorf("oidc: %w", err)
	}
	m := &measured{fetches: fetches}
	m.registration, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, s := range sources {
			if f := s.fetched.Load(); f != nil {
				o.ObserveFloat64(age, s.now().Sub(f.at).Seconds(), metric.WithAttributes(issuerKey.String(s.issuer)))
			}
		}
		return nil
	}, age)
	if err != nil {
		return nil, fmt.Errorf("oidc: %w", err)
	}
	return m, nil
}

// fetch counts one, by what became of it.
func (m *measured) fetch(ctx context.Context, issuer string, err error) {
	if m == nil {
		return
	}
	outcome := "ok"
	if err != nil {
		outcome = "failed"
	}
	m.fetches.Add(ctx, 1, metric.WithAttributes(issuerKey.String(issuer), attribute.String("onbehalf.outcome", outcome)))
}

func (m *measured) close() error {
	if m == nil {
		return nil
	}
	return m.registration.Unregister()
}
