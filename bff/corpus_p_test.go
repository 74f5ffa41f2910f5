package bff_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// guarded are routes that need a credential, beside /public, which does not.
const guarded = `
  - {service: admin.v1.Admin, upstream: "%[2]s", mode: relay}
  - {path_prefix: /internal, upstream: "%[2]s", mode: relay}
  - {path_prefix: /, host: inner.test, upstream: "%[2]s", mode: relay}
  - {path_prefix: /, upstream: "%[2]s", auth: none}
`

func exactly(number, becomes string, paths ...string) []trial {
	var list []trial
	for _, path := range paths {
		list = append(list, trial{
			name: number + " " + path, becomes: becomes, anonymous: true, exact: true,
			wire: wire{method: http.MethodPost, path: path, fields: []field{{"x-principal-bin", "STOLEN"}}},
		})
	}
	return list
}

// P01: a method has one name. None of the others gets past the route of its
// service, whose rules are stricter than those of the route for all else.
var methods = slices.Concat(
	exactly("P01", "target",
		"//admin.v1.Admin/Delete", "/admin.v1.Admin/Delete?x=1", "/admin.v1.Admin/Delete?", "/admin.v1.Admin%2FDelete", "/admin.v1.Admin%2fDelete",
		"/admin.v1.Admin/Delete/", "/admin.v1.Admin//Delete", "/admin.v1.Admin", "/admin.v1.Admin/", "/admin.v1.Admin/Delete/x",
		"/admin.v1.Admin/Del-ete", "/x/../admin.v1.Admin/Delete", "/%2e/admin.v1.Admin/Delete", "/admin.v1.Admin;/Delete", "/admin.v1.Admin/Delete%00",
		"/admin.v1.Admin/%44elete%20", "/admin.v1.Admin/Delete%0a"),
	exactly("P01", "missing", "/admin.v1.Admin/Delete", "/admin.v1.Admin/%44elete", "/admin%2ev1.Admin/Delete"),
	exactly("P01", atServer, "admin.v1.Admin/Delete", ""),
	// Another case is another service, for all that there is.
	exactly("P01", passes, "/ADMIN.v1.Admin/Delete", "/admin.v1.Admin2/Delete", "/.admin.v1.Admin/Delete"),
)

// P02: what is matched is what is sent, or nothing is.
var paths = slices.Concat(
	exactly("P02", "target",
		"/public/../internal", "/public/%2e%2e/internal", "/public/%2E./internal", "/public/..;/internal", "/public/..%3b/internal",
		"//internal", "/public//internal", "/internal%00", "/internal%00.css", `/public\..\internal`, "/public%5cinternal", "/public%5Cinternal",
		"/public%2finternal", "/public%2Finternal", "/./internal", "/internal/.", "/internal/..", "/..", "/.", "/%c0%ae%c0%ae/internal",
		"/%c0%afinternal", "/%ff", "/public%252finternal", "/%252e%252e/internal", "/internal;x=1", "/internal%0d%0aX:y", "/internal%7f",
		"/public/%e0%80%ae./internal", "/public/.%2e/internal"),
	exactly("P02", "missing", "/internal", "/internal/", "/%69nternal", "/internal?x=/public", "/internal/x%20y"),
	exactly("P02", passes, "/internals", "/INTERNAL", "/public/internal", "/internal%23x", "/...", "/public?x=../internal"),
)

// odd targets, which the versions of HTTP do not read alike.
var targets = []trial{
	{name: "P02 a fragment", becomes: "target", exact: true, anonymous: true, wire: wire{path: "/internal#x"}},
	{name: "P02 a backslash", becomes: atServer, exact: true, anonymous: true, wire: wire{path: `\internal`}},
	{name: "P02 a star", becomes: "target", exact: true, anonymous: true, wire: wire{path: "*"}},
	{name: "P02 a star for options", becomes: "target", exact: true, anonymous: true, wire: wire{method: http.MethodOptions, path: "*"}},
	{name: "P02 a bad escape", becomes: atServer, exact: true, anonymous: true, wire: wire{path: "/internal%zz"}},
	{name: "P02 an escape of another kind", becomes: atServer, exact: true, anonymous: true, wire: wire{path: "/public/%u002e/internal"}},
	{name: "P02 a URL of another host", becomes: "missing", onlyOne: true, exact: true, anonymous: true, wire: wire{
		path: "http://inner.test/x", host: "other.test",
	}},
	{name: "P02 a URL of this host", becomes: "target", onlyTwo: true, exact: true, anonymous: true, wire: wire{path: "http://edge.test/internal"}},
	{name: "P02 a path in a URL with no slashes", becomes: "target", exact: true, anonymous: true, wire: wire{path: "http:internal"}},
	{name: "P02 a tunnel", becomes: "target", onlyOne: true, exact: true, anonymous: true, wire: wire{method: http.MethodConnect, path: "inner.test:80"}},
}

// hosts: spellings of a name that the route of the host takes too, and names that
// are others.
func hosts() []trial {
	var list []trial
	try := func(becomes string, names ...string) {
		for _, name := range names {
			list = append(list, trial{name: "host " + name, becomes: becomes, anonymous: true, wire: wire{path: "/hosts", host: name}})
		}
	}
	try("missing", "inner.test", "INNER.test", "inner.test.", "inner.test:443", "inner.test.:80", "inner.test:", "[inner.test]")
	try(passes, "inner.test.other", "notinner.test", "inner-test", "xn--inner-.test", "inner.test,other.test", "127.0.0.1", "[::1]:80")
	return list
}

// Section P: routes are found for what is asked for, over each version of HTTP,
// and nothing is forwarded that could be read in another way.
func TestSectionP(t *testing.T) {
	t.Parallel()
	eachDoorTries(t, withKeys(setup{extra: guarded, handler: echoing}), slices.Concat(methods, paths, targets, hosts()))
}

// conflicts say twice, or wrongly, how long the body is. INNER is a request of its
// own, which is hidden in the body of the outer one.
var conflicts = map[string]struct {
	lines, body string
	same        bool // all servers agree that INNER comes after the body
}{
	"length and chunks":       {lines: "Content-Length: LONG\nTransfer-Encoding: chunked", body: "0\r\n\r\nINNER"},
	"chunks and length":       {lines: "Transfer-Encoding: chunked\nContent-Length: 4", body: "0\r\n\r\nINNER"},
	"two lengths":             {lines: "Content-Length: 0\nContent-Length: LONG", body: "INNER"},
	"two lengths in one line": {lines: "Content-Length: 0, LONG", body: "INNER"},
	"a signed length":         {lines: "Content-Length: +0", body: "INNER"},
	"a negative length":       {lines: "Content-Length: -1", body: "INNER"},
	"a hexadecimal length":    {lines: "Content-Length: 0x0", body: "INNER"},
	"an empty length":         {lines: "Content-Length:", body: "INNER"},
	"an unknown coding":       {lines: "Transfer-Encoding: xchunked", body: "0\r\n\r\nINNER"},
	"chunked comes first":     {lines: "Transfer-Encoding: chunked, identity", body: "0\r\n\r\nINNER"},
	"chunked twice":           {lines: "Transfer-Encoding: chunked\nTransfer-Encoding: chunked", body: "0\r\n\r\nINNER"},
	"a vertical tab":          {lines: "Transfer-Encoding: \x0bchunked", body: "0\r\n\r\nINNER"},
	"a space before colon":    {lines: "Transfer-Encoding : chunked", body: "0\r\n\r\nINNER"},
	"an underscored coding":   {lines: "Transfer_Encoding: chunked\nContent-Length: LONG", body: "INNER"},
	"an underscored length":   {lines: "Content_Length: 0\nContent-Length: LONG", body: "INNER"},
	"a bare line feed":        {lines: "Content-Length: LONG", body: "INNER"},
	"a chunk too large":       {lines: "Transfer-Encoding: chunked", body: "10000000000000000\r\n\r\n0\r\n\r\nINNER"},
	"a signed chunk":          {lines: "Transfer-Encoding: chunked", body: "+0\r\n\r\nINNER"},
	"a chunk with a space":    {lines: "Transfer-Encoding: chunked", body: "0 x\r\n\r\nINNER"},
	"a chunk without its end": {lines: "Transfer-Encoding: chunked", body: "2\r\nhixx0\r\n\r\nINNER"},
	"a line feed in a chunk":  {lines: "Transfer-Encoding: chunked", body: "0;\nx\r\n\r\nINNER"},
	"a long extension":        {lines: "Transfer-Encoding: chunked", body: "0;" + strings.Repeat("x", 20_000) + "\r\n\r\nINNER"},
	"chunks of HTTP/1.0":      {lines: "Transfer-Encoding: chunked\nConnection: keep-alive", body: "0\r\n\r\nINNER"},
	"one after the other":     {lines: "Content-Length: 0", body: "INNER", same: true},
}

// Requests in the body of others: what the edge takes for the body and what for
// the next request, the upstream does too, and a request whose length could be
// read in two ways is the last of its connection.
func TestSectionPFraming(t *testing.T) {
	t.Parallel()
	const inner = "GET /public/inner HTTP/1.1\r\nHost: edge.test\r\n\r\n"
	const last = "GET /public/last HTTP/1.1\r\nHost: edge.test\r\nConnection: close\r\n\r\n"
	for _, d := range doors[:2] {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, d, setup{handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })})
			for name, c := range conflicts {
				version := "HTTP/1.1"
				if strings.HasSuffix(name, "1.0") {
					version = "HTTP/1.0"
				}
				body := strings.ReplaceAll(c.body, "INNER", inner)
				lines := strings.ReplaceAll(strings.ReplaceAll(c.lines, "LONG", strconv.Itoa(len(body))), "\n", "\r\n")
				before := len(s.upstream.asked())
				conn := s.dial()
				fmt.Fprintf(conn, "POST /public/outer %s\r\nHost: edge.test\r\n%s\r\n\r\n%s%s", version, lines, body, last)
				answers := 0
				for br := bufio.NewReader(conn); ; answers++ {
					if _, err := readOne(br, http.MethodPost); err != nil {
						break
					}
				}
				conn.Close()
				if got := slices.Contains(s.upstream.asked()[before:], "/public/inner"); got != c.same {
					t.Errorf("%s: the inner request reached the upstream: %t, %d answers", name, got, answers)
				}
			}
		})
	}
}
