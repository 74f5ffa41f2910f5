package adopt_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"

	"github.com/onbehalf-dev/onbehalf/bff"
	"github.com/onbehalf-dev/onbehalf/bff/authn"
)

const (
	userHeader = "x-test-user"
	config     = `version: 1
issuer: https://edge.test
data_dir: data
audit: {file: audit.jsonl}
routes:
  - {service: loans.v1.LoanService, upstream: "h2c://%s", audience: loans}
`
)

// readers takes whatever name a call gives for that of a human who may look at
// loans, and no more.
type readers struct{}

func (readers) CredentialHeaders() []string { return []string{userHeader} }

func (readers) Authenticate(_ context.Context, h http.Header) (*authn.Result, error) {
	user := h.Get(userHeader)
	if user == "" {
		return nil, authn.ErrNoCredential
	}
	return &authn.Result{
		Principal: &principalv1.Principal{
			Subject: &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: user}},
			Scopes:  []string{"loans:read"},
		},
		IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
	}, nil
}

// edge is a running edge before a service that is yet to start.
type edge struct {
	public, mesh, token, upstream string

	dir  string
	stop func()
}

func startEdge(t *testing.T) edge {
	t.Helper()
	return startEdgeWith(t, t.TempDir(), config, readers{})
}

// startEdgeWith is startEdge with a directory for its files, a configuration and
// who says who a caller is.
func startEdgeWith(t *testing.T, dir, config string, users authn.Authenticator) edge {
	t.Helper()
	var listeners bff.Listeners
	for _, l := range []*net.Listener{&listeners.Public, &listeners.Mesh, &listeners.Admin} {
		*l = listen(t)
	}
	upstream := freeAddress(t)
	path := filepath.Join(dir, "onbehalf.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, config, upstream), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := bff.LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	server, err := bff.New(cfg, bff.WithLogger(slog.New(slog.DiscardHandler)), bff.WithListeners(listeners), bff.WithAuthenticator(users))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	e := edge{public: listeners.Public.Addr().String(), mesh: "http://" + listeners.Mesh.Addr().String(), upstream: upstream, dir: dir, stop: stop}
	admin, err := bff.AdminClient(listeners.Admin.Addr().String(), cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	made, err := admin.CreateEnrollmentToken(t.Context(), &bffv1.CreateEnrollmentTokenRequest{Service: "loans"})
	if err != nil {
		t.Fatal(err)
	}
	e.token = made.GetToken()
	return e
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// freeAddress is one at which nobody listens: the edge's configuration names the
// service before that is there.
func freeAddress(t *testing.T) string {
	t.Helper()
	l := listen(t)
	defer l.Close()
	return l.Addr().String()
}
