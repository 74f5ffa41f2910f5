package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1/bffv1connect"
	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff"
	"github.com/onbehalf-dev/onbehalf/bff/authn"
)

const (
	issuer      = "https://edge.soak"
	trustDomain = "mesh:soak"
	credential  = "X-Soak-User"
	config      = `version: 1
issuer: ` + issuer + `
trust_domain: ` + trustDomain + `
data_dir: data
audit: {file: audit.jsonl}
routes:
  - {path_prefix: /hold, upstream: "http://%[1]s", mode: relay}
  - {path_prefix: /each, upstream: "http://%[1]s", mode: relay, mint: request}
%[2]s`
)

// users takes whatever name a request gives for that of a human with a session.
type users struct{}

func (users) CredentialHeaders() []string { return []string{credential} }

func (users) Authenticate(_ context.Context, h http.Header) (*authn.Result, error) {
	user := h.Get(credential)
	if user == "" {
		return nil, authn.ErrNoCredential
	}
	session := sessionOf(user)
	return &authn.Result{
		Principal: &principalv1.Principal{
			Subject:   &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: user}},
			SessionId: session[:],
		},
		IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
	}, nil
}

func sessionOf(user string) principal.ID {
	sum := sha256.Sum256([]byte(user))
	return principal.ID(sum[:16])
}

// runEdge has an edge run in this process, for as long as that lives.
func runEdge(dir, config string, opts ...bff.Option) (*bff.Config, *bff.Listeners, error) {
	path := filepath.Join(dir, "onbehalf.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, nil, err
	}
	cfg, err := bff.LoadConfig(path)
	if err != nil {
		return nil, nil, err
	}
	listeners, err := newListeners()
	if err != nil {
		return nil, nil, err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	edge, err := bff.New(cfg, append(opts, bff.WithLogger(logger), bff.WithListeners(listeners))...)
	if err != nil {
		return nil, nil, err
	}
	go func() {
		fmt.Fprintln(os.Stderr, "soak: the edge has ended:", edge.Run(context.Background()))
		os.Exit(1)
	}()
	return cfg, &listeners, nil
}

// newListeners are those of an edge, on ports that were free.
func newListeners() (all bff.Listeners, err error) {
	for _, l := range []*net.Listener{&all.Public, &all.Mesh, &all.Admin} {
		if *l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return all, err
		}
	}
	return all, nil
}

// edgeMain is an edge, and what an operator does with it.
func edgeMain(dir, mode string) error {
	upstream, err := net.Listen("tcp", "127.0.0.1:0") // the port that the services will listen on
	if err != nil {
		return err
	}
	address := upstream.Addr().String()
	_ = upstream.Close()
	more, scheme := "", "http://"
	if mode == "tls" {
		if err := writeCertificate(dir); err != nil {
			return err
		}
		more, scheme = "mesh_tls: {cert: cert.pem, key: key.pem}\n", "https://"
	}
	cfg, listeners, err := runEdge(dir, fmt.Sprintf(config, address, more), bff.WithAuthenticator(users{}))
	if err != nil {
		return err
	}
	admin, err := bff.AdminClient(listeners.Admin.Addr().String(), cfg.DataDir)
	if err != nil {
		return err
	}
	c := newControl()
	c.on("collect", func(*http.Request) (any, error) {
		debug.FreeOSMemory()
		return struct{}{}, nil
	})
	c.on("revoke", func(r *http.Request) (any, error) {
		id, err := principal.ParseID(r.FormValue("session"))
		if err != nil {
			return nil, err
		}
		_, err = admin.Revoke(r.Context(), &bffv1.RevokeRequest{Target: revocation.Session(issuer, id).Proto()})
		return map[string]int64{"At": time.Now().UnixNano()}, err
	})
	c.on("rotate", func(r *http.Request) (any, error) {
		return struct{}{}, rotate(r.Context(), admin)
	})
	c.on("token", func(r *http.Request) (any, error) {
		return admin.CreateEnrollmentToken(r.Context(), &bffv1.CreateEnrollmentTokenRequest{Service: r.FormValue("service")})
	})
	return c.serve(scheme+listeners.Mesh.Addr().String(), "http://"+listeners.Public.Addr().String(), address)
}

// rotate returns when the next key is in use.
func rotate(ctx context.Context, admin bffv1connect.AdminServiceClient) error {
	next, err := admin.RotateKey(ctx, &bffv1.RotateKeyRequest{})
	if err != nil {
		return err
	}
	for {
		keys, err := admin.ListKeys(ctx, &bffv1.ListKeysRequest{})
		if err != nil {
			return err
		}
		for _, k := range keys.GetKeys() {
			if k.GetRef().GetId() == next.GetKeyId() && k.GetState() == bffv1.KeyState_KEY_STATE_ACTIVE {
				return nil
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}
