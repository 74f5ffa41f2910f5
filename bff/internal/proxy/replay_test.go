package proxy_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// A stream that its endpoint had not begun when it asked to leave goes elsewhere at
// once, while its client waits for an answer to what it has said so far.
func TestUnprocessedGoesElsewhereWhileTheClientWaits(t *testing.T) {
	t.Parallel()
	var left atomic.Int64
	leaving := serveRaw(t, func(conn net.Conn) {
		readStream(conn, func(f *http2.Framer, _ *http2.MetaHeadersFrame) bool {
			for {
				next, err := f.ReadFrame()
				if _, ok := next.(*http2.DataFrame); !ok && err == nil {
					continue
				}
				left.Add(1)
				_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
				_, _ = io.Copy(io.Discard, conn)
				return true
			}
		})
	})
	good := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			p := make([]byte, 5)
			if _, err := io.ReadFull(r.Body, p); err != nil {
				return
			}
			_, _ = w.Write(p)
			_ = http.NewResponseController(w).Flush()
		}
	})
	e := startEdge(t, severalAt("h2c", leaving, listen(t, good, nil)), proxy.Options{})
	client := clientFor(t, h2c)
	for left.Load() == 0 {
		pr, pw := io.Pipe()
		go func() { _, _ = io.WriteString(pw, "first") }()
		req, err := http.NewRequestWithContext(testContext(t), http.MethodPost, "http://"+e.addr+"/api", pr)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 5)
		_, err = io.ReadFull(res.Body, p)
		equal(t, "the first", [2]any{string(p), err}, [2]any{"first", nil})
		go func() { _, _ = io.WriteString(pw, "other"); _ = pw.Close() }()
		rest, err := io.ReadAll(res.Body)
		equal(t, "the rest", [2]any{string(rest), err}, [2]any{"other", nil})
		res.Body.Close()
	}
}

// echoed sends a body, and returns what comes back.
func echoed(t *testing.T, client *http.Client, e *edge, body string) (status int, got string, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(testContext(t), http.MethodPost, "http://"+e.addr+"/api", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	return res.StatusCode, string(all), err
}

// A body that is longer than what is kept arrives whole, however it is cut.
func TestLongBodies(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "h2c"} {
		good := listen(t, new(measured), nil)
		e := startEdge(t, severalAt(scheme, good, good), proxy.Options{})
		for _, size := range []int{1, 511, 512, 513, 16<<10 - 1, 16 << 10, 16<<10 + 1, 300_000} {
			body := strings.Repeat("0123456789", size/10+1)[:size]
			for _, set := range []func(*http.Protocols){http1, h2c} {
				if status, got, err := echoed(t, clientFor(t, set), e, body); err != nil || got != body {
					t.Errorf("%s, %d bytes: %d, %d came, %v", scheme, size, status, len(got), err)
				}
			}
		}
	}
}

// An endpoint that asks to leave under load, again and again, costs next to no request:
// some of those that are on their way to it have been sent, some have not. On a busy
// machine net/http may begin again by itself with the body that it has closed; by then
// an endpoint has a POST without its body, and it is not sent again.
func TestLeavingUnderLoad(t *testing.T) {
	t.Parallel()
	var calls, unknown atomic.Int64
	leaves := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1)%40 == 0 {
			w.Header().Set("Connection", "close") // GOAWAY
		}
		new(measured).ServeHTTP(w, r)
	})
	e := startEdge(t, severalAt("h2c", listen(t, leaves, nil), listen(t, new(measured), nil)), proxy.Options{})
	var work sync.WaitGroup
	client := clientFor(t, h2c)
	for range 16 {
		work.Go(func() {
			for range 60 {
				if status, got, err := echoed(t, client, e, "body"); err != nil || status != http.StatusOK || got != "body" {
					t.Errorf("%d %q, %v", status, got, err)
				}
			}
		})
	}
	work.Wait()
	if n := unknown.Load(); n > 16*60/50 {
		t.Errorf("%d of %d requests were answered 503", n, 16*60)
	}
}
