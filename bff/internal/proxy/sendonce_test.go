package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// A client's word does not have a request repeated when a connection breaks that
// was used before, which net/http does by itself.
func TestKeyOfAClientRepeatsNothing(t *testing.T) {
	t.Parallel()
	for _, several := range []bool{false, true} {
		for _, key := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
			var posts atomic.Int64
			bodies := make(chan string, 4)
			addr := serveRaw(t, func(conn net.Conn) {
				r := bufio.NewReader(conn)
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					if req.Method == http.MethodPost {
						posts.Add(1)
						bodies <- req.Header.Get(key) + req.Header.Get("Content-Length")
						return
					}
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			})
			up := upstreamAt("http", addr)
			if several {
				up = severalAt("http", addr)
			}
			e := startEdge(t, up, proxy.Options{})
			equal(t, "status", rawHTTP1(t, e.addr, request("/api")).StatusCode, http.StatusOK)
			wait(t, e.outcomes, "outcome")
			res := rawHTTP1(t, e.addr, "POST /api HTTP/1.1\r\nHost: e\r\nContent-Length: 0\r\n"+key+": k\r\n\r\n")
			equal(t, "status", res.StatusCode, http.StatusServiceUnavailable)
			wait(t, e.outcomes, "outcome")
			equal(t, "requests", posts.Load(), 1)
			equal(t, "request", wait(t, bodies, "request"), "k0")
		}
	}
}
