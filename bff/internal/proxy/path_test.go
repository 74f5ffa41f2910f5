package proxy_test

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// counting is an upstream that must not be reached.
func counting(t testing.TB, reached chan<- string) string {
	t.Helper()
	return listen(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached <- r.RequestURI }), nil)
}

func TestP01(t *testing.T) {
	t.Parallel()
	reached := make(chan string, 100)
	addr := counting(t, reached)
	table, err := proxy.NewTable([]proxy.Route{{Service: "admin.v1.Admin"}, {PathPrefix: "/"}})
	if err != nil {
		t.Fatal(err)
	}
	e := newEdge(t, upstreamAt("h2c", addr), proxy.Options{})
	e.table = table
	e.addr = listen(t, e, nil)

	const malformed = "3"
	for _, target := range []string{
		"//admin.v1.Admin/Delete", "/admin.v1.Admin/Delete?x=1", "/admin.v1.Admin/Delete?", "/admin.v1.Admin%2FDelete", "/admin.v1.Admin%2fDelete",
		"/admin.v1.Admin/Delete/", "/admin.v1.Admin//Delete", "/admin.v1.Admin", "/admin.v1.Admin/", "/admin.v1.Admin/Delete/x",
		"/admin.v1.Admin/Del-ete", "/x/../admin.v1.Admin/Delete", "/%2e/admin.v1.Admin/Delete", "/admin.v1.Admin;/Delete",
	} {
		t.Run("h2 "+target, func(t *testing.T) {
			header := rawHTTP2(t, e.addr, target)
			equal(t, "grpc-status", header["grpc-status"], malformed)
			equal(t, ":status", header[":status"], "200")
		})
	}
	for _, target := range []string{"admin.v1.Admin/Delete", "*", ""} { // the server itself refuses them
		t.Run("h2 "+target, func(t *testing.T) {
			if header := rawHTTP2(t, e.addr, target); header != nil && header["grpc-status"] != malformed && header[":status"] != "400" {
				t.Errorf("got %v", header)
			}
		})
		t.Run("HTTP/1.1 "+target, func(t *testing.T) {
			res := rawHTTP1(t, e.addr, "POST "+target+" HTTP/1.1\r\nHost: edge\r\nContent-Length: 0\r\n\r\n")
			equal(t, "status", res.StatusCode, http.StatusBadRequest)
		})
	}
	if len(reached) > 0 {
		t.Fatalf("%s reached the upstream", <-reached)
	}
	t.Run("another case is another service", func(t *testing.T) {
		r := &http.Request{Method: http.MethodPost, URL: &url.URL{Path: "/ADMIN.v1.Admin/Delete"}}
		target, err := table.Match(r)
		equal(t, "target", target, proxy.Target{Route: 1, Path: "/ADMIN.v1.Admin/Delete"})
		equal(t, "error", err, nil)
	})
}

// Targets with more than one reading, from P02 and beyond.
var ambiguous = []string{
	"/public/../internal", "/public/%2e%2e/internal", "/public/%2E./internal", "/public/..;/internal", "/public/..%3b/internal",
	"//internal", "/public//internal", "/internal%00", "/internal%00.css", `/public\..\internal`, `/public%5cinternal`, `/public%5Cinternal`,
	"/internal#x", "/public%2finternal", "/public%2Finternal", "/./internal", "/internal/.", "/internal/..", "/..", "/.",
	"/%c0%ae%c0%ae/internal", "/%c0%afinternal", "/%ff", "/public%252finternal", "/%252e%252e/internal", "/%25252e",
	"/internal;x=1", "/internal%0d%0aX:y", "/internal%0a", "/internal%7f", "/internal%1b",
}

func TestP02(t *testing.T) {
	t.Parallel()
	reached := make(chan string, 100)
	e := newEdge(t, upstreamAt("http", counting(t, reached)), proxy.Options{})
	table, err := proxy.NewTable([]proxy.Route{{PathPrefix: "/internal"}, {PathPrefix: "/"}})
	if err != nil {
		t.Fatal(err)
	}
	e.table = table
	e.addr = listen(t, e, nil)
	for _, target := range append([]string{`\internal`, "internal", "*"}, ambiguous...) {
		t.Run(target, func(t *testing.T) {
			res := rawHTTP1(t, e.addr, "GET "+target+" HTTP/1.1\r\nHost: edge\r\n\r\n")
			equal(t, "status", res.StatusCode, http.StatusBadRequest)
		})
	}
	if len(reached) > 0 {
		t.Fatalf("%s reached the upstream", <-reached)
	}
	for target, want := range map[string]struct {
		route int
		sent  string
	}{
		"/%69nternal":             {0, "/internal"},
		"/internal":               {0, "/internal"},
		"/internal/":              {0, "/internal/"},
		"/internal/%7Ea%20b":      {0, "/internal/~a%20b"},
		"/internals":              {1, "/internals"},
		"/INTERNAL":               {1, "/INTERNAL"},
		"/internal%23x":           {1, "/internal%23x"},
		"/internal.":              {1, "/internal."},
		"/...":                    {1, "/..."},
		"/100%25?q=a%2fb&r=..%2f": {1, "/100%25?q=a%2fb&r=..%2f"},
		"/ü":                      {1, "/%C3%BC"},
		"/":                       {1, "/"},
	} {
		t.Run(target, func(t *testing.T) {
			rawHTTP1(t, e.addr, "GET "+target+" HTTP/1.1\r\nHost: edge\r\n\r\n")
			equal(t, "sent", wait(t, reached, "request"), want.sent)
			u, err := url.ParseRequestURI(target)
			if err != nil {
				t.Fatal(err)
			}
			got, err := table.Match(&http.Request{Method: http.MethodGet, URL: u})
			if err != nil || got.Route != want.route || (&url.URL{Path: got.Path}).EscapedPath() != strings.Split(want.sent, "?")[0] {
				t.Errorf("matched %+v, %v", got, err)
			}
		})
	}
}

// A request in absolute form goes to the configured upstream, not to the host
// that it names.
func TestAbsoluteForm(t *testing.T) {
	t.Parallel()
	got := make(chan [2]string, 1)
	e := startEdge(t, upstreamAt("http", listen(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got <- [2]string{r.RequestURI, r.Header.Get("X-Forwarded-Host")}
	}), nil)), proxy.Options{})
	rawHTTP1(t, e.addr, "GET http://user@evil.example/api/x?y HTTP/1.1\r\nHost: other\r\n\r\n")
	equal(t, "upstream", wait(t, got, "request"), [2]string{"/api/x?y", "evil.example"})
}

// Methods that open a tunnel, or whose answer is the request itself.
func TestA13MethodsThatAreNeverForwarded(t *testing.T) {
	t.Parallel()
	reached := make(chan string, 100)
	e := startEdge(t, upstreamAt("http", counting(t, reached)), proxy.Options{})
	for _, line := range []string{"TRACE /api", "trace /api", "TRACK /api", "CONNECT /api", "CONNECT edge:80", "PRI *", "GET *"} {
		t.Run(line, func(t *testing.T) {
			version := " HTTP/1.1"
			if line == "PRI *" {
				version = " HTTP/2.0"
			}
			res := rawHTTP1(t, e.addr, line+version+"\r\nHost: edge\r\n\r\n")
			equal(t, "status", res.StatusCode, http.StatusBadRequest)
		})
	}
	if len(reached) > 0 {
		t.Errorf("%s reached the upstream", <-reached)
	}
}

// What is accepted has one reading: it is what a cleaning server makes of it,
// it is sent as it was matched, and it is read back the same.
func FuzzPathCanon(f *testing.F) {
	for _, target := range ambiguous {
		f.Add(target)
	}
	f.Add("/%69nternal")
	f.Add("/a/b%20c/?x")
	f.Add("/100%25")
	table, err := proxy.NewTable([]proxy.Route{{PathPrefix: "/"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		got, err := table.Match(&http.Request{Method: http.MethodGet, URL: u})
		if err != nil {
			if !errors.Is(err, proxy.ErrTarget) {
				t.Fatalf("%q: %v", target, err)
			}
			return
		}
		if clean := path.Clean(got.Path); clean != got.Path && clean+"/" != got.Path {
			t.Errorf("%q is read as %q and as %q", target, got.Path, clean)
		}
		sent := (&url.URL{Path: got.Path}).EscapedPath()
		if strings.ContainsAny(sent, "\\\x00;#?\r\n ") || strings.Contains(strings.ToLower(sent), "%2f") {
			t.Errorf("%q is sent as %q", target, sent)
		}
		again, err := url.ParseRequestURI(sent)
		if err != nil {
			t.Fatalf("%q is sent as %q: %v", target, sent, err)
		}
		if second, err := table.Match(&http.Request{Method: http.MethodGet, URL: again}); err != nil || second != got {
			t.Errorf("%q is sent as %q, which is read as %+v, %v", target, sent, second, err)
		}
		if twice, err := url.PathUnescape(got.Path); err == nil && twice != got.Path {
			t.Errorf("%q: a server that decodes twice reads %q as %q", target, got.Path, twice)
		}
	})
}
