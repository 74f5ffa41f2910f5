package skew_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
)

const (
	issuer      = "https://edge.skew"
	trustDomain = "mesh:skew"
	shipped     = "shipped" // the header of captured principals, in the answer of the test's own upstream
)

// platform is an edge, and what stays where one version replaces the other: the
// data directory, the provider, the ports.
type platform struct {
	t        *testing.T
	dir      string
	provider *provider
	gateway  ed25519.PrivateKey // the link key of a service that the test itself is

	public, mesh, admin string
	edge                *process
	cli                 string // the command that goes with the edge
	services            map[string]*service
}

// service is one instance, under a name of the test.
type service struct {
	name, audience string
	http, grpc     string
	next           map[string]string
	process        *process
}

// process is a program that runs.
type process struct {
	cmd  *exec.Cmd
	gone chan struct{}
}

// newPlatform has one service "orders" or more, and services "front" that call
// it. The instances are named by what comes before the minus sign: front-a.
func newPlatform(t *testing.T, instances ...string) *platform {
	t.Helper()
	p := &platform{
		t: t, dir: t.TempDir(), provider: newProvider(t), services: make(map[string]*service),
		public: free(t), mesh: free(t), admin: free(t),
	}
	next := make(map[string]string)
	for _, name := range instances {
		audience, _, _ := strings.Cut(name, "-")
		s := &service{name: name, audience: audience, http: free(t), grpc: free(t), next: next}
		next[s.http], next[s.grpc] = audience, audience
		p.services[name] = s
	}
	own := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(shipped, r.Header.Get(principal.HeaderName))
	}))
	t.Cleanup(own.Close)
	p.writeLinkKey()
	p.writeConfig(own.URL)
	return p
}

// free returns an address that nobody listens on. It is outside of the range from
// which systems give ports to whoever asks for any.
func free(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		if err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// writeLinkKey makes the test a service, named gateway.
func (p *platform) writeLinkKey() {
	p.t.Helper()
	var err error
	if p.gateway, err = keyset.CreatePrivateKey(filepath.Join(p.dir, "gateway.pem")); err != nil {
		p.t.Fatal(err)
	}
	public, err := principal.NewPublicKey(p.gateway.Public())
	if err != nil {
		p.t.Fatal(err)
	}
	set, err := keyset.Marshal([]principal.Key{{
		KeyRef: principal.KeyRef{Role: principal.RoleLink, Owner: "gateway", ID: public.ID()}, Public: public,
	}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.write("links.json", string(set))
}

// writeConfig has principals that are shared for less time than a service that
// starts anew remembers here what was revoked before: half a minute, see its
// clock.
func (p *platform) writeConfig(own string) {
	p.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, `version: 1
issuer: %s
trust_domain: %s
listen: {public: %q, mesh: %q, admin: %q}
link_keys: links.json
audit: {file: audit.jsonl}
trusted_proxies: [127.0.0.1]
limits: {drain: 1s, link_key_life: 10m, mint_window: 5s}
issuers:
  - issuer: %s
    audience: [shop]
    kinds: [{kind: human, when: {claim: sub, present: true}}]
    agents: [{subject: helper, scopes: ["orders:read"]}]
routes:
  - {host: capture, path_prefix: /orders, upstream: %[7]q, audience: orders}
  - {host: capture, path_prefix: /front, upstream: %[7]q, audience: front}
`, issuer, trustDomain, p.public, p.mesh, p.admin, p.provider.url, own)
	for name, s := range p.services {
		fmt.Fprintf(&b, "  - {host: %s, path_prefix: /, upstream: %q, audience: %s}\n", name, "http://"+s.http, s.audience)
		fmt.Fprintf(&b, "  - {host: maybe-%s, path_prefix: /, upstream: %q, audience: %s, auth: optional}\n", name, "http://"+s.http, s.audience)
		fmt.Fprintf(&b, "  - {host: relay-%s, path_prefix: /, upstream: %q, mode: relay}\n", name, "http://"+s.http)
		fmt.Fprintf(&b, "  - {host: %s, service: grpc.health.v1.Health, upstream: %q, audience: %s}\n", name, "h2c://"+s.grpc, s.audience)
	}
	p.write("onbehalf.yaml", b.String())
}

func (p *platform) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// runEdge replaces the edge, if there is one, by one of that version.
func (p *platform) runEdge(v version) {
	p.t.Helper()
	p.edge.stop()
	p.cli = v.edge
	p.edge = p.start(nil, v.edge, "serve", "-c", filepath.Join(p.dir, "onbehalf.yaml"))
	p.until("the edge is ready", func() bool {
		p.edge.lives(p.t)
		res, err := http.Get("http://" + p.admin + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// runService replaces an instance by one of that version. It has renewed its link
// key when this returns.
func (p *platform) runService(name string, v version) {
	p.t.Helper()
	s := p.services[name]
	s.process.stop()
	settings, err := json.Marshal(map[string]any{
		"Mesh": "http://" + p.mesh, "Name": s.audience, "Token": p.command("services", "enroll", s.audience),
		"TrustDomain": trustDomain, "HTTP": s.http, "GRPC": s.grpc, "Next": s.next,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	s.process = p.start(settings, v.service)
	p.until(name+" listens", func() bool {
		s.process.lives(p.t)
		conn, err := net.Dial("tcp", s.http)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
}

// start starts a program. What it writes is shown if the test fails.
func (p *platform) start(stdin []byte, program string, args ...string) *process {
	p.t.Helper()
	s := &process{cmd: exec.Command(program, args...), gone: make(chan struct{})}
	s.cmd.Stdin, s.cmd.Dir = bytes.NewReader(stdin), p.dir
	s.cmd.Stdout, s.cmd.Stderr = p.t.Output(), p.t.Output()
	if err := s.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		defer close(s.gone)
		_ = s.cmd.Wait()
	}()
	p.t.Cleanup(s.stop)
	return s
}

// stop ends the process in order, and waits for that.
func (s *process) stop() {
	if s == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.gone:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.gone
	}
}

// lives fails the test if the process has ended by itself.
func (s *process) lives(t *testing.T) {
	t.Helper()
	select {
	case <-s.gone:
		t.Fatal("has ended: ", s.cmd.Path)
	default:
	}
}

// command runs the command line of the edge's own version. What may begin with a
// hyphen, as ids of keys do, comes after "--".
func (p *platform) command(args ...string) string {
	p.t.Helper()
	flags := slices.Index(args, "--")
	if flags < 0 {
		flags = len(args)
	}
	out, err := output(p.dir, p.cli, slices.Insert(args, flags, "-c", "onbehalf.yaml")...)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// until waits for what another program is about to do.
func (p *platform) until(what string, happened func() bool) time.Duration {
	p.t.Helper()
	start := time.Now()
	for !happened() {
		if time.Since(start) > 20*time.Second {
			p.t.Fatal("not within 20 s: ", what)
		}
		<-time.After(5 * time.Millisecond)
	}
	return time.Since(start)
}
