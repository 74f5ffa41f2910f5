package bff_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/bff"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
)

// small is the least that has a route with a credential.
const small = `version: 1
issuer: https://edge.test
issuers:
  - issuer: https://login.test
    audience: [shop]
    kinds: [{kind: human, when: {claim: sub, present: true}}]
routes:
  - path_prefix: /
    upstream: http://127.0.0.1:8081
    audience: orders
`

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "onbehalf.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	path := writeConfig(t, small)
	got, err := bff.LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	want := &bff.Config{
		Version: 1, Issuer: "https://edge.test", Presenter: "bff", DataDir: filepath.Join(filepath.Dir(path), "data"),
		Listen: bff.Listen{Public: "127.0.0.1:8080", Mesh: "127.0.0.1:9443", Admin: "127.0.0.1:9444"},
		Issuers: []oidc.Issuer{{
			Issuer: "https://login.test", Audience: []string{"shop"},
			Kinds: []oidc.KindRule{{Kind: oidc.KindHuman, When: oidc.Condition{Claim: "sub", Present: true}}},
		}},
		Routes: []bff.Route{{
			PathPrefix: "/", Upstream: "http://127.0.0.1:8081", Audience: "orders",
			Auth: bff.AuthRequired, Mode: bff.ModeLinked, Mint: bff.MintWindow,
		}},
		Limits: bff.Limits{
			HeaderBytes: 32768, HeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, Streams: 250,
			PrincipalLife: 5 * time.Minute, MintWindow: time.Minute, Credentials: 10_000, Drain: 30 * time.Second,
			BodyTimeout: 30 * time.Second, TakeTimeout: 5 * time.Minute, Requests: 10_000, ClientRequests: 2500, FailedCredentials: 60,
			RevocationMemory: 720 * time.Hour, LinkKeyLife: 24 * time.Hour, Watchers: 20_000,
		},
		Keys:  bff.Keys{Life: 720 * time.Hour, Lead: 25 * time.Minute},
		Store: bff.Store{Outage: 5 * time.Minute},
		Audit: bff.Audit{OnFailure: bff.RefuseRequests, Refusals: 1000},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestEveryKey(t *testing.T) {
	t.Parallel()
	path := writeConfig(t, `
version: 1
issuer: https://edge.test
presenter: edge
trust_domain: mesh:prod
data_dir: /var/lib/onbehalf
signing_key: key.pem
link_keys: links.json
listen: {public: ":8443", mesh: "127.0.0.1:0", admin: "127.0.0.1:0", metrics: "127.0.0.1:0"}
tls: {cert: cert.pem, key: /etc/key.pem}
mesh_tls: {cert: mesh.pem, key: mesh.key, client_ca: ca.pem, trust_domain: prod.example}
keys: {life: 48h, lead: 1h}
store: {url: "tls://a:4222,tls://b:4222", credentials: nats.creds, ca: nats.pem, cert: edge.pem, key: edge.key, replicas: 5, outage: 1m}
services: [{name: billing, scopes: ['ledger:read'], roles: [nightly]}]
trusted_proxies: [10.0.0.0/8, "::1"]
limits:
  header_bytes: 8192
  body_bytes: 1000
  body_timeout: 20s
  take_timeout: 2m
  requests: 100
  client_requests: 30
  failed_credentials: 6
  header_timeout: 5s
  idle_timeout: 1m
  streams: 10
  principal_life: 2m
  mint_window: 30s
  credentials: 5
  revocation_memory: 24h
  link_key_life: 1h
  watchers: 7
  drain_delay: 5s
  drain: 10s
audit: {file: audit.jsonl, on_failure: serve, refusals: 7}
routes:
  - host: api.example
    path_prefix: /a
    upstream: https://orders:8443
    ca: ca.pem
    server_name: orders
    client_cert: client.pem
    client_key: client.key
    websocket: true
    answer_within: 5s
    max_requests: 9
    auth: none
  - service: shop.orders.v1.Orders
    upstream: h2c://orders:8080
    endpoints: ["10.0.0.1:8080", "10.0.0.2:8080"]
    health_check: {kind: grpc, service: shop.orders.v1.Orders, interval: 2s, timeout: 500ms, healthy_after: 2, unhealthy_after: 5}
    idempotent: [Get, List]
    auth: optional
    observe: true
    mode: linked
    audience: orders
    mint: request
    max_links: 0
issuers:
  - issuer: https://keycloak.auth.svc
    private_network: true
    audience: [shop]
    kinds: [{kind: human, when: {claim: sub, present: true}}]
`)
	got, err := bff.LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(filepath.Dir(path), name) }
	want := &bff.Config{
		Version: 1, Issuer: "https://edge.test", Presenter: "edge", TrustDomain: "mesh:prod",
		DataDir: "/var/lib/onbehalf", SigningKey: in("key.pem"), LinkKeys: in("links.json"),
		Listen:  bff.Listen{Public: ":8443", Mesh: "127.0.0.1:0", Admin: "127.0.0.1:0", Metrics: "127.0.0.1:0"},
		TLS:     bff.TLS{Cert: in("cert.pem"), Key: "/etc/key.pem"},
		MeshTLS: bff.MeshTLS{Cert: in("mesh.pem"), Key: in("mesh.key"), ClientCA: in("ca.pem"), TrustDomain: "prod.example"},
		Keys:    bff.Keys{Life: 48 * time.Hour, Lead: time.Hour},
		Store: bff.Store{
			URL: "tls://a:4222,tls://b:4222", Credentials: in("nats.creds"), CA: in("nats.pem"), Cert: in("edge.pem"), Key: in("edge.key"),
			Replicas: 5, Outage: time.Minute,
		},
		Services:       []bff.Service{{Name: "billing", Scopes: []string{"ledger:read"}, Roles: []string{"nightly"}}},
		TrustedProxies: []string{"10.0.0.0/8", "::1"},
		Limits: bff.Limits{
			HeaderBytes: 8192, BodyBytes: 1000, BodyTimeout: 20 * time.Second, TakeTimeout: 2 * time.Minute,
			Requests: 100, ClientRequests: 30, FailedCredentials: 6, HeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, Streams: 10,
			PrincipalLife: 2 * time.Minute, MintWindow: 30 * time.Second, Credentials: 5,
			RevocationMemory: 24 * time.Hour, LinkKeyLife: time.Hour, Watchers: 7, DrainDelay: 5 * time.Second, Drain: 10 * time.Second,
		},
		Audit: bff.Audit{File: in("audit.jsonl"), OnFailure: bff.ServeRequests, Refusals: 7},
		Routes: []bff.Route{
			{
				Host: "api.example", PathPrefix: "/a", Upstream: "https://orders:8443", CA: in("ca.pem"), ServerName: "orders",
				ClientCert: in("client.pem"), ClientKey: in("client.key"), WebSocket: true, AnswerWithin: 5 * time.Second, MaxRequests: 9,
				Auth: bff.AuthNone,
			},
			{
				Service: "shop.orders.v1.Orders", Upstream: "h2c://orders:8080", Endpoints: []string{"10.0.0.1:8080", "10.0.0.2:8080"},
				HealthCheck: bff.HealthCheck{
					Kind: bff.HealthGRPC, Service: "shop.orders.v1.Orders", Interval: 2 * time.Second, Timeout: 500 * time.Millisecond,
					HealthyAfter: 2, UnhealthyAfter: 5,
				},
				Idempotent: []string{"Get", "List"},
				Auth:       bff.AuthOptional, Observe: true, Mode: bff.ModeLinked, Audience: "orders", Mint: bff.MintRequest, MaxLinks: new(int),
			},
		},
	}
	if !got.Issuers[0].PrivateNetwork {
		t.Error("private_network is lost")
	}
	got.Issuers = nil // package oidc tests its other keys
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	edit := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(small) }
	route := func(lines string) string { return small + "  - path_prefix: /x\n" + lines }
	_, routes, _ := strings.Cut(small, "routes:\n")
	for _, tt := range []struct {
		name, file string
		want       []string
	}{
		{"empty", "", []string{": is empty"}},
		{"syntax", "version: [", []string{":1: sequence end token ']' not found"}},
		{"unknown key", edit("issuer: https://edge.test", "isuer: https://edge.test"), []string{
			":2: isuer: unknown key; known here: audit, data_dir, enrich, issuer, issuers, keys, limits, link_keys, listen, mesh_tls, presenter, routes, services, signing_key, store, tls, trust_domain, trusted_proxies, version",
		}},
		{"unknown key of an issuer", edit("    audience: [shop]", "    audiences: [shop]"), []string{
			":5: issuers[0].audiences: unknown key; known here: agents, algorithms, attributes, audience, authorized_parties, client_id_claim, issuer, jwks_uri, kinds, per_tenant, private_network, roles, scopes, service, subject, tenant_claim, typ",
		}},
		{"F07 an issuer of the inside", edit("https://login.test", "https://localhost:8443"), []string{
			`:4: issuers[0].issuer: "https://localhost:8443" cannot be asked: the address is not one that this provider may have: ` +
				"write private_network: true if it is on a private network or this machine, and meant to be",
		}},
		{"twice", small + "version: 1\n", []string{":11: version: stands in line 1 too; remove one"}},
		{"wrong type", edit("version: 1", "version: one"), []string{":1: version: is a text; write a whole number"}},
		{"all at once", "version: 2\nroutes: []\n", []string{
			":1: version: 2 is of another program; this one reads version 1",
			": issuer: missing; name this edge as services are to know it, such as https://edge.example",
			":2: routes: missing; say where requests go",
		}},
		{"version", edit("version: 1\n", ""), []string{": version: missing; write version: 1"}},
		{"issuer", edit("https://edge.test", `"a\u202eb"`), []string{
			`:2: issuer: "a\u202eb" is longer than 256 bytes or has a control character; choose a plain name`,
		}},
		{"presenter", small + "presenter: BFF", []string{`:11: presenter: "BFF" is not a service name; use up to 63 of a-z, 0-9, . and -`}},
		{"trust domain", small + "trust_domain: prod", []string{`:11: trust_domain: "prod" is not a trust domain; write mesh: and a name, such as mesh:prod`}},
		{"addresses", small + "listen: {public: localhost, mesh: 'a:99999', admin: '127.0.0.1:9444'}", []string{
			`:11: listen.public: "localhost" is not an address; write a host and a port, such as 127.0.0.1:8080`,
			`:11: listen.mesh: "a:99999" is not an address; write a host and a port, such as 127.0.0.1:8080`,
		}},
		{"one address twice", small + "listen: {admin: '127.0.0.1:8080'}", []string{`:11: listen.admin: 127.0.0.1:8080 is listen.public too; choose another port`}},
		{"half of a certificate", small + "tls: {cert: a}\nmesh_tls: {key: a}", []string{
			":11: tls.key: missing; name the file of the private key, or remove cert",
			":12: mesh_tls.cert: missing; name the file of the certificate, or remove key",
		}},
		{"proxies", small + "trusted_proxies: [a]", []string{`:11: trusted_proxies: "a" is neither an address nor a network; write one such as 10.0.0.0/8`}},
		{"issuer of tokens", edit("    audience: [shop]\n", ""), []string{":4: issuers[0].audience: missing; name the audience your tokens carry"}},
		{"limits", small + "limits: {mint_window: 5m, header_bytes: 1, drain: -1s}", []string{
			":11: limits.header_bytes: 1 is out of range; write 4096 to 1048576",
			":11: limits.mint_window: 5m0s is out of range; write 1s to 4m0s",
			":11: limits.drain: -1s is out of range; write 1ms to 1h0m0s",
		}},
		{"limits of load", small + "limits: {body_timeout: 1ms, take_timeout: 25h, requests: -1, failed_credentials: 1000001}", []string{
			":11: limits.body_timeout: 1ms is out of range; write 1s to 24h0m0s",
			":11: limits.take_timeout: 25h0m0s is out of range; write 1s to 24h0m0s",
			":11: limits.requests: -1 is out of range; write 1 to 10000000",
			":11: limits.failed_credentials: 1000001 is out of range; write 1 to 1000000",
		}},
		{"endpoints", edit("    audience: orders\n", "    audience: orders\n    endpoints: [10.0.0.1, ':9000', '[::1]:9000', '[::1]:9000']\n"), []string{
			`:11: routes[0].endpoints[0]: "10.0.0.1" is not a host and a port; write one such as 10.0.0.1:9000`,
			`:11: routes[0].endpoints[1]: ":9000" is not a host and a port; write one such as 10.0.0.1:9000`,
			`:11: routes[0].endpoints[3]: "[::1]:9000" is there already; remove it`,
		}},
		{"health check", edit("    audience: orders\n", "    audience: orders\n    health_check: {interval: 100ms, kind: http}\n    idempotent: [Get]\n"), []string{
			`:11: routes[0].health_check.path: "" does not begin with a slash; write one such as /healthz`,
			":11: routes[0].health_check.interval: 100ms is out of range; write 1s to 1h0m0s",
			":11: routes[0].health_check.timeout: 1s is out of range; write 10ms to 100ms",
			":12: routes[0].idempotent: is about methods of a service; write service in place of path_prefix, or remove it",
		}},
		{"health check without a kind", edit("    audience: orders\n", "    audience: orders\n    health_check: {path: /}\n"), []string{
			":11: routes[0].health_check.kind: missing; write grpc, http or tcp",
		}},
		{"health check in gRPC", edit("    audience: orders\n", "    audience: orders\n    health_check: {kind: grpc, path: /}\n"), []string{
			":11: routes[0].health_check.kind: grpc needs HTTP/2; write h2c or https in upstream, or kind: http",
			":11: routes[0].health_check.path: is for kind: http; remove it",
		}},
		{"idempotent", edit("path_prefix: /\n", "service: a.B\n", "    audience: orders\n", "    audience: orders\n    idempotent: [a.B/Get]\n"), []string{
			`:11: routes[0].idempotent[0]: "a.B/Get" is not the name of a method; write one such as Get`,
		}},
		{"requests of a route", edit("    audience: orders\n", "    audience: orders\n    max_requests: -1\n"), []string{
			":11: routes[0].max_requests: -1 is out of range; write 0 to 10000000",
		}},
		{"records", small + "audit: {refusals: -1}", []string{":11: audit.refusals: -1 is out of range; write 1 to 1000000"}},
		{"audit", small + "audit: {on_failure: ignore}", []string{`:11: audit.on_failure: "ignore" is unknown; write refuse or serve`}},

		{"no audience", edit("    audience: orders\n", ""), []string{":8: routes[0].audience: missing; name the service that principals are for, or write mode: relay"}},
		{"bad audience", edit("audience: orders", "audience: mesh:prod"), []string{
			`:10: routes[0].audience: "mesh:prod" is not a service name; use up to 63 of a-z, 0-9, . and -`,
		}},
		{"relay without a trust domain", edit("audience: orders", "mode: relay"), []string{
			":10: routes[0].mode: relay needs a trust domain; write trust_domain: mesh: and a name, at the top",
		}},
		{"relay with what is of links", small + "    mode: relay\n    max_links: 2\ntrust_domain: mesh:prod\n", []string{
			":10: routes[0].audience: in mode relay it is the trust domain; remove it, or write mode: linked",
			":12: routes[0].max_links: relayed principals have no links; remove it, or write mode: linked",
		}},
		{"unknown words", small + "    mode: chain\n    auth: maybe\n    mint: never\n", []string{
			`:12: routes[0].auth: "maybe" is unknown; write required, optional or none`,
			`:11: routes[0].mode: "chain" is unknown; write relay or linked`,
			`:13: routes[0].mint: "never" is unknown; write window or request`,
		}},
		{"auth none with a principal", small + "    auth: none\n    mint: window\n    observe: true\n", []string{
			":10: routes[0].audience: is of no use with auth: none, which sends no principal; remove it",
			":12: routes[0].mint: is of no use with auth: none, which sends no principal; remove it",
			":13: routes[0].observe: is of no use with auth: none, which sends no principal; remove it",
		}},
		{"links", small + "    max_links: 7\n", []string{":11: routes[0].max_links: 7 is out of range; write 0 to 6"}},
		{"no upstream", route("    audience: x\n"), []string{":11: routes[1].upstream: missing; write the URL to forward to, such as http://127.0.0.1:8081"}},
		{"upstream with a path", route("    audience: x\n    upstream: http://a/b\n"), []string{
			":13: routes[1].upstream: upstream http://a/b has more than a scheme, a host and a port; write one such as http://127.0.0.1:8081",
		}},
		{"upstream of another scheme", route("    audience: x\n    upstream: ftp://a\n"), []string{
			`:13: routes[1].upstream: scheme "ftp" of an upstream is not http, h2c or https; write one such as http://127.0.0.1:8081`,
		}},
		{"TLS without https", route("    audience: x\n    upstream: http://a\n    ca: ca.pem\n    client_key: k\n"), []string{
			":14: routes[1].ca: is for an https upstream; remove it, or write https in upstream",
			":11: routes[1].client_cert: missing; name the file of the certificate, or remove client_key",
		}},
		{"no path", edit("  - path_prefix: /\n    upstream", "  - upstream"), []string{":8: routes[0]: needs either a path prefix or a service"}},
		{"same requests", small + routes, []string{
			":11: routes[1]: takes the same requests as routes[0]; remove one of them",
		}},
		{"path that cannot match", edit("path_prefix: /", "path_prefix: /a/../b"), []string{
			`:8: routes[0]: path prefix "/a/../b" can never match: it must begin with a slash and be plain`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := writeConfig(t, tt.file)
			cfg, err := bff.LoadConfig(path)
			if err == nil {
				t.Fatal("accepted", cfg)
			}
			got := strings.Split(strings.ReplaceAll(err.Error(), path, ""), "\n")
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestConfigFileMissing(t *testing.T) {
	t.Parallel()
	if _, err := bff.LoadConfig(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	path := writeConfig(t, strings.Repeat("#", 2<<20))
	if _, err := bff.LoadConfig(path); err == nil || err.Error() != path+": is longer than 1 MiB" {
		t.Error(err)
	}
}

// What Check finds is what New refuses, and it changes nothing.
func TestCheck(t *testing.T) {
	t.Parallel()
	file := func(t *testing.T, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct {
		name string
		edit func(t *testing.T, c *bff.Config)
		want []string // beginnings of lines
	}{
		{"in order", func(*testing.T, *bff.Config) {}, nil},
		{"mistake", func(_ *testing.T, c *bff.Config) { c.Issuer = "" }, []string{"issuer: missing"}},
		{"no issuers", func(_ *testing.T, c *bff.Config) { c.Issuers = nil }, []string{"issuers: missing"}},
		{"no issuers needed", func(_ *testing.T, c *bff.Config) {
			c.Issuers, c.Routes = nil, []bff.Route{{PathPrefix: "/", Upstream: "http://a", Auth: bff.AuthNone}}
		}, nil},
		{"files", func(t *testing.T, c *bff.Config) {
			t.Helper()
			c.TLS = bff.TLS{Cert: "/none", Key: "/none"}
			r := c.Routes[0]
			r.PathPrefix, r.Upstream, r.CA = "/a", "https://a", "/none"
			c.Routes = append(c.Routes, r)
			r.PathPrefix, r.CA = "/b", file(t, "x", 0o600)
			c.Routes = append(c.Routes, r)
			r.PathPrefix, r.CA, r.ClientCert, r.ClientKey = "/c", "", "/none", "/none"
			c.Routes = append(c.Routes, r)
			c.SigningKey, c.LinkKeys = "/none", "/none"
		}, []string{"tls: open /none", "signing_key: ", "link_keys: open /none", "routes[1].ca: open /none", "routes[2].ca: /", "routes[3].client_cert: open /none"}},
		{"damaged key", func(t *testing.T, c *bff.Config) { t.Helper(); c.SigningKey = file(t, "x", 0o600) }, []string{"signing_key: "}},
		{"shared key", func(t *testing.T, c *bff.Config) { t.Helper(); c.SigningKey = file(t, "x", 0o644) }, []string{"signing_key: "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg, err := bff.LoadConfig(writeConfig(t, small))
			if err != nil {
				t.Fatal(err)
			}
			tt.edit(t, cfg)
			err = bff.Check(cfg)
			switch {
			case (err == nil) != (tt.want == nil):
				t.Error(err)
			case err != nil:
				lines := strings.Split(err.Error(), "\n")
				for i, line := range lines {
					if len(lines) != len(tt.want) || !strings.HasPrefix(line, tt.want[i]) {
						t.Fatalf("%q, want lines that begin with %q", lines, tt.want)
					}
				}
				if s, err := bff.New(cfg); err == nil {
					t.Error("New accepted it", s.Close())
				}
			}
			if _, err := os.Stat(cfg.DataDir); !errors.Is(err, os.ErrNotExist) {
				t.Error("the data directory was made", err)
			}
		})
	}
}

func ExampleLoadConfig() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "onbehalf.yaml")
	if err := os.WriteFile(path, []byte("version: 1\nissuer: https://edge.test\nroutes:\n  - {path_prefix: /, upstream: 'http://127.0.0.1:8081'}\n"), 0o600); err != nil {
		panic(err)
	}
	_, err = bff.LoadConfig(path)
	fmt.Println(strings.ReplaceAll(err.Error(), dir+"/", ""))
	// Output: onbehalf.yaml:4: routes[0].audience: missing; name the service that principals are for, or write mode: relay
}
