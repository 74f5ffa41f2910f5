package metrics

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
)

// Path is where [Exporter.Handler] serves.
const Path = "/metrics"

// maxSeries is for each instrument. It is far beyond what a configuration makes,
// and below what would be felt.
const maxSeries = 20_000

// Exporter keeps metrics until they are read. It is safe for concurrent use.
type Exporter struct {
	provider *sdkmetric.MeterProvider
	registry *prometheus.Registry
	log      *slog.Logger
}

// NewExporter returns an exporter with a registry of its own.
func NewExporter(log *slog.Logger) (*Exporter, error) {
	registry := prometheus.NewRegistry()
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo(), otelprometheus.WithoutTargetInfo())
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	provider := sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(reader), sdkmetric.WithCardinalityLimit(maxSeries), sdkmetric.WithExemplarFilter(exemplar.AlwaysOffFilter),
	)
	return &Exporter{provider: provider, registry: registry, log: log}, nil
}

// Provider is what to measure with.
func (e *Exporter) Provider() metric.MeterProvider { return e.provider }

// Handler serves the text format of Prometheus at [Path], and 404 everywhere else.
func (e *Exporter) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+Path, promhttp.HandlerFor(e.registry, promhttp.HandlerOpts{
		ErrorLog: failures{e.log}, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4,
	}))
	return mux
}

// Close ends the collection.
func (e *Exporter) Close() error {
	if e == nil {
		return nil
	}
	return e.provider.Shutdown(context.Background())
}

// failures logs what could not be collected. The texts are of instruments.
type failures struct{ log *slog.Logger }

func (f failures) Println(v ...any) { f.log.Error("metrics cannot be read", "error", fmt.Sprint(v...)) }
