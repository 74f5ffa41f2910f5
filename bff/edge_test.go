package bff_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
)

// edge is a running edge, with a provider of tokens and an upstream.
type edge struct {
	t        *testing.T
	provider *provider
	upstream *upstream
	clock    *clock
	log      *buffer
	client   *http.Client

	dir                 string
	public, mesh, admin string // URLs
	server              *bff.Server
	stop                func() error
}

// template is the configuration of most tests. %[1]s is the issuer of tokens,
// %[2]s the upstream.
const template = `
version: 1
issuer: https://edge.test
trust_domain: mesh:test
issuers:
  - issuer: %[1]s
    audience: [shop]
    kinds:
      - kind: service
        when: {claim: service, present: true}
      - kind: human
        when: {claim: sub, present: true}
    service: {claim: service}
audit: {file: audit.jsonl}
routes:
  - {path_prefix: /relay, upstream: "%[2]s", mode: relay}
  - {path_prefix: /again, upstream: "%[2]s", mode: relay}
  - {path_prefix: /linked, upstream: "%[2]s", audience: orders}
  - {path_prefix: /short, upstream: "%[2]s", audience: orders, max_links: 0}
  - {path_prefix: /once, upstream: "%[2]s", audience: orders, mint: request}
  - {path_prefix: /optional, upstream: "%[2]s", auth: optional, mode: relay}
  - {path_prefix: /public, upstream: "%[2]s", auth: none}
  - {path_prefix: /healthz, upstream: "%[2]s", auth: none}
`

type setup struct {
	config   string // instead of template
	extra    string // lines at the end of the configuration
	options  []bff.Option
	provider *provider
	handler  http.Handler // the upstream's
	mesh     net.Listener
	fails    bool // while it runs
	realTime bool // instead of the clock of the test
}

func start(t *testing.T, s setup) *edge {
	t.Helper()
	e := &edge{t: t, clock: newClock(), log: new(buffer), provider: s.provider, dir: t.TempDir()}
	if e.provider == nil {
		e.provider = newProvider(t, e.clock.now)
	}
	e.upstream = newUpstream(t, s.handler)
	e.restart(s)
	return e
}

// restart starts the edge, again if it was stopped, on the same directory.
func (e *edge) restart(s setup) {
	t := e.t
	t.Helper()
	if s.config == "" {
		s.config = template
	}
	cfg := e.load(fmt.Sprintf(s.config+s.extra+"%[3]s", e.provider.URL, e.upstream.URL, ""))
	if s.mesh == nil {
		s.mesh = listen(t)
	}
	listeners := bff.Listeners{Public: listen(t), Mesh: s.mesh, Admin: listen(t)}
	e.public, e.mesh, e.admin = base(listeners.Public), base(listeners.Mesh), base(listeners.Admin)
	if s.realTime {
		s.options = append(s.options, bff.WithClock(time.Now))
	}
	server, err := bff.New(cfg, append([]bff.Option{
		bff.WithLogger(slog.New(slog.NewJSONHandler(e.log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
		bff.WithClock(e.clock.now),
		bff.WithListeners(listeners),
	}, s.options...)...)
	if err != nil {
		t.Fatal(err)
	}
	e.server = server
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	e.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	e.client = &http.Client{Transport: &http.Transport{DisableCompression: true}}
	t.Cleanup(func() {
		e.client.CloseIdleConnections()
		if err := e.stop(); (err != nil) != s.fails {
			t.Error(err)
		}
		e.plantFiles()
	})
}

// load writes and reads a configuration.
func (e *edge) load(text string) *bff.Config {
	e.t.Helper()
	path := filepath.Join(e.dir, "onbehalf.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
	cfg, err := bff.LoadConfig(path)
	if err != nil {
		e.t.Fatal(err)
	}
	return cfg
}

// do makes a request, with a token unless that is empty.
func (e *edge) do(method, path, token string, header http.Header) *reply {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), method, e.public+path, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return e.send(req)
}

// reply is a response that was read.
type reply struct {
	Status, Proto   string
	StatusCode      int
	Header, Trailer http.Header
	Body            string
}

func (e *edge) send(req *http.Request) *reply {
	e.t.Helper()
	res, err := e.client.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return &reply{res.Status, res.Proto, res.StatusCode, res.Header, res.Trailer, string(body)}
}

// get makes a request that is to succeed, and returns what the upstream saw.
func (e *edge) get(path, token string) http.Header {
	e.t.Helper()
	if res := e.do(http.MethodGet, path, token, nil); res.StatusCode != http.StatusOK {
		e.t.Fatalf("%s: status %d", path, res.StatusCode)
	}
	return e.upstream.last()
}

// principal returns the one principal that a service that trusts the keys of
// the edge finds in h.
func (e *edge) principal(service string, h http.Header) *principal.Principal {
	e.t.Helper()
	values := h[http.CanonicalHeaderKey(principal.HeaderName)]
	if len(values) != 1 {
		e.t.Fatalf("%d principals, want 1", len(values))
	}
	verifier, err := principal.NewVerifier(service, e.keys(), principal.AcceptRelay("mesh:test"), principal.WithClock(e.clock.now))
	if err != nil {
		e.t.Fatal(err)
	}
	header, err := base64.RawStdEncoding.DecodeString(values[0])
	if err != nil {
		e.t.Fatal(err)
	}
	p, err := verifier.Verify(e.t.Context(), string(header))
	if err != nil {
		e.t.Fatal(err)
	}
	return p
}

// keys returns what the edge publishes.
func (e *edge) keys() *keyset.Static {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, e.mesh+"/.well-known/onbehalf/jwks.json", nil)
	if err != nil {
		e.t.Fatal(err)
	}
	keys, skipped, err := keyset.Parse([]byte(e.send(req).Body))
	if err != nil || len(skipped) > 0 {
		e.t.Fatal(err, skipped)
	}
	set, err := keyset.NewStatic(keys...)
	if err != nil {
		e.t.Fatal(err)
	}
	return set
}

// record is an audit record.
type record map[string]any

// text returns a member, or one in a group as group.member.
func (r record) text(name string) string {
	if group, member, ok := strings.Cut(name, "."); ok {
		inner, _ := r[group].(map[string]any)
		return record(inner).text(member)
	}
	if r[name] == nil {
		return ""
	}
	return fmt.Sprint(r[name])
}

// records stops the edge, so that all records are there, and returns them.
func (e *edge) records() []record {
	e.t.Helper()
	e.client.CloseIdleConnections()
	if err := e.stop(); err != nil {
		e.t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(e.dir, "audit.jsonl"))
	if err != nil {
		e.t.Fatal(err)
	}
	defer f.Close()
	var list []record
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			e.t.Fatalf("%v: %s", err, lines.Bytes())
		}
		list = append(list, r)
	}
	return list
}

// upstream is a service behind the edge.
type upstream struct {
	*httptest.Server

	took    atomic.Int64 // bytes
	mu      sync.Mutex
	seen    []http.Header
	targets []string // of the requests
}

func newUpstream(t *testing.T, h http.Handler) *upstream {
	t.Helper()
	if h == nil {
		h = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	}
	u := new(upstream)
	u.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		plant(r.Header.Get(principal.HeaderName))
		u.seen, u.targets = append(u.seen, r.Header.Clone()), append(u.targets, r.RequestURI)
		u.mu.Unlock()
		h.ServeHTTP(w, r)
	}))
	u.Listener = counted{u.Listener, &u.took}
	u.Start()
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.seen)
}

// asked returns the targets of the requests.
func (u *upstream) asked() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.targets)
}

func (u *upstream) last() http.Header {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.seen[len(u.seen)-1]
}

// counted counts what comes in through it.
type counted struct {
	net.Listener
	bytes *atomic.Int64
}

// Accept implements [net.Listener].
func (l counted) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return countedConn{conn, l.bytes}, err
}

type countedConn struct {
	net.Conn
	bytes *atomic.Int64
}

// Read implements [net.Conn].
func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

// clock goes on only when a test says so.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.at.Store(time.Now().Truncate(time.Second).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

// buffer is a log.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	if b != &logs {
		logs.Write(p)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// eventually waits for what another goroutine is about to do.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	eventuallyWithin(t, 20*time.Second, what, happened)
}

func eventuallyWithin(t *testing.T, within time.Duration, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !happened(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
		<-time.After(time.Millisecond)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func base(l net.Listener) string { return "http://" + l.Addr().String() }
