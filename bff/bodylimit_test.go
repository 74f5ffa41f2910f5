package bff_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// P06: a body gets too large just as the upstream answers. Nothing may write into
// the header of the answer then: two that do end the edge. The race detector sees
// it here.
func TestBodyLimitWhileAnswered(t *testing.T) {
	t.Parallel()
	e := start(t, setup{
		extra: "limits: {body_bytes: 10}\n",
		handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for i := range 20 {
				w.Header().Set("X-"+strconv.Itoa(i), "v")
			}
			w.WriteHeader(http.StatusForbidden) // and the rest of the body is not read
		}),
	})
	address := strings.TrimPrefix(e.public, "http://")
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = io.WriteString(conn, "POST /public HTTP/1.1\r\nHost: e\r\nContent-Length: 20\r\n\r\n0123456789")
			_, _ = io.WriteString(conn, "0123456789")
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || res.StatusCode != http.StatusForbidden && res.StatusCode != http.StatusRequestEntityTooLarge {
				t.Error(res, err)
			}
		})
	}
	all.Wait()
}

// P06: a client of HTTP/1.1 that does not stop sending still gets to see why.
func TestBodyLimitIsSeen(t *testing.T) {
	t.Parallel()
	e := start(t, setup{
		extra:   "limits: {body_bytes: 10}\n",
		handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }),
	})
	for range 10 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.public+"/public", strings.NewReader(strings.Repeat("a", 4<<20)))
		if err != nil {
			t.Fatal(err)
		}
		if res := e.send(req); res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Error(res.Status)
		}
	}
}
