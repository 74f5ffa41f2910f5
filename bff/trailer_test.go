package bff_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What looks like ours in a trailer that was not announced is in the record
// too, whoever it is from.
func TestUnannouncedTrailerIsRecorded(t *testing.T) {
	t.Parallel()
	e := start(t, setup{
		extra:   "limits: {body_bytes: 100}\n",
		handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }),
	})
	lines := []string{"/public HTTP/1.1\r\n", "/relay HTTP/1.1\r\nAuthorization: Bearer " + e.provider.token("alice", nil) + "\r\n"}
	for _, line := range lines {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(e.public, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(conn, "POST "+line+"Host: e\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Principal-Bin: x\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatal(res, err)
		}
		if res.Body.Close() != nil || e.upstream.last().Get("X-Principal-Bin") == "x" {
			t.Error("it reached the upstream")
		}
	}
	eventually(t, "there are records", func() bool { return len(e.records()) == len(lines) })
	for _, r := range e.records() {
		if r.text("smuggle_stripped") != "1" {
			t.Error(r)
		}
	}
}
