package bff_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const corsRoutes = `
  - path_prefix: /cors
    upstream: "%[2]s"
    audience: orders
    websocket: true
    cors: {origins: ["https://shop.example", "http://localhost:5173"], headers: [x-trace], expose: [x-total], credentials: true, max_age: 1h}
  - {path_prefix: /api, upstream: "%[2]s", audience: orders, cors: {origins: ["https://shop.example"], methods: [GET, DELETE]}}
  - {path_prefix: /open, upstream: "%[2]s", auth: none, cors: {origins: ["*"]}}
`

// corsConfig is the template with routes for pages.
var corsConfig = strings.TrimSuffix(template, "\n") + corsRoutes

// lavish is an upstream that lets every page read everything.
func lavish(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Expose-Headers", "x-secret")
	h.Set("Vary", "Accept-Encoding")
	h.Set("X-Total", "1")
	_, _ = io.WriteString(w, "orders")
}

// asks is the header of a preflight.
func asks(origin, method, headers string) http.Header {
	h := http.Header{"Origin": {origin}, "Access-Control-Request-Method": {method}}
	if headers != "" {
		h["Access-Control-Request-Headers"] = []string{headers}
	}
	return h
}

// overBoth runs a test over HTTP/1.1 and over HTTP/2 without TLS.
func overBoth(t *testing.T, e *edge, test func(t *testing.T)) {
	t.Helper()
	h2c := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols)}
	h2c.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(h2c.CloseIdleConnections)
	for name, client := range map[string]*http.Client{"HTTP/1.1": e.client, "HTTP/2.0": {Transport: h2c}} {
		e.client = client
		t.Run(name, func(t *testing.T) {
			if res := e.do(http.MethodGet, "/public", "", nil); res.Proto != name {
				t.Fatalf("this is %s", res.Proto)
			}
			test(t)
		})
	}
}

// What a browser asks before is answered by the edge, without a credential, and
// exactly (W05): no origin that only looks like one of the list is let in.
func TestPreflight(t *testing.T) {
	t.Parallel()
	e := start(t, setup{config: corsConfig, handler: http.HandlerFunc(lavish)})
	const connect = "authorization,connect-protocol-version,content-type"
	overBoth(t, e, func(t *testing.T) {
		before := e.upstream.count()
		for _, test := range []struct {
			path    string
			header  http.Header
			allowed string // origin; "": refused
		}{
			{"/cors", asks("https://shop.example", "POST", connect), "https://shop.example"},
			{"/cors", asks("https://shop.example", "GET", ""), "https://shop.example"},
			{"/cors", asks("http://localhost:5173", "POST", "authorization,content-type,grpc-timeout,x-grpc-web,x-trace,x-user-agent"), "http://localhost:5173"},
			{"/api/1", asks("https://shop.example", "DELETE", "authorization"), "https://shop.example"},
			{"/open", asks("https://anybody.example", "POST", connect), "*"},
			{"/cors", asks("https://evil.example", "POST", ""), ""},
			{"/cors", asks("https://shop.example.evil.example", "POST", ""), ""},
			{"/cors", asks("https://evilshop.example", "POST", ""), ""},
			{"/cors", asks("https://a.shop.example", "POST", ""), ""},
			{"/cors", asks("http://shop.example", "POST", ""), ""},
			{"/cors", asks("https://shop.example:8443", "POST", ""), ""},
			{"/cors", asks("https://shop.example:443", "POST", ""), ""},
			{"/cors", asks("https://SHOP.example", "POST", ""), ""},
			{"/cors", asks("https://shop.example/", "POST", ""), ""},
			{"/cors", asks("http://localhost:5174", "POST", ""), ""},
			{"/cors", asks("null", "POST", ""), ""},
			{"/cors", asks("*", "POST", ""), ""},
			{"/cors", asks("", "POST", ""), ""},
			{"/open", asks("null", "POST", ""), ""},
			{"/cors", asks("https://shop.example", "DELETE", ""), ""},
			{"/api", asks("https://shop.example", "POST", ""), ""},
			{"/cors", asks("https://shop.example", "POST", "x-other"), ""},
			{"/cors", asks("https://shop.example", "POST", "x-principal-bin"), ""},
			{"/cors", http.Header{"Origin": {"https://shop.example", "https://evil.example"}, "Access-Control-Request-Method": {"GET"}}, ""},
		} {
			what := fmt.Sprint(test.path, " ", test.header)
			res := e.do(http.MethodOptions, test.path, "", test.header)
			want := http.StatusNoContent
			if test.allowed == "" {
				want = http.StatusForbidden
			}
			if got := res.Header.Get("Access-Control-Allow-Origin"); got != test.allowed || res.StatusCode != want {
				t.Errorf("%s: %d, for %q; want %d, for %q", what, res.StatusCode, got, want, test.allowed)
			}
			if !strings.Contains(strings.Join(res.Header["Vary"], ", "), "Origin") { // P04
				t.Errorf("%s: Vary is %q", what, res.Header["Vary"])
			}
		}
		if n := e.upstream.count() - before; n != 0 {
			t.Errorf("%d preflights reached the upstream", n)
		}
		res := e.do(http.MethodOptions, "/cors", "", asks("https://shop.example", "POST", connect))
		for name, want := range map[string]string{
			"Access-Control-Allow-Credentials": "true", "Access-Control-Max-Age": "3600",
			"Access-Control-Allow-Headers": connect, "Access-Control-Allow-Methods": "POST",
		} {
			if got := res.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		res = e.do(http.MethodOptions, "/api", "", asks("https://shop.example", "GET", ""))
		if got := res.Header.Get("Access-Control-Allow-Credentials"); got != "" || res.Header.Get("Access-Control-Max-Age") != "600" {
			t.Errorf("by default: credentials %q, age %q", got, res.Header.Get("Access-Control-Max-Age"))
		}
	})
}

// A02: a preflight on a route without cors loses our header like any request, and
// on one with cors does not get anywhere. Each is in the records.
func TestPreflightIsStrippedA02(t *testing.T) {
	t.Parallel()
	e := start(t, setup{config: corsConfig})
	for _, path := range []string{"/public", "/healthz", "/nowhere", "/relay", "/open", "/cors"} {
		h := asks("https://shop.example", "POST", "")
		h["X-Principal-Bin"] = []string{"forged"}
		h["X_principal_bin"] = []string{"forged"}
		e.do(http.MethodOptions, path, "", h)
	}
	if n := e.upstream.count(); n != 2 {
		t.Fatalf("%d requests reached the upstream, want those of /public and /healthz", n)
	}
	for _, seen := range e.upstream.seen {
		for name := range seen {
			if strings.Contains(strings.ToLower(name), "principal") {
				t.Errorf("the upstream got %s", name)
			}
		}
	}
	e.do(http.MethodOptions, "/cors", "", asks("https://evil.example", "POST", ""))
	var got []string
	for _, r := range e.records() {
		got = append(got, r.text("path")+" "+r.text("decision")+" "+r.text("reason")+" "+r.text("status")+" "+r.text("smuggle_stripped"))
	}
	want := []string{
		"/public allowed  200 2", "/healthz allowed  200 2", "/nowhere refused no_route 404 2", "/relay refused missing 401 2",
		"/open allowed preflight 204 2", "/cors allowed preflight 204 2", "/cors refused origin 403 ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("records %q, want %q", got, want)
	}
}

// P04: what a page may read is said by the edge alone, also of its own answers,
// and no cache serves one page's answer to another.
func TestCrossOriginAnswers(t *testing.T) {
	t.Parallel()
	e := start(t, setup{config: corsConfig, handler: http.HandlerFunc(lavish)})
	token := e.provider.token("alice", nil)
	overBoth(t, e, func(t *testing.T) {
		for _, test := range []struct {
			path, token, origin string
			status              int
			allowed             string
		}{
			{"/cors", token, "https://shop.example", 200, "https://shop.example"},
			{"/cors", "", "https://shop.example", 401, "https://shop.example"},
			{"/cors", token, "https://evil.example", 200, ""}, // it needs no preflight, and is not shown
			{"/cors", token, "null", 200, ""},
			{"/cors", token, "", 200, ""},
			{"/open", "", "https://anybody.example", 200, "*"},
			{"/open", "", "null", 200, ""},
			{"/public", "", "https://shop.example", 200, "*"}, // the upstream's word: the edge has none
		} {
			what := fmt.Sprint(test)
			h := http.Header{}
			if test.origin != "" {
				h["Origin"] = []string{test.origin}
			}
			res := e.do(http.MethodGet, test.path, test.token, h)
			if got := strings.Join(res.Header["Access-Control-Allow-Origin"], ", "); got != test.allowed || res.StatusCode != test.status {
				t.Errorf("%s: %d, for %q", what, res.StatusCode, got)
			}
			if test.path == "/public" {
				continue
			}
			vary := strings.Join(res.Header["Vary"], ", ")
			if strings.Count(vary, "Origin") != 1 || res.StatusCode == http.StatusOK && !strings.Contains(vary, "Accept-Encoding") {
				t.Errorf("%s: Vary is %q", what, vary)
			}
			if exposed := res.Header.Get("Access-Control-Expose-Headers"); strings.Contains(strings.ToLower(exposed), "secret") {
				t.Errorf("%s: shows %q", what, exposed)
			}
		}
		res := e.do(http.MethodGet, "/cors", token, http.Header{"Origin": {"https://shop.example"}})
		if got := res.Header.Get("Access-Control-Expose-Headers"); got != "Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin, X-Request-Id, X-Total" {
			t.Errorf("shows %q", got)
		}
		if got := res.Header["Access-Control-Allow-Credentials"]; !slices.Equal(got, []string{"true"}) {
			t.Errorf("credentials %q", got)
		}
	})
}

// W05: a page that is not listed gets nothing done that a browser does not ask
// about before, such as a form that is posted with a user's cookies, or a
// WebSocket.
func TestCrossOriginWritesW05(t *testing.T) {
	t.Parallel()
	e := start(t, setup{config: corsConfig})
	token := e.provider.token("alice", nil)
	own := e.public
	for _, test := range []struct {
		path   string
		header http.Header
		status int
	}{
		{"/cors", http.Header{"Origin": {"https://shop.example"}, "Sec-Fetch-Site": {"cross-site"}}, 200},
		{"/cors", http.Header{"Origin": {own}}, 200},
		{"/cors", http.Header{"Origin": {own}, "Sec-Fetch-Site": {"same-origin"}}, 200},
		{"/cors", http.Header{}, 200}, // no browser
		{"/cors", http.Header{"Origin": {"https://evil.example"}}, 403},
		{"/cors", http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}, 403},
		{"/cors", http.Header{"Origin": {"https://a.shop.example"}, "Sec-Fetch-Site": {"same-site"}}, 403},
		{"/cors", http.Header{"Origin": {"null"}}, 403},
		{"/cors", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		{"/linked", http.Header{"Origin": {"https://evil.example"}}, 200}, // its upstream decides
		{"/open", http.Header{"Origin": {"https://evil.example"}}, 200},
	} {
		if res := e.do(http.MethodPost, test.path, token, test.header); res.StatusCode != test.status {
			t.Errorf("%s %v: %d, want %d", test.path, test.header, res.StatusCode, test.status)
		}
	}
	if n := e.upstream.count(); n != 6 {
		t.Errorf("%d requests reached the upstream, want 6", n)
	}
	for origin, want := range map[string]string{"https://shop.example": "200", "https://evil.example": "403", "null": "403"} {
		if got := upgrade(t, e, token, origin); got != want {
			t.Errorf("a WebSocket of %s: %s, want %s", origin, got, want)
		}
	}
}

// upgrade asks for a WebSocket, and returns the status; the upstream knows none.
func upgrade(t *testing.T, e *edge, token, origin string) string {
	t.Helper()
	address := strings.TrimPrefix(e.public, "http://")
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "GET /cors HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nOrigin: %s\r\n"+
		"Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", address, token, origin)
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || len(line) < 12 {
		t.Fatal(err, line)
	}
	return line[9:12]
}

// An answer that comes after an informational one has all the same headers.
func TestCrossOriginAfterEarlyHints(t *testing.T) {
	t.Parallel()
	e := start(t, setup{config: corsConfig, handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.Header().Set("Access-Control-Allow-Origin", "https://evil.example")
		w.WriteHeader(http.StatusEarlyHints)
		lavish(w, r)
	})})
	h := http.Header{"Origin": {"https://shop.example"}}
	res := e.do(http.MethodGet, "/cors", e.provider.token("alice", nil), h)
	vary := strings.Join(res.Header["Vary"], ", ")
	if got := res.Header["Access-Control-Allow-Origin"]; !slices.Equal(got, h["Origin"]) || !strings.Contains(vary, "Origin") || !strings.Contains(vary, "Accept-Encoding") {
		t.Errorf("for %q, Vary %q", got, vary)
	}
}

// Origins are taken over by a reload, as all that routes say.
func TestCrossOriginReload(t *testing.T) {
	t.Parallel()
	e := start(t, setup{config: corsConfig})
	ask := func(origin string) int {
		return e.do(http.MethodOptions, "/cors", "", asks(origin, "POST", "")).StatusCode
	}
	if a, b := ask("https://shop.example"), ask("https://new.example"); a != 204 || b != 403 {
		t.Errorf("before: %d, %d", a, b)
	}
	changed := strings.ReplaceAll(corsConfig, "https://shop.example", "https://new.example")
	if err := e.server.Reload(e.load(fmt.Sprintf(changed+"%[3]s", e.provider.URL, e.upstream.URL, ""))); err != nil {
		t.Fatal(err)
	}
	if a, b := ask("https://shop.example"), ask("https://new.example"); a != 403 || b != 204 {
		t.Errorf("after: %d, %d", a, b)
	}
}
