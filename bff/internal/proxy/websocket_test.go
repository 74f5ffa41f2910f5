package proxy_test

import (
	"bufio"
	"io"
	"net/http"
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// A WebSocket gets through to an upstream that prefers HTTP/2, which has none, and
// what is no WebSocket still goes by that.
func TestWebSocketBesideHTTP2(t *testing.T) {
	t.Parallel()
	pair := newPair(t, "up.test")
	protocols := make(chan int, 10)
	addr := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protocols <- r.ProtoMajor
		if r.Header.Get("Upgrade") == "" {
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	}), pair.server())
	for name, endpoints := range map[string][]string{"by its URL": nil, "at an endpoint": {addr}} {
		t.Run(name, func(t *testing.T) {
			up := upstreamAt("https", addr)
			up.RootCAs, up.ServerName, up.WebSocket, up.Endpoints = pair.pool, "up.test", true, endpoints
			e := startEdge(t, up, proxy.Options{})
			for range 2 {
				equal(t, "status", rawHTTP1(t, e.addr, request("/api")).StatusCode, http.StatusOK)
				equal(t, "protocol", wait(t, protocols, "request"), 2)
				conn := dial(t, e.addr)
				_, _ = io.WriteString(conn, request("/api/ws", "Connection: Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Key: x"))
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "status", res.StatusCode, http.StatusSwitchingProtocols)
				equal(t, "protocol", wait(t, protocols, "request"), 1)
			}
		})
	}
}
