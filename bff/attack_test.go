package bff_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// folded returns the values that a server of the CGI kind would find in one
// variable.
func folded(h http.Header, variable string) []string {
	var values []string
	for name, v := range h {
		cgi := strings.Map(func(r rune) rune {
			if r < '0' || r > '9' && r < 'A' || r > 'Z' {
				return '_'
			}
			return r
		}, "HTTP_"+strings.ToUpper(name))
		if strings.Trim(cgi, "_") == variable {
			values = append(values, v...)
		}
	}
	return values
}

// raw sends a request byte by byte, and returns its status.
func (e *edge) raw(request string) int {
	e.t.Helper()
	u, err := url.Parse(e.public)
	if err != nil {
		e.t.Fatal(err)
	}
	conn, err := new(net.Dialer).DialContext(e.t.Context(), "tcp", u.Host)
	if err != nil {
		e.t.Fatal(err)
	}
	defer conn.Close()
	stop := context.AfterFunc(e.t.Context(), func() { conn.Close() })
	defer stop()
	if _, err := fmt.Fprint(conn, strings.ReplaceAll(request, "\n", "\r\n")); err != nil {
		e.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		e.t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// captured is a principal of somebody else, as it travels behind the edge.
func captured(e *edge) string {
	return e.get("/relay", e.provider.token("admin", nil)).Get(principal.HeaderName)
}

// A01, A08: whatever number of genuine principals a client sends, the upstream
// sees the one that was made for the client.
func TestClientSendsPrincipal(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	stolen := captured(e)
	admin := e.principal("orders", http.Header{"X-Principal-Bin": {stolen}})
	alice := e.provider.token("alice", nil)
	for name, values := range map[string][]string{
		"A01 one":          {stolen},
		"A08 two":          {stolen, stolen},
		"A08 comma-joined": {"QUFB,QkJC"},
	} {
		for _, path := range []string{"/relay", "/linked", "/once", "/optional"} {
			res := e.do(http.MethodGet, path, alice, http.Header{"X-Principal-Bin": values})
			if res.StatusCode != http.StatusOK {
				t.Fatalf("%s, %s: status %d", name, path, res.StatusCode)
			}
			p := e.principal("orders", e.upstream.last())
			if p.Subject() == admin.Subject() || p.ID() == admin.ID() {
				t.Errorf("%s, %s: the upstream sees %v", name, path, p)
			}
		}
	}
	counts := make(map[string]int)
	for _, r := range e.records()[1:] {
		counts[r.text("smuggle_stripped")]++
	}
	if counts["1"] != 8 || counts["2"] != 4 || len(counts) != 2 {
		t.Error("smuggle_stripped", counts)
	}
}

// A02: also where nobody is authenticated.
func TestPublicRoutesStrip(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	stolen := http.Header{"X-Principal-Bin": {captured(e)}}
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/public", http.StatusOK},
		{http.MethodGet, "/healthz", http.StatusOK},
		{http.MethodGet, "/optional", http.StatusOK},
		{http.MethodOptions, "/public", http.StatusOK},
		{http.MethodGet, "/nowhere", http.StatusNotFound},
		{http.MethodGet, "/relay", http.StatusUnauthorized},
		{http.MethodOptions, "/relay", http.StatusUnauthorized},
		{http.MethodGet, "/public/../relay", http.StatusBadRequest},
	} {
		before := e.upstream.count()
		if res := e.do(tt.method, tt.path, "", stolen); res.StatusCode != tt.status {
			t.Errorf("%s %s: status %d, want %d", tt.method, tt.path, res.StatusCode, tt.status)
		}
		switch reached := e.upstream.count() - before; {
		case tt.status != http.StatusOK && reached != 0:
			t.Errorf("%s %s: reached the upstream", tt.method, tt.path)
		case tt.status == http.StatusOK && len(folded(e.upstream.last(), "HTTP_X_PRINCIPAL_BIN")) != 0:
			t.Errorf("%s %s: a principal passed", tt.method, tt.path)
		}
	}
	for _, r := range e.records()[1:] {
		if r.text("smuggle_stripped") != "1" {
			t.Error(r)
		}
	}
}

// A02: a valid credential does not bring a principal to a route without
// authentication, nor itself.
func TestPublicRouteIgnoresCredential(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	for _, token := range []string{e.provider.token("alice", nil), "garbage"} {
		h := e.get("/public", token)
		if len(folded(h, "HTTP_X_PRINCIPAL_BIN")) != 0 || h.Get("Authorization") != "" {
			t.Error(h)
		}
	}
}

// A03: names that an upstream could take for ours.
func TestAliases(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	stolen := captured(e)
	alice := e.provider.token("alice", nil)
	for _, alias := range []string{
		"X_Principal_Bin", "x_principal-bin", "X.Principal.Bin", "x-PRINCIPAL-bin", "X-Principal", "X-Principal-Bin-",
		"Grpc-Metadata-X-Principal-Bin", "x-principal-reason",
	} {
		status := e.raw("GET /relay HTTP/1.1\nHost: edge.test\nConnection: close\nAuthorization: Bearer " + alice +
			"\n" + alias + ": " + stolen + "\n\n")
		if status != http.StatusOK {
			t.Errorf("%s: status %d", alias, status)
			continue
		}
		h := e.upstream.last()
		minted := h.Get(principal.HeaderName)
		if got := folded(h, "HTTP_X_PRINCIPAL_BIN"); len(got) != 1 || got[0] != minted || minted == stolen {
			t.Errorf("%s: the upstream has %d values", alias, len(got))
		}
		for name, values := range h {
			if name != "X-Principal-Bin" && (strings.Contains(strings.ToLower(name), "principal") || values[0] == stolen) {
				t.Errorf("%s: %s passed", alias, name)
			}
		}
	}
}

// A05: a client must not have the header that the edge sets taken off as
// hop-by-hop.
func TestConnectionListsPrincipal(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	alice := e.provider.token("alice", nil)
	for _, connection := range []string{
		"Connection: close, X-Principal-Bin",
		"connection: x-principal-bin",
		"Connection: Authorization",
		"Connection: close\nConnection: X-Principal-Bin",
		"Connection: close ,\t X-Principal-Bin\t",
	} {
		status := e.raw("GET /linked HTTP/1.1\nHost: edge.test\nAuthorization: Bearer " + alice + "\n" + connection + "\n\n")
		if status != http.StatusOK {
			t.Errorf("%q: status %d", connection, status)
			continue
		}
		e.principal("orders", e.upstream.last())
	}
}

// A10, A14: nothing else that an upstream could believe comes from outside.
func TestTrustedHeadersAndCredentials(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	header := http.Header{"X-Request-Id": {"forged"}}
	for _, name := range []string{
		"X-Forwarded-Client-Cert", "Forwarded", "X-Forwarded-User", "X-Original-Url", "X-Rewrite-Url", "X-Real-Ip", "Dpop", "Proxy-Authorization",
	} {
		header[name] = []string{"forged"}
	}
	if res := e.do(http.MethodGet, "/relay", e.provider.token("alice", nil), header); res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	for name, values := range e.upstream.last() {
		if values[0] == "forged" || strings.HasPrefix(values[0], "Bearer") {
			t.Errorf("%s passed", name)
		}
	}
}

// A13: a principal does not come back.
func TestResponsesStrip(t *testing.T) {
	t.Parallel()
	e := start(t, setup{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Principal-Bin", r.Header.Get("X-Principal-Bin"))
		w.Header().Set("X-Principal-Reason", "scope")
		w.Header().Set("Trailer", "Trailer-X-Principal-Bin")
		w.WriteHeader(http.StatusForbidden)
		w.Write([]byte("no"))
		w.Header().Set("Trailer-X-Principal-Bin", r.Header.Get("X-Principal-Bin"))
	})})
	res := e.do(http.MethodGet, "/relay", e.provider.token("alice", nil), nil)
	for _, h := range []http.Header{res.Header, res.Trailer} {
		for name := range h {
			if principal.IsAlias(name) {
				t.Errorf("%s came back", name)
			}
		}
	}
	if r := e.records()[0]; r.text("upstream_reason") != "scope" || r.text("status") != "403" || r.text("decision") != "allowed" {
		t.Error(r)
	}
}

// An edge that cannot record issues nothing to services either, unless it is told
// to go on.
func TestAuditFailsForServices(t *testing.T) {
	t.Parallel()
	for action, refused := range map[string]bool{"refuse": true, "serve": false} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			e := start(t, setup{config: strings.Replace(template, "{file: audit.jsonl}", "{file: /dev/full, on_failure: "+action+"}", 1)})
			billing := e.join("billing") // leaves records that cannot be written
			_, err := billing.AsService(t.Context())
			if got := connect.CodeOf(err) == connect.CodeUnavailable; got != refused || err != nil != refused {
				t.Error(err)
			}
		})
	}
}
