package bff_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/bff"
)

// plain has no warnings. What stands in %s is added at its end.
const plain = `
version: 1
issuer: https://edge.test
trust_domain: mesh:test
audit: {file: audit.jsonl}
`

const plainIssuer = `issuers: [{issuer: "https://login.test", audience: [shop], kinds: [{kind: human, when: {claim: sub, present: true}}]}]
`

const plainRoute = `routes: [{path_prefix: /, upstream: "http://127.0.0.1:1", audience: orders}]
`

func TestWarnings(t *testing.T) {
	t.Parallel()
	issuer := func(more string) string { return strings.Replace(plainIssuer, "[{issuer:", "[{"+more+", issuer:", 1) }
	names := func(n int, format string) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(format, i)
		}
		return strings.Join(list, ", ")
	}
	for _, tt := range []struct {
		name, config string
		want         []string // beginnings
	}{
		{"nothing", plainIssuer + plainRoute, nil},
		{"records to the standard output", "audit: {}\n" + plainIssuer + plainRoute, []string{"audit.file: records go to the standard output only"}},
		{"plaintext for all", "listen: {public: \":8080\"}\n" + plainIssuer + plainRoute, []string{"listen.public: others can reach it without TLS"}},
		{"plaintext behind a proxy", "trusted_proxies: [10.0.0.1]\nlisten: {public: \":8080\"}\n" + plainIssuer + plainRoute, nil},
		{"plaintext for services", "listen: {mesh: \"10.0.0.1:9443\"}\n" + plainIssuer + plainRoute, []string{"mesh_tls: missing"}},
		{"metrics for the world", "listen: {metrics: \"203.0.113.1:9464\"}\n" + plainIssuer + plainRoute, []string{"listen.metrics: it is a public address"}},
		{"metrics on a private network", "listen: {metrics: \"10.0.0.1:9464\"}\n" + plainIssuer + plainRoute, nil},
		{"everybody is a proxy", "trusted_proxies: [10.0.0.0/8, 0.0.0.0/0, \"::/0\"]\n" + plainIssuer + plainRoute, []string{"trusted_proxies[1]: ", "trusted_proxies[2]: "}},
		{"any token", issuer("typ: any") + plainRoute, []string{"issuers[0].typ: tokens need not say"}},
		{
			"an issuer for nothing", plainIssuer + "routes: [{path_prefix: /, upstream: \"http://127.0.0.1:1\", auth: none}]\n",
			[]string{"issuers[0]: no route uses it"},
		},
		{
			"relay in clear", plainIssuer + "routes: [{path_prefix: /, upstream: \"h2c://orders.test:1\", mode: relay}]\n",
			[]string{"routes[0].upstream: relayed principals go there in clear"},
		},
		{
			"relay without a certificate", plainIssuer + "routes: [{path_prefix: /, upstream: \"https://orders.test:1\", mode: relay}]\n",
			[]string{"routes[0].client_cert: the edge does not show who it is"},
		},
		{
			"relay on this machine", plainIssuer + "routes: [{path_prefix: /, upstream: \"h2c://localhost:1\", mode: relay}]\n", nil,
		},
		{
			"a way around", plainIssuer + `routes:
  - {path_prefix: /, upstream: "http://127.0.0.1:1", audience: orders}
  - {path_prefix: /public, upstream: "http://127.0.0.1:1", auth: none}
  - {path_prefix: /static, upstream: "http://127.0.0.1:2", auth: none}
`, []string{"routes[1].auth: anonymous requests go to the upstream of routes[0]"},
		},
		{
			"observed", plainIssuer + "routes: [{path_prefix: /, upstream: \"http://127.0.0.1:1\", audience: orders, observe: true}]\n",
			[]string{"routes[0].observe: requests without a valid credential are let through"},
		},
		{
			"never reached", plainIssuer + `routes:
  - {path_prefix: /api, upstream: "http://127.0.0.1:1", audience: orders}
  - {service: shop.v1.Orders, upstream: "h2c://127.0.0.1:2", audience: orders}
  - {host: shop.test, path_prefix: /, upstream: "http://127.0.0.1:3", audience: orders}
  - {host: other.test, path_prefix: /api, upstream: "http://127.0.0.1:3", audience: orders}
`, []string{"routes[0]: is never reached for host shop.test: its routes[2] takes /", "routes[1]: is never reached for host shop.test"},
		},
		{
			"a catch-all is no shadow", plainIssuer + `routes:
  - {path_prefix: /api, upstream: "http://127.0.0.1:1", audience: orders}
  - {path_prefix: /, upstream: "http://127.0.0.1:3", audience: orders}
`, nil,
		},
		{
			"limits that limit nothing", `limits: {header_bytes: 1000000, body_timeout: 1h, take_timeout: 2h, requests: 5000000, failed_credentials: 1000000, streams: 100000,
  mint_window: 4m, credentials: 5000000, link_key_life: 8000h, principal_life: 5s}
keys: {life: 9000h}
store: {outage: 1h}
` + strings.Replace(plainIssuer+plainRoute, "audit.jsonl", "audit.jsonl, refusals: 1000000", 1), []string{
				"limits.header_bytes: 1000000 is very much", "limits.body_timeout: 1h0m0s", "limits.take_timeout: 2h0m0s", "limits.requests: 5000000",
				"limits.failed_credentials: 1000000", "limits.streams: 100000", "limits.mint_window: 4m0s is very much: a credential that its issuer takes back",
				"limits.credentials: 5000000", "limits.link_key_life: 8000h0m0s", "keys.life: 9000h0m0s", "store.outage: 1h0m0s", "limits.principal_life: 5s is less",
			},
		},
		{"limits that let nobody in", "limits: {requests: 3}\n" + plainIssuer + plainRoute, []string{"limits.requests: 3 requests at a time"}},
		{"too many records", "audit: {file: a, refusals: 1000000}\n" + plainIssuer + plainRoute, []string{"audit.refusals: 1000000"}},
		{
			"large attributes", plainIssuer + plainRoute + fmt.Sprintf("enrich: {rows: [{role: small, workspace: w}, {role: large, attributes: {a: %q, b: %q}}]}\n",
				strings.Repeat("x", 250), strings.Repeat("y", 250)),
			[]string{"enrich.rows[1].attributes: a principal can be about 1048 characters long"},
		},
		{
			"many scopes", issuer("scopes: {map: {"+names(40, "orders-%d: \"shop:orders:read:%[1]d\"")+"}}") + plainRoute,
			[]string{"issuers[0].scopes.map: a principal can be about"},
		},
		{
			"many roles", issuer("roles: {claim: groups, map: {"+names(60, "group-%d: \"\"")+"}}") + plainRoute,
			[]string{"issuers[0].roles.map: a principal can be about"},
		},
		{
			"many attributes", issuer("attributes: ["+names(16, "{name: attribute-%d, claim: claim-%[1]d}")+"]") + plainRoute,
			[]string{"issuers[0].attributes: a principal can be about 1244 characters long, and is sent with every call; up to 884 of them are from here, and routes[0] lets 6 links of 155 come after it"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := tt.config
			head := plain
			if strings.Contains(text, "audit:") {
				head = strings.Replace(head, "audit: {file: audit.jsonl}\n", "", 1)
			}
			path := filepath.Join(t.TempDir(), "onbehalf.yaml")
			if err := os.WriteFile(path, []byte(head+text), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, err := bff.LoadConfig(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := bff.Check(cfg); err != nil {
				t.Fatal(err)
			}
			got := bff.Warnings(cfg)
			var lines []string
			for i, w := range got {
				line := w.String()
				if i < len(tt.want) && strings.HasPrefix(line, tt.want[i]) {
					line = tt.want[i]
				}
				lines = append(lines, line)
				if w.Do == "" || strings.Contains(w.String(), "\n") {
					t.Errorf("%q does not say what to do, in one line", w)
				}
			}
			if diff := cmp.Diff(tt.want, lines); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A configuration that is not valid has problems, not warnings.
func TestNoWarningsOfProblems(t *testing.T) {
	t.Parallel()
	if got := bff.Warnings(new(bff.Config)); got != nil {
		t.Error(got)
	}
}
