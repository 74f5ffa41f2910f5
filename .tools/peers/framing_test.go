package peers_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// Each says twice, or wrongly, how long the body is. INNER is a request of its
// own, which is hidden in the body of the outer one.
var conflicts = map[string]struct {
	fields []field
	body   string
}{
	"length and chunks":       {[]field{{"Content-Length", "SHORT"}, {"Transfer-Encoding", "chunked"}}, "0\r\n\r\nINNER"},
	"chunks and length":       {[]field{{"Transfer-Encoding", "chunked"}, {"Content-Length", "LONG"}}, "0\r\n\r\nINNER"},
	"two lengths":             {[]field{{"Content-Length", "0"}, {"Content-Length", "LONG"}}, "INNER"},
	"two lengths in one line": {[]field{{"Content-Length", "0, LONG"}}, "INNER"},
	"a signed length":         {[]field{{"Content-Length", "+0"}}, "INNER"},
	"a hexadecimal length":    {[]field{{"Content-Length", "0x0"}}, "INNER"},
	"an unknown coding":       {[]field{{"Transfer-Encoding", "xchunked"}}, "0\r\n\r\nINNER"},
	"chunked comes first":     {[]field{{"Transfer-Encoding", "chunked, identity"}}, "0\r\n\r\nINNER"},
	"chunked twice":           {[]field{{"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}}, "0\r\n\r\nINNER"},
	"a vertical tab":          {[]field{{"Transfer-Encoding", "\x0bchunked"}}, "0\r\n\r\nINNER"},
	"a space before colon":    {[]field{{"Transfer-Encoding ", "chunked"}}, "0\r\n\r\nINNER"},
	"a folded line":           {[]field{{"Transfer-Encoding", "\r\n chunked"}}, "0\r\n\r\nINNER"},
	"an underscore":           {[]field{{"Transfer_Encoding", "chunked"}, {"Content-Length", "LONG"}}, "0\r\n\r\nINNER"},
	"an underscored length":   {[]field{{"Content_Length", "0"}, {"Content-Length", "LONG"}}, "INNER"},
	"a bare line feed":        {[]field{{"X", "y\nTransfer-Encoding: chunked"}, {"Content-Length", "LONG"}}, "0\r\n\r\nINNER"},
	"a chunk extension":       {[]field{{"Transfer-Encoding", "chunked"}}, "0;x=\n\r\n\r\nINNER"},
	"a large chunk":           {[]field{{"Transfer-Encoding", "chunked"}}, "10000000000000000\r\n\r\n0\r\n\r\nINNER"},
	"a body of a GET":         {[]field{{"Content-Length", "LONG"}}, "INNER"},
}

const inner = "GET /public/inner HTTP/1.1\r\nHost: edge.peers\r\nx-principal-bin: AAAA\r\nX-Rest: "

// P02, CVE-2022-41721 and their kind: a proxy and the edge never disagree on where
// a request ends, so that nobody else's request is taken for the rest of it.
func TestFramingConflicts(t *testing.T) {
	t.Parallel()
	eachFront(t, func(t *testing.T, program, path string) {
		e := start(t)
		alice := e.token("alice")
		for _, f := range e.fronts(program, path) {
			for name, c := range conflicts {
				r := request{method: http.MethodPost, path: "/public/outer"}
				fill := strings.NewReplacer("SHORT", "4", "LONG", length(c.body), "INNER", inner)
				for _, h := range c.fields {
					r.fields = append(r.fields, field{h.name, fill.Replace(h.value)})
				}
				r.body = fill.Replace(c.body)
				f.attack(t, r)
				e.upstream.take()
				// The next ones come over the same connections to the edge.
				for range 3 {
					a := f.send(t, f.request("victim", alice, false))
					seen := e.upstream.take()
					want := f.request("victim", alice, false).path
					if !a.ok() || a.header.Get("X-Seen-Path") != want || len(seen) != 1 || seen[0].URL.Path != want {
						t.Fatalf("%s, %s: the next request is answered %d with what belongs to %q", f.name, name, a.code, a.header.Get("X-Seen-Path"))
					}
				}
			}
		}
		reached := 0
		for _, r := range e.records() {
			if r["path"] == "/public/outer" {
				reached++
			}
		}
		if reached < len(conflicts) { // the proxies refuse most by themselves
			t.Errorf("only %d of the requests reached the edge", reached)
		}
	})
}

func length(body string) string { return strconv.Itoa(len(strings.ReplaceAll(body, "INNER", inner))) }
