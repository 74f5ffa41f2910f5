package proxy_test

import (
	"bufio"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// P06: who sends too much and then nothing has its answer at once, and does not
// keep the connection, which no limit counts any more.
func TestTooLargeAndThenNothing(t *testing.T) {
	t.Parallel()
	up := listen(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }), nil)
	for name, body := range map[string]string{
		"length": "Content-Length: 1000\r\n\r\n0123456789",
		"chunks": "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n",
	} {
		for _, scheme := range []string{"http", "h2c"} {
			t.Run(name+" to "+scheme, func(t *testing.T) {
				t.Parallel()
				e := startEdge(t, upstreamAt(scheme, up), proxy.Options{BodyTimeout: time.Minute})
				e.call = func(_ http.ResponseWriter, r *http.Request) (*http.Request, proxy.Call) {
					r = r.WithContext(r.Context())
					r.Body = http.MaxBytesReader(nil, r.Body, 4)
					return r, proxy.Call{}
				}
				conn := dial(t, e.addr)
				_, _ = io.WriteString(conn, "POST /api HTTP/1.1\r\nHost: e\r\n"+body)
				r := bufio.NewReader(conn)
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				equal(t, "status", res.StatusCode, http.StatusRequestEntityTooLarge)
				equal(t, "close", res.Close, true)
				if _, err := r.ReadByte(); err != io.EOF {
					t.Error("the connection stays:", err)
				}
			})
		}
	}
}
