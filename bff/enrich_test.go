package bff_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/bff"
	"github.com/onbehalf-dev/onbehalf/bff/enrich"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// enricher is somebody's program that answers with a text.
type enricher struct {
	*httptest.Server

	calls  atomic.Int32
	answer atomic.Pointer[string]
}

func newEnricher(t *testing.T, answer string) *enricher {
	t.Helper()
	e := new(enricher)
	e.answer.Store(&answer)
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		e.calls.Add(1)
		if answer := *e.answer.Load(); answer != "" {
			_, _ = io.WriteString(w, answer)
			return
		}
		w.WriteHeader(http.StatusInternalServerError)
	}))
	t.Cleanup(e.Close)
	return e
}

const facts = `{"workspace":"acme","roles":["buyer"],"attributes":{"plan":"gold"}}`

func attribute(p *principal.Principal, name string) string {
	value, _ := p.Attribute(name)
	return value
}

func TestEnrichedPrincipal(t *testing.T) {
	t.Parallel()
	remote := newEnricher(t, facts)
	e := start(t, setup{extra: "enrich: {url: " + remote.URL + ", timeout: 5s}\n"})
	token := e.provider.token("alice", nil)
	plain := start(t, setup{})
	without := plain.principal("orders", plain.get("/linked", plain.provider.token("alice", nil)))

	first := e.get("/linked", token)
	p := e.principal("orders", first)
	if !slices.Equal(p.Roles(), []string{"buyer"}) || attribute(p, enrich.WorkspaceAttribute) != "acme" || attribute(p, "plan") != "gold" {
		t.Error(p, p.Attributes())
	}
	if !slices.Equal(p.Scopes(), without.Scopes()) || p.Kind() != without.Kind() || p.ClientID() != without.ClientID() ||
		len(p.Delegations()) != 0 || p.ExpiresAt().Sub(p.IssuedAt()) != without.ExpiresAt().Sub(without.IssuedAt()) {
		t.Errorf("more than roles and attributes has changed: %v, without: %v", p, without)
	}
	if e.get("/linked", token).Get(principal.HeaderName) != first.Get(principal.HeaderName) {
		t.Error("the principal of a window is not shared")
	}
	if p := e.principal("orders", e.get("/once", token)); !p.HasRole("buyer") {
		t.Error(p)
	}
	e.get("/linked", e.provider.token("alice", nil))
	if calls := remote.calls.Load(); calls != 1 {
		t.Errorf("%d calls", calls)
	}
	e.get("/public", token)
	e.do(http.MethodGet, "/relay", forged(t, e.provider), nil)
	e.get("/optional", "")
	if calls := remote.calls.Load(); calls != 1 {
		t.Errorf("%d calls; it is asked for who has no good credential", calls)
	}
	if r := e.records()[0]; r.text("detail") != "" || r.text("principal.roles") != "[buyer]" {
		t.Error(r)
	}
}

// Whatever an enricher answers, it has no word in scopes, identity and time.
func TestEnricherThatWantsMore(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		`{"roles":["buyer"],"scopes":["orders:admin"]}`, `{"subject":"hm-root"}`, `{"expires_at":9999999999}`, `{"delegations":[]}`,
		`{"roles":["adm\u202ein"]}`, `{"workspace":"a\u0000b"}`, `{"roles":["` + strings.Repeat("secret", 60) + `"]}`,
		`{"attributes":{"a":"` + strings.Repeat("x", 10<<20) + `"}}`, "",
	} {
		e := start(t, setup{extra: "enrich: {url: " + newEnricher(t, answer).URL + ", timeout: 5s}\n"})
		before := e.upstream.count()
		res := e.do(http.MethodGet, "/relay", e.provider.token("alice", nil), nil)
		if want := `{"code":"unavailable","message":"the service is unavailable, try again later"}`; res.StatusCode != http.StatusServiceUnavailable || res.Body != want {
			t.Errorf("%.50s: %d %s", answer, res.StatusCode, res.Body)
		}
		rpc := e.do(http.MethodPost, "/relay", e.provider.token("alice", nil), http.Header{"Content-Type": {"application/grpc"}})
		if rpc.Header.Get("Grpc-Status") != "14" || e.upstream.count() != before {
			t.Errorf("%.50s: %v", answer, rpc.Header)
		}
		for _, r := range e.records() {
			if r.text("decision") != "refused" || r.text("reason") != "enrichment" || !strings.HasPrefix(r.text("detail"), "enrichment: ") {
				t.Error(r)
			}
			if text := fmt.Sprint(r, e.log.String()); strings.Contains(text, "secret") || strings.Contains(text, "root") {
				t.Error(text)
			}
		}
	}
}

func TestServeWithoutEnrichment(t *testing.T) {
	t.Parallel()
	remote := newEnricher(t, `{"roles":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"]}`)
	e := start(t, setup{extra: "enrich: {url: " + remote.URL + ", timeout: 5s, on_failure: serve}\n"})
	token := e.provider.token("alice", nil)
	if p := e.principal("orders", e.get("/linked", token)); len(p.Roles()) != 0 || !p.HasScope("orders:write") {
		t.Error(p)
	}
	well := facts
	remote.answer.Store(&well)
	e.clock.advance(5 * time.Second) // sooner than after a window
	if p := e.principal("orders", e.get("/linked", token)); !p.HasRole("buyer") {
		t.Error(p)
	}
	var details []string
	for _, r := range e.records() {
		if r.text("decision") != "allowed" || r.text("reason") != "" {
			t.Error(r)
		}
		details = append(details, r.text("detail"))
	}
	if !slices.Equal(details, []string{"enrichment: roles: 17 of them, at most 16", ""}) {
		t.Error(details)
	}
	if log := e.log.String(); !strings.Contains(log, "roles: 17 of them, at most 16") {
		t.Error(log)
	}
}

func TestOldFacts(t *testing.T) {
	t.Parallel()
	remote := newEnricher(t, facts)
	e := start(t, setup{extra: "enrich: {url: " + remote.URL + ", timeout: 5s, cache: 1m, max_stale: 3m}\n"})
	token := e.provider.token("alice", nil)
	e.get("/linked", token)
	down := ""
	remote.answer.Store(&down)
	e.clock.advance(2 * time.Minute)
	if p := e.principal("orders", e.get("/linked", token)); !p.HasRole("buyer") {
		t.Error(p)
	}
	e.clock.advance(time.Minute)
	if res := e.do(http.MethodGet, "/linked", token, nil); res.StatusCode != http.StatusServiceUnavailable {
		t.Error(res.StatusCode)
	}
}

// ownEnricher is one of the program's own.
type ownEnricher func(in *enrich.Input) (*enrich.Output, error)

func (f ownEnricher) Enrich(_ context.Context, in *enrich.Input) (*enrich.Output, error) {
	return f(in)
}

func TestOwnEnricher(t *testing.T) {
	t.Parallel()
	broken := false
	own := ownEnricher(func(in *enrich.Input) (*enrich.Output, error) {
		if broken {
			return nil, errors.New("secret")
		}
		return &enrich.Output{Workspace: in.Subject + " of " + in.Kind}, nil
	})
	e := start(t, setup{options: []bff.Option{bff.WithEnricher(own)}, extra: "enrich: {cache: 1s, max_stale: 1s, timeout: 5s}\n"})
	token := e.provider.token("x", map[string]any{"service": "billing"})
	if p := e.principal("orders", e.get("/linked", token)); attribute(p, "workspace") != "svc-billing of service" {
		t.Error(p)
	}
	broken = true
	e.clock.advance(time.Minute)
	if res := e.do(http.MethodGet, "/linked", token, nil); res.StatusCode != http.StatusServiceUnavailable || strings.Contains(e.log.String(), "secret") {
		t.Error(res.StatusCode, e.log.String())
	}
}

func TestTableIsReloaded(t *testing.T) {
	t.Parallel()
	table := filepath.Join(t.TempDir(), "facts.yaml")
	write := func(role string) {
		if err := os.WriteFile(table, []byte("rows: [{subject: svc-billing, roles: ["+role+"]}, {issuer: nobody, workspace: x}]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("payer")
	e := start(t, setup{extra: "enrich: {table: " + table + "}\n"})
	token := e.provider.token("x", map[string]any{"service": "billing"})
	if p := e.principal("orders", e.get("/linked", token)); !slices.Equal(p.Roles(), []string{"payer"}) || len(p.Attributes()) != 0 {
		t.Error(p)
	}
	write("auditor")
	if err := e.server.Reload(e.load(e.changed() + "enrich: {table: " + table + "}\n")); err != nil {
		t.Fatal(err)
	}
	if p := e.principal("orders", e.get("/linked", token)); !slices.Equal(p.Roles(), []string{"auditor"}) {
		t.Error(p)
	}
	write("\"\\u202e\"")
	if err := e.server.Reload(e.load(e.changed() + "enrich: {table: " + table + "}\n")); err == nil {
		t.Error("a bad table was put in force")
	}
}

func TestEnrichConfig(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"{}": nil,
		"{url: https://facts.internal/x, protocol: grpc, ca: ca.pem, client_cert: c.pem, client_key: k.pem, timeout: 1s, cache: 20m}": nil,
		"{url: http://facts.internal}":                               {":4: enrich.url: \"http://facts.internal\" is not https"},
		"{url: https://facts.internal, protocol: soap}":              {":4: enrich.protocol: \"soap\" is unknown; write http, connect or grpc"},
		"{url: https://facts.internal, timeout: 6s}":                 {":4: enrich.timeout: 6s is out of range"},
		"{url: https://facts.internal, max_stale: 30s}":              {":4: enrich.max_stale: 30s is out of range; write 1m0s to"},
		"{url: https://facts.internal, on_failure: ignore}":          {":4: enrich.on_failure: \"ignore\" is unknown; write refuse or serve"},
		"{url: https://facts.internal, client_key: k.pem}":           {":4: enrich.client_cert: missing"},
		"{url: https://facts.internal, table: t.yaml}":               {":4: enrich.url: the facts stand in a table already"},
		"{table: t.yaml, timeout: 1s}":                               {":4: enrich: timeout, cache, max_stale and per_session are of no use with a table"},
		"{protocol: grpc}":                                           {":4: enrich.protocol: is for an enricher that is called; remove it, or write url"},
		"\n  rows:\n    - {subject: svc-a, roles: [x], scopes: [y]}": {":6: enrich.rows[0].scopes: unknown key"},
		"\n  rows:\n    - {subject: a, roles: [x]}\n    - {roles: [x]}\n    - {role: a, attributes: {a: \"\\0\"}}": {
			":6: enrich.rows[0].subject: is not a subject", ":7: enrich.rows[1]: fits everybody",
			":8: enrich.rows[2].attributes[0].value: has a control character",
		},
	} {
		path := filepath.Join(t.TempDir(), "onbehalf.yaml")
		file := "version: 1\nissuer: https://edge.test\nroutes: [{path_prefix: /, upstream: \"http://127.0.0.1:1\", auth: none}]\nenrich: " + text + "\n"
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := bff.LoadConfig(path)
		if (err == nil) != (want == nil) {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for _, line := range want {
			if !strings.Contains(err.Error(), path+line) {
				t.Errorf("%s: %v, want %s", text, err, line)
			}
		}
	}
}

func TestCheckOfEnrichment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	table := filepath.Join(dir, "facts.yaml")
	own := ownEnricher(func(*enrich.Input) (*enrich.Output, error) { return new(enrich.Output), nil })
	check := func(e bff.Enrich, opts ...bff.Option) (string, error) {
		log := new(buffer)
		err := bff.Check(&bff.Config{
			Version: 1, Issuer: "https://edge.test", DataDir: filepath.Join(dir, "data"), Enrich: e,
			Routes: []bff.Route{{PathPrefix: "/", Upstream: "http://127.0.0.1:1", Auth: bff.AuthNone}},
		}, append(opts, bff.WithLogger(slog.New(slog.NewTextHandler(log, nil))))...)
		return log.String(), err
	}
	for name, tt := range map[string]struct {
		table     string
		enrich    bff.Enrich
		options   []bff.Option
		want, log string
	}{
		"in order": {table: "rows: [{subject: svc-a, roles: [x]}]"},
		"near": {
			table: "rows:\n  - {subject: svc-b, roles: [x]}\n  - {subject: svc-a, roles: [a, b, c, d, e, f, g, h, i]}",
			log:   "facts.yaml:3: rows[1].roles: 9 of at most 16",
		},
		"beyond": {
			table: "rows:\n  - subject: svc-a\n    workspace: " + strings.Repeat("x", 300),
			want:  "facts.yaml:3: rows[0].workspace: 300 bytes, at most 256",
		},
		"unknown key": {table: "rows:\n  - subject: svc-a\n    scopes: [x]", want: "facts.yaml:3: rows[0].scopes: unknown key"},
		"empty":       {table: "rows: []", want: "facts.yaml:1: rows: missing"},
		"two lists":   {table: "rows: [{subject: svc-a, roles: [x]}]\nrows: []", want: "facts.yaml:2: rows: stands in line 1 too"},
		"no table":    {enrich: bff.Enrich{Table: filepath.Join(dir, "none.yaml")}, want: "enrich.table: open "},
		"no ca":       {enrich: bff.Enrich{URL: "https://facts.internal", CA: filepath.Join(dir, "none.pem")}, want: "enrich.ca: open "},
		"no source":   {enrich: bff.Enrich{Timeout: time.Second}, want: "enrich: nothing is added"},
		"own":         {enrich: bff.Enrich{Timeout: time.Second}, options: []bff.Option{bff.WithEnricher(own)}},
		"own and another": {
			enrich: bff.Enrich{URL: "https://facts.internal"}, options: []bff.Option{bff.WithEnricher(own)},
			want: "enrich: the program brings an enricher of its own",
		},
	} {
		if tt.table != "" {
			if err := os.WriteFile(table, []byte(tt.table), 0o600); err != nil {
				t.Fatal(err)
			}
			tt.enrich.Table = table
		}
		log, err := check(tt.enrich, tt.options...)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
		if tt.log == "" && log != "" || !strings.Contains(log, tt.log) {
			t.Errorf("%s: %s, want %s", name, log, tt.log)
		}
	}
}

func TestEnrichDefaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	load := func(text string) bff.Enrich {
		path := filepath.Join(dir, "onbehalf.yaml")
		file := "version: 1\nissuer: https://edge.test\nroutes: [{path_prefix: /, upstream: \"http://127.0.0.1:1\", auth: none}]\nenrich: " + text + "\n"
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := bff.LoadConfig(path)
		if err != nil {
			t.Fatal(err)
		}
		return cfg.Enrich
	}
	for text, want := range map[string]bff.Enrich{
		"{url: https://facts.internal, ca: ca.pem, per_session: true}": {
			URL: "https://facts.internal", Protocol: bff.EnrichHTTP, CA: filepath.Join(dir, "ca.pem"), Timeout: 200 * time.Millisecond,
			Cache: time.Minute, MaxStale: 10 * time.Minute, OnFailure: bff.RefuseRequests, PerSession: true,
		},
		"{url: https://facts.internal, protocol: connect, cache: 20m, on_failure: serve, timeout: 1s, client_cert: /c, client_key: k}": {
			URL: "https://facts.internal", Protocol: bff.EnrichConnect, Timeout: time.Second, Cache: 20 * time.Minute,
			MaxStale: 20 * time.Minute, OnFailure: bff.ServeRequests, ClientCert: "/c", ClientKey: filepath.Join(dir, "k"),
		},
		"{table: facts.yaml}": {Table: filepath.Join(dir, "facts.yaml")},
		"{rows: [{issuer: i, tenant: t, subject: svc-s, role: r, workspace: w, roles: [x], attributes: {a: b}}]}": {Rows: []enrich.Row{{
			Issuer: "i", Tenant: "t", Subject: "svc-s", Role: "r", Workspace: "w", Roles: []string{"x"}, Attributes: map[string]string{"a": "b"},
		}}},
	} {
		if d := cmp.Diff(want, load(text)); d != "" {
			t.Errorf("%s: %s", text, d)
		}
	}
}

// An enricher of one's own is asked for those whose credentials are good.
func ExampleWithEnricher() {
	directory := map[string]string{"svc-billing": "acme"}
	facts := ownEnricher(func(in *enrich.Input) (*enrich.Output, error) {
		return &enrich.Output{Workspace: directory[in.Subject]}, nil
	})
	err := bff.Check(&bff.Config{
		Version: 1,
		Issuer:  "https://edge.example",
		Enrich:  bff.Enrich{Timeout: 50 * time.Millisecond, OnFailure: bff.ServeRequests},
		Routes:  []bff.Route{{PathPrefix: "/", Upstream: "http://127.0.0.1:8081", Auth: bff.AuthNone}},
	}, bff.WithEnricher(facts))
	fmt.Println(err)
	// Output: <nil>
}
