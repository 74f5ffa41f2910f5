package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// cgi is an upstream that makes variables of headers as CGI does, one level
// below net/http: it sees every line as it was sent.
type cgi struct {
	addr     string
	requests chan cgiRequest
}

type cgiRequest struct {
	line string
	env  map[string][]string // X_PRINCIPAL_BIN, without HTTP_
	raw  string
	body string
}

// startCGI answers each request, on a connection of its own, with answer.
func startCGI(t testing.TB, answer string) cgi {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c := cgi{l.Addr().String(), make(chan cgiRequest, 100)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.requests <- readCGI(conn)
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}()
	return c
}

func readCGI(conn net.Conn) cgiRequest {
	r := bufio.NewReader(conn)
	got := cgiRequest{env: make(map[string][]string)}
	got.line, _ = r.ReadString('\n')
	for {
		line, err := r.ReadString('\n')
		got.raw += line
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if err != nil || !ok {
			break
		}
		variable := strings.Map(func(c rune) rune {
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
				return c
			}
			return '_'
		}, name)
		variable = strings.ToUpper(variable)
		got.env[variable] = append(got.env[variable], strings.TrimSpace(value))
	}
	if slices.Contains(got.env["TRANSFER_ENCODING"], "chunked") {
		for !strings.HasSuffix(got.body, "0\r\n\r\n") {
			line, err := r.ReadString('\n')
			got.body += line
			if err != nil {
				break
			}
		}
	}
	return got
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

func request(path string, lines ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: edge\r\n" + strings.Join(append(lines, "", ""), "\r\n")
}

// checkPrincipal: exactly the edge's value, under exactly its name.
func checkPrincipal(t *testing.T, got cgiRequest, want []string) {
	t.Helper()
	for name, values := range got.env {
		if name != "X_PRINCIPAL_BIN" && strings.Contains(strings.ReplaceAll(name, "_", ""), "XPRINCIPAL") {
			t.Errorf("%s=%q reached the upstream", name, values)
		}
	}
	equal(t, "HTTP_X_PRINCIPAL_BIN", got.env["X_PRINCIPAL_BIN"], want)
}

func smuggleCase(t *testing.T, name, path string, lines []string, want []string, smuggled int) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		up := startCGI(t, okAnswer)
		e := startEdge(t, upstreamAt("http", up.addr), proxy.Options{})
		res := rawHTTP1(t, e.addr, request(path, lines...))
		equal(t, "status", res.StatusCode, http.StatusOK)
		got := wait(t, up.requests, "request")
		checkPrincipal(t, got, want)
		equal(t, "smuggled", wait(t, e.outcomes, "outcome").Smuggled, smuggled)
	})
}

func TestA01ForgedPrincipalIsReplaced(t *testing.T) {
	t.Parallel()
	smuggleCase(t, "one", "/api", []string{"Authorization: Bearer a", "x-principal-bin: Zm9yZ2Vk"}, []string{minted}, 1)
}

func TestA02StrippedOnEveryPath(t *testing.T) {
	t.Parallel()
	forged := []string{"x-principal-bin: Zm9yZ2Vk", "X_Principal_Bin: Zm9yZ2Vk"}
	smuggleCase(t, "public", "/public/x", forged, nil, 2)
	smuggleCase(t, "healthz", "/healthz", forged, nil, 2)
	for name, c := range map[string]struct {
		request  string
		upstream bool
	}{
		"preflight": {"OPTIONS /public HTTP/1.1\r\nHost: e\r\nOrigin: https://a\r\nAccess-Control-Request-Method: POST\r\n" + forged[0] + "\r\n\r\n", true},
		"no route":  {"GET /nowhere HTTP/1.1\r\nHost: e\r\n" + forged[0] + "\r\n\r\n", false},
		"malformed": {"GET /api/../x HTTP/1.1\r\nHost: e\r\n" + forged[0] + "\r\n\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := startCGI(t, okAnswer)
			e := startEdge(t, upstreamAt("http", up.addr), proxy.Options{})
			rawHTTP1(t, e.addr, c.request)
			equal(t, "smuggled", wait(t, e.outcomes, "outcome").Smuggled, 1)
			if c.upstream {
				checkPrincipal(t, wait(t, up.requests, "request"), nil)
			} else if len(up.requests) > 0 {
				t.Error("reached the upstream")
			}
		})
	}
}

func TestA03Aliases(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"X_Principal_Bin", "x_principal-bin", "X.Principal.Bin", "x-PRINCIPAL-bin", "X-Principal", "X-Principal-Bin-",
		"X-Principal-Reason", "XPrincipalBin", "X!Principal~Bin", "-X-Principal-Bin", "HTTP_X_PRINCIPAL_BIN",
		"Grpc-Metadata-X-Principal-Bin", "Grpc-Metadata-Grpc-Metadata-X_Principal", "grpcgateway-x-principal-bin", "Trailer-X-Principal-Bin",
	} {
		smuggleCase(t, name, "/api", []string{name + ": Zm9yZ2Vk"}, []string{minted}, 1)
		smuggleCase(t, name+" on a public route", "/public", []string{name + ": Zm9yZ2Vk"}, nil, 1)
	}
}

func TestA05ConnectionListsOurHeader(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string][]string{
		"close":         {"Connection: close, X-Principal-Bin"},
		"lower case":    {"connection: x-principal-bin"},
		"Authorization": {"Connection: Authorization", "Authorization: Bearer a"},
		"two lines":     {"Connection: x-principal-bin", "Connection: close, x-request-id"},
		"padding":       {"Connection: \t x-principal-bin \t,\t X-Forwarded-For ,, "},
		"with a forged": {"Connection: x-principal-bin, X_Principal_Bin", "X_Principal_Bin: Zm9yZ2Vk"},
	} {
		smuggled := strings.Count(strings.Join(lines, ""), "Zm9yZ2Vk")
		smuggleCase(t, name, "/api", lines, []string{minted}, smuggled)
	}
	t.Run("our other headers", func(t *testing.T) {
		t.Parallel()
		up := startCGI(t, okAnswer)
		e := startEdge(t, upstreamAt("http", up.addr), proxy.Options{})
		rawHTTP1(t, e.addr, request("/api", "Connection: x-request-id, x-forwarded-for, x-forwarded-host, x-forwarded-proto"))
		got := wait(t, up.requests, "request")
		equal(t, "X_REQUEST_ID", got.env["X_REQUEST_ID"], []string{"req_1"})
		equal(t, "X_FORWARDED_FOR", got.env["X_FORWARDED_FOR"], []string{"127.0.0.1"})
		equal(t, "X_FORWARDED_HOST", got.env["X_FORWARDED_HOST"], []string{"edge"})
		equal(t, "X_FORWARDED_PROTO", got.env["X_FORWARDED_PROTO"], []string{"http"})
	})
}

func TestA08Duplicates(t *testing.T) {
	t.Parallel()
	smuggleCase(t, "two lines", "/api", []string{"x-principal-bin: QUFB", "x-principal-bin: QkJC"}, []string{minted}, 2)
	smuggleCase(t, "comma", "/api", []string{"x-principal-bin: QUFB,QkJC"}, []string{minted}, 1)
	smuggleCase(t, "empty", "/api", []string{"x-principal-bin:"}, []string{minted}, 1)
}

// A10: what upstreams take for a proxy's word is the edge's own word.
func TestA10SiblingTrustHeaders(t *testing.T) {
	t.Parallel()
	up := startCGI(t, okAnswer)
	e := startEdge(t, upstreamAt("http", up.addr), proxy.Options{})
	lines := []string{"X-Tenant-Kept: t", "User-Agent: kept", "traceparent: 00-1-2-01", "tracestate: a=b", "baggage: c=d"}
	for _, name := range []string{
		"X-Forwarded-Client-Cert", "Forwarded", "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username",
		"X-Forwarded-Access-Token", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Uri", "X-Forwarded-Prefix", "X-Forwarded-Port",
		"X_Forwarded_User", "X-Original-URL", "X-Original-URI", "X-Original-Method", "X-Rewrite-URL", "X-Real-IP", "X_Real.IP", "True-Client-IP",
		"Remote-User", "Remote_User", "X-Remote-User", "X-Remote-Extra-Scopes", "X-Auth-Request-User", "X-Auth-Request-Groups", "X-Auth-Request-Access-Token",
		"Client-Cert", "Impersonate-User", "X-Envoy-Internal", "X-Request-Id", "X_Request_Id", "Proxy", "HTTP2-Settings", "Txn-Token",
		"X-User-Id", "X_User.Id", "X-User-Roles", "Grpc-Metadata-X-Forwarded-User", "Content_Length", "Transfer_Encoding", "Transfer.Encoding",
	} {
		lines = append(lines, name+": canary")
	}
	rawHTTP1(t, e.addr, request("/api", lines...))
	got := wait(t, up.requests, "request")
	if i := strings.Index(got.raw, "canary"); i >= 0 {
		t.Errorf("came through: %q", got.raw)
	}
	for name, want := range map[string]string{
		"X_FORWARDED_FOR": "127.0.0.1", "X_FORWARDED_HOST": "edge", "X_FORWARDED_PROTO": "http", "X_REQUEST_ID": "req_1", "X_TENANT_KEPT": "t",
		"USER_AGENT": "kept", "TRACEPARENT": "00-1-2-01", "TRACESTATE": "a=b", "BAGGAGE": "c=d", "HOST": up.addr,
	} {
		equal(t, name, got.env[name], []string{want})
	}
}

func TestA14CredentialsStayAtTheEdge(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/api", "/public"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			up := startCGI(t, okAnswer)
			e := startEdge(t, upstreamAt("http", up.addr), proxy.Options{CredentialHeaders: []string{"X-Api-Key", "x-session"}})
			rawHTTP1(t, e.addr, request(path, "Authorization: Bearer canary", "Proxy-Authorization: canary", "DPoP: canary", "X-Api-Key: canary",
				"X_API_KEY: canary", "X-Session: canary", "Authorization_: canary", "Grpc-Metadata-Authorization: canary", "Cookie: a=kept; b=kept"))
			got := wait(t, up.requests, "request")
			if strings.Contains(got.raw, "canary") {
				t.Errorf("came through: %q", got.raw)
			}
			equal(t, "Cookie", got.env["COOKIE"], []string{"a=kept; b=kept"})
		})
	}
	t.Run("a cookie as credential", func(t *testing.T) {
		t.Parallel()
		up := startCGI(t, okAnswer)
		e := startEdge(t, upstreamAt("http", up.addr), proxy.Options{CredentialHeaders: []string{"cookie"}})
		rawHTTP1(t, e.addr, request("/api", "Cookie: a=canary"))
		equal(t, "Cookie", wait(t, up.requests, "request").env["COOKIE"], nil)
	})
}

// Request trailers are a second way in: none is forwarded, announced or not.
func TestA03Trailers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		announced, sent string
		smuggled        int
	}{
		"announced":                  {"Trailer: X-Principal-Bin, X_Principal\r\n", "X-Principal-Bin: Zm9yZ2Vk\r\nX_Principal: Zm9yZ2Vk\r\n", 2},
		"announced, not sent":        {"Trailer: X-Principal-Bin\r\n", "", 1},
		"unannounced":                {"", "X-Principal-Bin: Zm9yZ2Vk\r\n", 1},
		"one announced, one not":     {"Trailer: X-Principal-Bin\r\n", "X-Principal-Bin: Zm9yZ2Vk\r\nX.Principal.Bin: Zm9yZ2Vk\r\n", 2},
		"an identity header, hidden": {"Trailer: X-Forwarded-User\r\n", "X-Forwarded-User: Zm9yZ2Vk\r\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := startCGI(t, okAnswer)
			e := startEdge(t, upstreamAt("http", up.addr), proxy.Options{})
			rawHTTP1(t, e.addr, "POST /api HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n"+c.announced+"\r\n2\r\nhi\r\n0\r\n"+c.sent+"\r\n")
			got := wait(t, up.requests, "request")
			checkPrincipal(t, got, []string{minted})
			equal(t, "Trailer", got.env["TRAILER"], nil)
			equal(t, "body", got.body, "2\r\nhi\r\n0\r\n\r\n")
			equal(t, "smuggled", wait(t, e.outcomes, "outcome").Smuggled, c.smuggled)
		})
	}
}

func TestA11NoTunnel(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string][]string{
		"h2c":                    {"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"},
		"h2c and websocket":      {"Connection: Upgrade", "Upgrade: websocket, h2c"},
		"websocket, then h2c":    {"Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c"},
		"websocket where denied": {"Connection: Upgrade", "Upgrade: websocket"},
		"not printable":          {"Connection: Upgrade", "Upgrade: h2c\xff"},
		"other":                  {"Connection: Upgrade", "Upgrade: TLS/1.0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := startCGI(t, okAnswer)
			target := upstreamAt("http", up.addr)
			target.WebSocket = name != "websocket where denied"
			e := startEdge(t, target, proxy.Options{})
			conn := dial(t, e.addr)
			_, _ = io.WriteString(conn, request("/api", lines...)+"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
			r := bufio.NewReader(conn)
			first, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, first.Body)
			equal(t, "status", first.StatusCode, http.StatusOK)
			got := wait(t, up.requests, "request")
			equal(t, "Upgrade", got.env["UPGRADE"], nil)
			equal(t, "Connection", got.env["CONNECTION"], nil)
			equal(t, "HTTP2-Settings", got.env["HTTP2_SETTINGS"], nil)
			checkPrincipal(t, got, []string{minted})
			if second, err := http.ReadResponse(r, nil); err == nil && second.StatusCode != http.StatusBadRequest {
				t.Errorf("frames after the request were answered with %d", second.StatusCode)
			}
			if len(up.requests) > 0 {
				t.Error("frames after the request reached the upstream")
			}
		})
	}
	// An upstream that switches unasked gets no tunnel either.
	for name, answer := range map[string]string{
		"unasked": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		"unnamed": "HTTP/1.1 101 Switching Protocols\r\n\r\n",
	} {
		t.Run("101 "+name, func(t *testing.T) {
			t.Parallel()
			up := startCGI(t, answer)
			e := startEdge(t, upstreamAt("http", up.addr), proxy.Options{})
			res := rawHTTP1(t, e.addr, request("/api"))
			equal(t, "status", res.StatusCode, http.StatusServiceUnavailable)
			if log := e.log.String(); !strings.Contains(log, "101") {
				t.Errorf("log: %s", log)
			}
		})
	}
}
