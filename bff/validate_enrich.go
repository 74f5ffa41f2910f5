package bff

import (
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/enrichment"
)

// enrich checks all that does not depend on [WithEnricher].
func (v *validator) enrich(e *Enrich) {
	switch {
	case e.Table != "" && len(e.Rows) > 0:
		v.problemf("enrich.rows", "the table is a file already; remove rows or table")
	case e.tabled() && e.URL != "":
		v.problemf("enrich.url", "the facts stand in a table already; remove url, or table and rows")
	}
	v.found = append(v.found, rowProblems("enrich.rows", e.Rows)...)
	v.enricher(e)
	switch e.OnFailure {
	case RefuseRequests, ServeRequests, "":
	default:
		v.problemf("enrich.on_failure", "%.64q is unknown; write refuse or serve", e.OnFailure)
	}
	if e.tabled() && e.timed() {
		v.problemf("enrich", "timeout, cache, max_stale and per_session are of no use with a table; remove them")
		return
	}
	own := *e
	own.setDefaults()
	between(v, "enrich.timeout", own.Timeout, time.Millisecond, 5*time.Second)
	between(v, "enrich.cache", own.Cache, time.Second, time.Hour)
	between(v, "enrich.max_stale", own.MaxStale, own.Cache, 24*time.Hour)
}

// enricher checks how it is called.
func (v *validator) enricher(e *Enrich) {
	for _, setting := range []struct{ key, value string }{
		{"protocol", string(e.Protocol)}, {"ca", e.CA}, {"client_cert", e.ClientCert}, {"client_key", e.ClientKey},
	} {
		if setting.value != "" && e.URL == "" {
			v.problemf("enrich."+setting.key, "is for an enricher that is called; remove it, or write url")
		}
	}
	if e.URL == "" {
		return
	}
	if err := enrichment.CheckURL(e.URL); err != nil {
		v.problemf("enrich.url", "%.64q %v", e.URL, err)
	}
	if _, known := protocols[e.Protocol]; !known {
		v.problemf("enrich.protocol", "%.64q is unknown; write http, connect or grpc", e.Protocol)
	}
	v.clientPair("enrich", e.ClientCert, e.ClientKey)
}

// clientPair checks the certificate that the edge shows, whose keys are below at.
func (v *validator) clientPair(at, cert, key string) {
	switch {
	case cert == "" && key != "":
		v.problemf(at+".client_cert", "missing; name the file of the certificate, or remove client_key")
	case cert != "" && key == "":
		v.problemf(at+".client_key", "missing; name the file of the private key, or remove client_cert")
	}
}

// enricherOption checks e together with [WithEnricher], which LoadConfig does not
// know.
func (e *Enrich) enricherOption(given bool) []problem {
	configured := e.tabled() || e.URL != ""
	switch {
	case given && configured:
		return []problem{{"enrich", "the program brings an enricher of its own; remove table, rows and url"}}
	case !given && !configured && (e.timed() || e.OnFailure != ""):
		return []problem{{"enrich", "nothing is added; write url, table or rows, or remove it"}}
	default:
		return nil
	}
}
