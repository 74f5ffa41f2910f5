package peers_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/onbehalf-dev/onbehalf/bff"
	"github.com/onbehalf-dev/onbehalf/examples/provider"
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1/bffv1connect"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
)

// edge is a running edge, with an upstream that notes what reaches it.
type edge struct {
	t        *testing.T
	provider *provider.Provider
	upstream *upstream
	dir      string
	address  string // of the public listener
	mesh     string // URL
	admin    bffv1connect.AdminServiceClient
	stop     func() error
}

const (
	issuers = `version: 1
issuer: https://edge.peers
data_dir: data
audit: {file: audit.jsonl}
issuers:
  - issuer: %[1]s
    audience: [shop]
    kinds:
      - {kind: human, when: {claim: kind, equals: human}}
      - {kind: service, when: {claim: kind, equals: service}}
    service: {claim: client_id, names: {billing: billing}}
`
	echoRoutes = `routes:
  - {path_prefix: /orders, upstream: "http://%[2]s", audience: orders}
  - {path_prefix: /public, upstream: "http://%[2]s", auth: none}
  - {service: peers.v1.Echo, upstream: "h2c://%[2]s", audience: orders}
`
)

// start starts an edge on a port of its own. A line of extra is one more of its
// configuration.
func start(t *testing.T, extra ...string) *edge {
	t.Helper()
	e := &edge{t: t, upstream: newUpstream(t), dir: t.TempDir()}
	var err error
	e.provider, err = provider.Start(t.Context(), provider.Options{Algorithms: []jose.SignatureAlgorithm{jose.ES256}})
	if err != nil {
		t.Fatal(err)
	}
	e.run(fmt.Sprintf(issuers+echoRoutes, e.provider.URL(), e.upstream.address) + strings.Join(extra, "\n"))
	return e
}

// run runs the edge until the end of the test.
func (e *edge) run(config string, opts ...bff.Option) {
	e.t.Helper()
	path := filepath.Join(e.dir, "onbehalf.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		e.t.Fatal(err)
	}
	cfg, err := bff.LoadConfig(path)
	if err != nil {
		e.t.Fatal(err)
	}
	l := bff.Listeners{Public: listen(e.t), Mesh: listen(e.t), Admin: listen(e.t)}
	e.address, e.mesh = l.Public.Addr().String(), "http://"+l.Mesh.Addr().String()
	log := slog.New(slog.NewTextHandler(e.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	server, err := bff.New(cfg, append([]bff.Option{bff.WithLogger(log), bff.WithListeners(l)}, opts...)...)
	if err != nil {
		e.t.Fatal(err)
	}
	if e.admin, err = bff.AdminClient(l.Admin.Addr().String(), cfg.DataDir); err != nil {
		e.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	e.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	e.t.Cleanup(func() {
		if err := e.stop(); err != nil {
			e.t.Error(err)
		}
	})
}

// token returns an access token of a user.
func (e *edge) token(user string) string {
	e.t.Helper()
	token, err := e.provider.Token(provider.TokenRequest{User: user, Scopes: []string{"orders:read", "ledger:read"}})
	if err != nil {
		e.t.Fatal(err)
	}
	return token
}

// verifier returns that of a service which trusts the keys of the edge.
func (e *edge) verifier(service string) *principal.Verifier {
	e.t.Helper()
	var keys []principal.Key
	eventually(e.t, "the edge has read its key back from the store", func() bool {
		res, body := get(e.t, http.DefaultClient, e.mesh+"/.well-known/onbehalf/jwks.json", nil)
		var skipped []error
		var err error
		if keys, skipped, err = keyset.Parse([]byte(body)); err != nil || len(skipped) > 0 {
			e.t.Fatal(res.Status, err, skipped)
		}
		return len(keys) > 0
	})
	set, err := keyset.NewStatic(keys...)
	if err != nil {
		e.t.Fatal(err)
	}
	verifier, err := principal.NewVerifier(service, set)
	if err != nil {
		e.t.Fatal(err)
	}
	return verifier
}

// records stops the edge, so that all audit records are there, and returns them.
func (e *edge) records() []map[string]any {
	e.t.Helper()
	if err := e.stop(); err != nil {
		e.t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(e.dir, "audit.jsonl"))
	if err != nil {
		e.t.Fatal(err)
	}
	defer f.Close()
	var list []map[string]any
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r map[string]any
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			e.t.Fatal(err)
		}
		list = append(list, r)
	}
	return list
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
