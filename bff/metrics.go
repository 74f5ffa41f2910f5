package bff

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/onbehalf-dev/onbehalf/bff/internal/metrics"
	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// WithMeterProvider sets what counts the work of the edge, in place of
// [Listen.Metrics]. No value of any attribute comes from a caller. The default is
// nothing, which costs nothing.
func WithMeterProvider(p metric.MeterProvider) Option {
	return optionFunc(func(o *options) { o.meters = p })
}

// measuring is how an edge counts its work. The zero value counts nothing.
type measuring struct {
	metrics  *metrics.Metrics
	exporter *metrics.Exporter // nil without a listener
	unwatch  func() error      // nil before [Server.watchMetrics]
}

// openMetrics makes the instruments, before anything is there to count.
func (s *Server) openMetrics(c *Config, o *options) (err error) {
	provider := o.meters
	if c.Listen.Metrics != "" || o.listeners.Metrics != nil {
		if s.exporter, err = metrics.NewExporter(o.log); err != nil {
			return err
		}
		provider = s.exporter.Provider()
	}
	if provider == nil {
		return nil
	}
	s.metrics, err = metrics.New(provider)
	o.metrics = s.metrics
	return err
}

// metricsOption is a problem where both o and the configuration say where metrics
// go.
func (l *Listen) metricsOption(o *options) []problem {
	if o.meters == nil || l.Metrics == "" && o.listeners.Metrics == nil {
		return nil
	}
	return []problem{{"listen.metrics", "metrics go to the MeterProvider of WithMeterProvider; leave out one of the two"}}
}

// watchMetrics has the state of the edge told, once it is open.
func (s *Server) watchMetrics() (err error) {
	s.unwatch, err = s.metrics.Watch(metrics.Sources{
		Requests: s.running.running,
		Services: s.feed.Watching,
		Revocations: func() int {
			_, total := s.state.Revocations(0)
			return total
		},
		Sequence: s.state.Sequence,
		KeyAge:   s.keyAge,
		Healthy:  func() bool { return s.state.Age(s.now()) <= s.outage },
	})
	return err
}

// keyAge returns for how long the active key has signed. Of a key that the
// configuration names nobody knows.
func (s *Server) keyAge() (time.Duration, bool) {
	record := s.authority.Record()
	for _, k := range record.GetKeys() {
		if k.GetId() == record.GetActive() && k.GetActivated() > 0 {
			return max(0, s.now().Sub(time.Unix(k.GetActivated(), 0))), true
		}
	}
	return 0, false
}

// metricsHandler is nil if the edge has no listener for it.
func (s *Server) metricsHandler() http.Handler {
	if s.exporter == nil {
		return nil
	}
	return s.exporter.Handler()
}

func (m *measuring) close() (err error) {
	if m.unwatch != nil {
		err = m.unwatch()
	}
	return errors.Join(err, m.exporter.Close())
}

// count adds a request that has ended to the metrics.
func (x *request) count(ctx context.Context) {
	if x.metrics == nil || x.rules == nil {
		return
	}
	rec, out := &x.record, &x.outcome
	r := metrics.Request{
		Route: rec.Route, Protocol: proxy.Protocol(x.r), Decision: string(rec.Decision), Reason: string(rec.Reason),
		Credential: x.minted != nil || rec.CredentialReason != "", CredentialReason: rec.CredentialReason,
		Forwarded: x.forwarded, Method: x.r.Method, Status: out.Status, Took: rec.Duration, UpstreamFailed: out.Failed,
	}
	issuer := x.claimed
	if x.minted != nil {
		issuer, r.PrincipalBytes = x.minted.Issuer, len(x.minted.Header)
	}
	if x.rules.issuers[issuer] {
		r.Issuer = issuer
	}
	if out.Stream && !out.Answered.IsZero() {
		r.Took = out.Answered.Sub(rec.Time)
	}
	x.metrics.Request(ctx, &r)
}
