package bff_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/onbehalf-dev/onbehalf/bff"
	"github.com/onbehalf-dev/onbehalf/bff/enrich"
)

// measured is the beginning of a configuration that has metrics.
const measured = template + `
listen: {metrics: "127.0.0.1:0"}
`

// metricsURL finds where the metrics of e are.
func (e *edge) metricsURL() string {
	e.t.Helper()
	found := ""
	eventually(e.t, "listen.metrics", func() bool {
		for line := range strings.Lines(e.log.String()) {
			var entry struct {
				Msg      string `json:"msg"`
				Listener string `json:"listener"`
				Address  string `json:"address"`
			}
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "listening" && entry.Listener == "metrics" {
				found = "http://" + entry.Address
			}
		}
		return found != ""
	})
	return found
}

// scrape returns the lines of the metrics, without comments.
func (e *edge) scrape() []string {
	e.t.Helper()
	lines := strings.Split(e.read(e.metricsURL()+"/metrics", http.StatusOK), "\n")
	return slices.DeleteFunc(lines, func(l string) bool { return l == "" || l[0] == '#' })
}

func (e *edge) read(url string, status int) string {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	res := e.send(req)
	if res.StatusCode != status {
		e.t.Fatalf("%s: status %d, want %d", url, res.StatusCode, status)
	}
	return res.Body
}

// has reports whether a line of the metrics begins with a name, has all labels
// and the value.
func has(lines []string, name, value string, labels ...string) bool {
	return slices.ContainsFunc(lines, func(line string) bool {
		return (strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ")) && strings.HasSuffix(line, " "+value) &&
			!slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(line, l) })
	})
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	e := start(t, setup{config: measured})
	alice := e.provider.token("alice", nil)
	e.get("/linked", alice)
	e.get("/linked", alice)
	e.do(http.MethodDelete, "/linked", "garbage", nil)
	e.do(http.MethodGet, "/linked", "", nil)
	e.do(http.MethodGet, "/nowhere", "", nil)
	e.do(http.MethodGet, "/linked", e.provider.token("alice", map[string]any{"aud": "another"}), nil)
	e.do(http.MethodPost, "/public", "", http.Header{"Content-Type": {"application/grpc"}})
	e.get("/public", "")
	lines := e.scrape()
	issuer := fmt.Sprintf("onbehalf_issuer=%q", e.provider.URL)
	for _, want := range [][]string{
		{"onbehalf_requests_total", "2", `http_route="/linked"`, `onbehalf_decision="allowed"`, `onbehalf_reason="none"`, `onbehalf_protocol="http"`},
		{"onbehalf_requests_total", "2", `http_route="/linked"`, `onbehalf_decision="refused"`, `onbehalf_reason="credential"`},
		{"onbehalf_requests_total", "1", `http_route="/linked"`, `onbehalf_reason="missing"`},
		{"onbehalf_requests_total", "1", `http_route="other"`, `onbehalf_reason="no_route"`},
		{"onbehalf_requests_total", "1", `http_route="/public"`, `onbehalf_protocol="grpc"`},
		{"onbehalf_credentials_total", "2", issuer, `onbehalf_reason="none"`},
		{"onbehalf_credentials_total", "1", issuer, `onbehalf_reason="audience"`},
		{"onbehalf_credentials_total", "1", `onbehalf_issuer="other"`, `onbehalf_reason="malformed"`},
		{"onbehalf_credential_lookups_total", "1", `onbehalf_outcome="hit"`},
		{"onbehalf_credential_lookups_total", "3", `onbehalf_outcome="miss"`},
		{"onbehalf_principal_size_bytes_count", "2", `http_route="/linked"`},
		{"http_server_request_duration_seconds_count", "2", `http_route="/linked"`, `http_request_method="GET"`, `onbehalf_status="2xx"`},
		{"onbehalf_upstream_failures_total", "1", `http_route="/public"`}, // gRPC to an upstream of HTTP/1.1
		{"onbehalf_jwks_fetches_total", "1", issuer, `onbehalf_outcome="ok"`},
		{"onbehalf_jwks_age_seconds", "0", issuer},
		{"http_server_active_requests", "0"},
		{"onbehalf_streams", "0"},
		{"onbehalf_store_healthy", "1"},
		{"onbehalf_feed_services", "0"},
		{"onbehalf_revocations", "0"},
		{"onbehalf_key_age_seconds", "0"},
	} {
		if !has(lines, want[0], want[1], want[2:]...) {
			t.Errorf("no line %q in\n%s", want, strings.Join(lines, "\n"))
		}
	}
}

// A stream of an hour is one that is open, and then nothing that took an hour.
func TestStreamsDoNotSpoilDurations(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	e := start(t, setup{config: measured, handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-end
	})})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.public+"/public", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := e.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if line, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil {
		t.Fatal(line, err)
	}
	if lines := e.scrape(); !has(lines, "onbehalf_streams", "1") || !has(lines, "http_server_active_requests", "1") {
		t.Error("the stream is not there:", lines)
	}
	e.clock.advance(time.Hour)
	close(end)
	eventually(t, "the end of the stream", func() bool { return has(e.scrape(), "http_server_active_requests", "0") })
	lines := e.scrape()
	if !has(lines, "http_server_request_duration_seconds_bucket", "1", `http_route="/public"`, `le="0.005"`) || !has(lines, "onbehalf_streams", "0") {
		t.Error(strings.Join(lines, "\n"))
	}
}

// attacker makes up requests. It is used by one goroutine.
type attacker struct {
	e      *edge
	random *rand.Rand
}

const madeUp = "canary"

func (a *attacker) word() string { return fmt.Sprintf("%s%x", madeUp, a.random.Uint64()) }

func (a *attacker) one(list ...string) string { return list[a.random.IntN(len(list))] }

func (a *attacker) method() string {
	return a.one(http.MethodGet, http.MethodPost, http.MethodPut, http.MethodHead, "PURGE", strings.ToUpper(a.word()))
}

func (a *attacker) contentType() http.Header {
	return http.Header{"Content-Type": {a.one("", "application/json", "application/grpc", "application/grpc-web+proto", "application/connect+json", a.word())}}
}

// attack sends a token with a key id, subject and perhaps issuer that nobody has
// heard of, from everywhere.
func (a *attacker) attack(paths ...string) {
	r := httptest.NewRequestWithContext(a.e.t.Context(), a.method(), a.one(paths...)+a.word(), nil)
	r.Host, r.RemoteAddr = a.word()+".test", fmt.Sprintf("[2001:db8:%x:%x::1]:1", a.random.IntN(1<<16), a.random.IntN(1<<16))
	r.Header = a.contentType()
	token := []string{
		fmt.Sprintf(`{"alg":"RS256","typ":"at+jwt","kid":%q}`, a.word()),
		fmt.Sprintf(`{"iss":%q,"sub":%q,"aud":"shop"}`, a.one(a.e.provider.URL, "https://"+a.word()), a.word()),
		a.word(),
	}
	for i := range token {
		token[i] = base64.RawURLEncoding.EncodeToString([]byte(token[i]))
	}
	r.Header.Set("Authorization", "Bearer "+strings.Join(token, "."))
	a.e.server.ServeHTTP(httptest.NewRecorder(), r)
}

// use makes requests that are let in.
func (a *attacker) use(n int) {
	for range n {
		a.e.do(http.MethodGet, "/linked/"+a.word(), a.e.provider.token(a.word(), map[string]any{"client_id": a.word()}), nil)
		a.e.do(a.method(), "/public/"+a.word(), "", a.contentType())
		a.attack("/public/", "/healthz/", "/optional/")
	}
}

// Z03 and Z01: whatever is sent, there are no more series, and nothing of it is in
// them.
func TestSeriesAreConstant(t *testing.T) {
	t.Parallel()
	e := start(t, setup{config: measured + "limits: {failed_credentials: 1000000}\n"})
	paths := []string{"/linked/", "/relay/", "/optional/", "/once/", "/", "/public/../", "/healthz//"}
	requests := 100_000
	if testing.Short() {
		requests = 10_000
	}
	attack := func(seed uint64, n int) []string {
		var all sync.WaitGroup
		const workers = 4
		for i := range uint64(workers) {
			all.Go(func() {
				a := &attacker{e, rand.New(rand.NewPCG(seed, i))}
				for range n / workers {
					a.attack(paths...)
				}
			})
		}
		all.Wait()
		(&attacker{e, rand.New(rand.NewPCG(seed, workers))}).use(150)
		return seriesOf(e.scrape())
	}
	before := attack(1, requests/20)
	after := attack(2, requests)
	t.Log(len(after), "series")
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error("there are other series than before:", diff)
	}
	if len(after) >= 500 {
		t.Errorf("%d series, want less than 500", len(after))
	}
	if all := strings.ToLower(strings.Join(after, "\n")); strings.Contains(all, madeUp) || strings.Contains(all, "eyj") {
		t.Error("what was sent is in the metrics")
	}
}

// seriesOf leaves out the values.
func seriesOf(lines []string) []string {
	list := make([]string, len(lines))
	for i, line := range lines {
		list[i] = line[:strings.LastIndexByte(line, ' ')]
	}
	slices.Sort(list)
	return list
}

// Z08: metrics are on their own listener, and there is nothing else.
func TestMetricsAreNowhereElse(t *testing.T) {
	t.Parallel()
	e := start(t, setup{config: measured})
	own := e.metricsURL()
	for _, path := range []string{"/", "/metrics/", "/metrics/x", "/healthz", "/debug/pprof/", "/onbehalf.bff.v1.AdminService/ListKeys"} {
		e.read(own+path, http.StatusNotFound)
	}
	for _, elsewhere := range []string{e.public, e.mesh, e.admin} {
		for _, path := range []string{"/metrics", "/metrics/", "//metrics", "/./metrics", "/%6detrics", "/admin/../metrics", "/metrics;x=1", "/metrics?x=1"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, elsewhere+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = strings.TrimPrefix(own, "http://")
			if res := e.send(req); res.StatusCode < 400 || strings.Contains(res.Body, "onbehalf_") {
				t.Errorf("%s%s: status %d", elsewhere, path, res.StatusCode)
			}
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, own+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	if res := e.send(req); res.StatusCode != http.StatusMethodNotAllowed {
		t.Error("POST:", res.Status)
	}
}

// docs/metrics.md says what there is: each name, its kind and its labels.
func TestMetricsTable(t *testing.T) {
	t.Parallel()
	slow := make(chan struct{})
	config := strings.Replace(measured, "routes:\n", "enrich: {cache: 1s}\nroutes:\n", 1)
	e := start(t, setup{config: config, options: []bff.Option{bff.WithEnricher(flaky{slow})}})
	alice := e.provider.token("alice", nil)
	e.get("/linked", alice)
	close(slow)
	e.clock.advance(2 * time.Minute)
	e.get("/linked", alice) // by an old answer
	e.do(http.MethodPost, "/public", "", http.Header{"Content-Type": {"application/grpc"}})
	if err := e.server.Reload(e.load(fmt.Sprintf(config, e.provider.URL, e.upstream.URL))); err != nil {
		t.Fatal(err)
	}
	got := families(e.read(e.metricsURL()+"/metrics", http.StatusOK))
	data, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]string)
	row := regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\|([^|]*)\\|")
	for _, m := range row.FindAllStringSubmatch(string(data), -1) {
		labels := strings.Fields(strings.ReplaceAll(m[3], "`", ""))
		slices.Sort(labels)
		want[m[1]] = m[2] + " " + strings.Join(labels, " ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("docs/metrics.md (-) and the metrics (+) differ:", diff)
	}
}

// families returns the kind and the labels of each metric.
func families(text string) map[string]string {
	kinds, labels := make(map[string]string), make(map[string]map[string]bool)
	label := regexp.MustCompile(`(\w+)="`)
	current := ""
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "# TYPE "):
			current = fields[2]
			kinds[current], labels[current] = fields[3], make(map[string]bool)
		case !strings.HasPrefix(line, "#"):
			for _, m := range label.FindAllStringSubmatch(line, -1) {
				if m[1] != "le" {
					labels[current][m[1]] = true
				}
			}
		}
	}
	for name := range kinds {
		kinds[name] += " " + strings.Join(slices.Sorted(maps.Keys(labels[name])), " ")
	}
	return kinds
}

// flaky answers until it is closed.
type flaky struct{ closed chan struct{} }

func (f flaky) Enrich(context.Context, *enrich.Input) (*enrich.Output, error) {
	select {
	case <-f.closed:
		return nil, errors.New("closed")
	default:
		return &enrich.Output{Workspace: "w"}, nil
	}
}

func TestMeterProviderAndListener(t *testing.T) {
	t.Parallel()
	cfg := &bff.Config{
		Version: 1, Issuer: "https://edge.test", DataDir: t.TempDir(), Listen: bff.Listen{Metrics: "127.0.0.1:0"},
		Routes: []bff.Route{{PathPrefix: "/", Upstream: "http://127.0.0.1:1", Auth: bff.AuthNone}},
	}
	err := bff.Check(cfg, bff.WithMeterProvider(noop.NewMeterProvider()))
	if err == nil || !strings.HasPrefix(err.Error(), "listen.metrics: ") {
		t.Error(err)
	}
	cfg.Listen.Metrics = ""
	if err := bff.Check(cfg, bff.WithMeterProvider(noop.NewMeterProvider())); err != nil {
		t.Error(err)
	}
}
