package bff_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// place is an endpoint that is asked whether it is well, and counts that.
type place struct {
	*httptest.Server

	calls, checks atomic.Int64
	sick          atomic.Bool
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := new(place)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/well" {
			p.checks.Add(1)
			if p.sick.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return
		}
		p.calls.Add(1)
		_, _ = io.Copy(w, r.Body)
	}))
	p.Config.Protocols = protocols
	p.Start()
	t.Cleanup(p.Close)
	return p
}

func (p *place) address() string { return p.Listener.Addr().String() }

// The checks follow the configuration: they begin with the route, are not doubled
// by a second one, go on over reloads, and end with it.
func TestHealthFollowsTheConfiguration(t *testing.T) {
	t.Parallel()
	one, two := newPlace(t), newPlace(t)
	e := start(t, setup{})
	route := func(path string) string {
		return fmt.Sprintf("  - {path_prefix: %s, upstream: 'http://orders:1', endpoints: ['%s', '%s'], auth: none, health_check: {kind: http, path: /well, interval: 1s}}\n",
			path, one.address(), two.address())
	}
	reload := func(extra string) {
		t.Helper()
		if err := e.server.Reload(e.load(e.changed() + extra)); err != nil {
			t.Fatal(err)
		}
	}
	two.sick.Store(true)
	reload(route("/a") + route("/b"))
	eventually(t, "both are asked", func() bool {
		return one.checks.Load() > 0 && strings.Contains(e.log.String(), "endpoint is not healthy")
	})
	if one.checks.Load() > 1 || two.checks.Load() > 1 {
		t.Error("they are asked for each route:", one.checks.Load(), two.checks.Load())
	}
	for range 10 {
		e.succeeds(t, "/a")
		e.succeeds(t, "/b")
	}
	if two.calls.Load() > 0 || one.calls.Load() != 20 {
		t.Error("calls:", one.calls.Load(), two.calls.Load())
	}
	for range 10 {
		reload(route("/a"))
	}
	e.succeeds(t, "/a")
	broken := e.load(e.changed() + route("/a"))
	broken.Routes[0].CA, broken.Routes[0].Upstream = "/no/such/file", "https://127.0.0.1:1"
	if err := e.server.Reload(broken); err == nil {
		t.Fatal("a broken configuration is in force")
	}
	before := one.checks.Load()
	eventuallyWithin(t, 10*time.Second, "they are asked after reloads", func() bool { return one.checks.Load() > before })
	reload("")
	eventuallyWithin(t, 10*time.Second, "the checks have ended", func() bool {
		before := one.checks.Load() + two.checks.Load()
		<-time.After(1500 * time.Millisecond)
		return one.checks.Load()+two.checks.Load() == before
	})
}

func (e *edge) succeeds(t *testing.T, path string) {
	t.Helper()
	if res := e.do(http.MethodGet, path, "", nil); res.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", path, res.Status)
	}
}

// A method that the configuration calls idempotent is sent once more, another is
// not, and the record says so.
func TestIdempotentMethods(t *testing.T) {
	t.Parallel()
	good, asked := newPlace(t), make(chan struct{}, 100)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // it breaks off when something came
				_, _ = conn.Read(make([]byte, 4<<10))
				asked <- struct{}{}
				conn.Close()
			}()
		}
	}()
	e := start(t, setup{extra: fmt.Sprintf(
		"  - {service: shop.Orders, upstream: 'http://orders:1', endpoints: ['%s', '%s'], auth: none, idempotent: [Get]}\n",
		l.Addr(), good.address())})
	call := func(method string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.public+"/shop.Orders/"+method, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		return e.send(req).StatusCode
	}
	for len(asked) == 0 {
		if got := call("Get"); got != http.StatusOK {
			t.Fatal(got)
		}
	}
	<-asked
	failed := 0
	for len(asked) == 0 && failed == 0 {
		if call("Put") == http.StatusServiceUnavailable {
			failed++
		}
	}
	if failed != 1 || len(asked) != 1 {
		t.Error("a method that is not idempotent was sent twice")
	}
	repeated := 0
	for _, r := range e.records() {
		if r.text("repeated") == "true" {
			repeated++
		}
	}
	if repeated != 1 {
		t.Error("records that say so:", repeated)
	}
}
