package proxy_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// A client that breaks off its bodies, after more than is kept of them, does not
// have endpoints taken for failing.
func TestBrokenBodiesAreTheClients(t *testing.T) {
	t.Parallel()
	const most = 40_000 // of 100,000
	for _, scheme := range []string{"http", "h2c"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			there := make(chan struct{}, 1)
			h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if _, err := io.CopyN(io.Discard, r.Body, most); err == nil {
					there <- struct{}{}
				}
				_, _ = io.Copy(io.Discard, r.Body)
			})
			e := startEdge(t, severalAt(scheme, listen(t, h, nil), listen(t, h, nil)), proxy.Options{})
			for range 40 {
				conn, ok := dial(t, e.addr).(*net.TCPConn)
				if !ok {
					t.Fatal("no TCP")
				}
				_, _ = io.WriteString(conn, "POST /api HTTP/1.1\r\nHost: e\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("a", most))
				wait(t, there, "body")
				_ = conn.CloseWrite()
				wait(t, e.outcomes, "outcome")
			}
			equal(t, "log", e.log.String(), "")
		})
	}
}
