package bff

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/enrich"
	"github.com/onbehalf-dev/onbehalf/bff/internal/certs"
	"github.com/onbehalf-dev/onbehalf/bff/internal/enrichment"
)

// EnrichProtocol is how an enricher is called.
type EnrichProtocol string

// The protocols.
const (
	// EnrichHTTP posts JSON with issuer, subject, kind and, if there are any,
	// tenant and session. The answer is JSON with workspace, roles and attributes.
	EnrichHTTP EnrichProtocol = "http"
	// EnrichConnect and EnrichGRPC call onbehalf.bff.v1.EnrichmentService.
	EnrichConnect EnrichProtocol = "connect"
	EnrichGRPC    EnrichProtocol = "grpc"
)

// Enrich says where facts come from that credentials do not have: workspace,
// roles and attributes, see package enrich. At most one of Table, Rows and URL is
// set. Facts are as old as Cache and [Limits.MintWindow] together; a service that
// renews a principal, for a stream, keeps those that it has.
type Enrich struct {
	// Table is a YAML file with the key rows, a list as in Rows. Default: none.
	Table string `yaml:"table"`

	// Rows are the table itself. Default: none.
	Rows []enrich.Row `yaml:"rows"`

	// URL is where to ask: https, or http to the loopback interface. With connect
	// and grpc the service is below it. Redirects are refused, and answers of more
	// than 64 KiB. Default: nobody is asked.
	URL string `yaml:"url"`

	// Protocol is http, connect or grpc. Default: http.
	Protocol EnrichProtocol `yaml:"protocol"`

	// CA is a PEM file with the authorities that may vouch for an https URL.
	// Default: those of the system.
	CA string `yaml:"ca"`

	// ClientCert and ClientKey are PEM files with the certificate that the edge
	// shows, and its private key. Default: none.
	ClientCert string `yaml:"client_cert"`
	ClientKey  string `yaml:"client_key"`

	// Timeout is how long a request waits for the answer. Default: 200ms. At most
	// 5s.
	Timeout time.Duration `yaml:"timeout"`

	// Cache is how long an answer is used without asking again. Default: 1m. At
	// most 1h.
	Cache time.Duration `yaml:"cache"`

	// MaxStale is how long an answer is used while asking again fails, from when
	// it was given. Default: 10m, or Cache if that is longer. At most 24h.
	MaxStale time.Duration `yaml:"max_stale"`

	// OnFailure is refuse or serve: what happens to requests for whose subject
	// nothing is known, or what is known breaks a limit. With refuse they are
	// answered 503, with serve they go on without what would be added. Default:
	// refuse.
	OnFailure FailureAction `yaml:"on_failure"`

	// PerSession tells the enricher the login session, and asks for each anew.
	// Default: false.
	PerSession bool `yaml:"per_session"`
}

var protocols = map[EnrichProtocol]enrichment.Protocol{
	EnrichHTTP: enrichment.HTTP, EnrichConnect: enrichment.Connect, EnrichGRPC: enrichment.GRPC,
}

// tabled reports whether the facts stand in a table.
func (e *Enrich) tabled() bool { return e.Table != "" || len(e.Rows) > 0 }

// timed reports whether something is set that only an enricher that is asked has
// a use for.
func (e *Enrich) timed() bool {
	return e.Timeout != 0 || e.Cache != 0 || e.MaxStale != 0 || e.PerSession
}

// setDefaults fills in what is left open if the facts come from a URL or from
// [WithEnricher].
func (e *Enrich) setDefaults() {
	or(&e.Timeout, 200*time.Millisecond)
	or(&e.Cache, time.Minute)
	or(&e.MaxStale, max(10*time.Minute, e.Cache))
	or(&e.OnFailure, RefuseRequests)
	if e.URL != "" {
		or(&e.Protocol, EnrichHTTP)
	}
}

// enrichment returns what c and o say, or nil. It reads the files that c names;
// stop is called in the end.
func (c *Config) enrichment(o *options) (_ *enrichment.Source, stop func() error, err error) {
	e := c.Enrich // a copy
	e.setDefaults()
	stop = func() error { return nil }
	enricher := o.enricher
	switch {
	case e.tabled():
		rows, err := e.rows(o.log)
		if err != nil {
			return nil, stop, err
		}
		enricher = enrichment.NewTable(rows)
	case e.URL != "":
		caller, err := e.open(o)
		if err != nil {
			return nil, stop, err
		}
		enricher, stop = caller, caller.Close
	case enricher == nil:
		return nil, stop, nil
	}
	return enrichment.New(enrichment.Settings{
		Enricher: enricher, Issuer: c.Issuer, Timeout: e.Timeout, Cache: e.Cache, MaxStale: e.MaxStale,
		Serve: e.OnFailure == ServeRequests, PerSession: e.PerSession, Entries: c.Limits.Credentials,
		Metrics: o.metrics, Logger: o.log, Now: o.now,
	}), stop, nil
}

// open returns the enricher at URL.
func (e *Enrich) open(o *options) (*enrichment.Caller, error) {
	remote := enrichment.Remote{URL: e.URL, Protocol: protocols[e.Protocol]}
	client, err := TLS{Cert: e.ClientCert, Key: e.ClientKey}.open("enrich.client_cert", o)
	if err != nil {
		return nil, err
	}
	if client != nil {
		remote.ClientCertificate = client.Client
	}
	if e.CA != "" {
		if remote.RootCAs, err = certs.Pool(e.CA); err != nil {
			return nil, fmt.Errorf("enrich.ca: %w", err)
		}
	}
	caller, err := enrichment.NewCaller(remote)
	if err != nil {
		return nil, fmt.Errorf("enrich.url: %w", err)
	}
	return caller, nil
}

// rows returns the table. The log has a line for each row that takes over half of
// what fits.
func (e *Enrich) rows(log *slog.Logger) ([]enrich.Row, error) {
	rows, at, prefix := e.Rows, new(location), "enrich.rows"
	if e.Table != "" {
		var err error
		if rows, at, err = readTable(e.Table); err != nil {
			return nil, err
		}
		prefix = "rows"
	}
	for i := range rows {
		out := enrichment.OutputOf(&rows[i])
		if near := enrichment.Near(&out); near != nil {
			where := at.err(problem{fmt.Sprintf("%s[%d].%s", prefix, i, near.Field), near.Text})
			log.LogAttrs(context.Background(), slog.LevelWarn, "a row of the enrichment table is near its limit", slog.String("row", where.Error()))
		}
	}
	return rows, nil
}

// readTable reads and checks a table. Its error has a line for each mistake.
func readTable(path string) ([]enrich.Row, *location, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("enrich.table: %w", err)
	}
	at := &location{file: path}
	if len(data) > maxTable {
		return nil, nil, at.err(problem{text: "is longer than 16 MiB; ask a service instead, with enrich.url"})
	}
	var file struct {
		Rows []enrich.Row `yaml:"rows"`
	}
	errs := at.decode(data, &file)
	if errs == nil && len(file.Rows) == 0 {
		errs = append(errs, at.err(problem{"rows", "missing; write what is added for whom"}))
	}
	for _, p := range rowProblems("rows", file.Rows) {
		errs = append(errs, at.err(p))
	}
	return file.Rows, at, errors.Join(errs...)
}

// maxTable is what is read at a start in a moment.
const maxTable = 16 << 20

func rowProblems(prefix string, rows []enrich.Row) []problem {
	var found []problem
	for i := range rows {
		for _, p := range enrichment.CheckRow(&rows[i]) {
			path := fmt.Sprintf("%s[%d]", prefix, i)
			if p.Field != "" {
				path += "." + p.Field
			}
			found = append(found, problem{path, p.Text})
		}
	}
	return found
}

// unenriched says why nothing could be added, in words of the edge.
func unenriched(err error) string {
	if f, ok := errors.AsType[*enrichment.Error](err); ok {
		return f.Error()
	}
	return ""
}

// closer is an [io.Closer] of one function.
type closer func() error

func (c closer) Close() error { return c() }
