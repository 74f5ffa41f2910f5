package bff_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// changed is the template with something replaced, as a configuration.
func (e *edge) changed(pairs ...string) string {
	return fmt.Sprintf(strings.NewReplacer(pairs...).Replace(template)+"%[3]s", e.provider.URL, e.upstream.URL, "")
}

func TestReload(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	token := e.provider.token("alice", nil)
	status := func(path string) int { return e.do(http.MethodGet, path, token, nil).StatusCode }
	if got := []int{status("/relay"), status("/new")}; got[0] != 200 || got[1] != 404 {
		t.Fatal(got)
	}
	if err := e.server.Reload(e.load(e.changed("/relay,", "/new,"))); err != nil {
		t.Fatal(err)
	}
	if got := []int{status("/relay"), status("/new")}; got[0] != 404 || got[1] != 200 {
		t.Error(got)
	}
	if err := e.server.Reload(e.load(e.changed("audience: [shop]", "audience: [other]"))); err != nil {
		t.Fatal(err)
	}
	if got := status("/linked"); got != http.StatusUnauthorized {
		t.Error("a credential is good that was verified by rules that are not in force any more:", got)
	}
}

func TestReloadIsRefused(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	err := e.server.Reload(e.load(e.changed(
		"issuer: https://edge.test", "issuer: https://other.test", "mesh:test", "mesh:other", "/relay,", "/new,") +
		"limits: {header_bytes: 65536, drain: 1s}\n"))
	want := "issuer: has changed, which needs a restart\ntrust_domain: has changed, which needs a restart\n" +
		"limits.header_bytes: has changed, which needs a restart"
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	broken := e.load(e.changed())
	broken.Routes[0].CA = "/no/such/file"
	broken.Routes[0].Upstream = "https://127.0.0.1:1"
	if err := e.server.Reload(broken); err == nil || !strings.Contains(err.Error(), "routes[0].ca") {
		t.Error(err)
	}
	if got := e.do(http.MethodGet, "/relay", e.provider.token("alice", nil), nil).StatusCode; got != http.StatusOK {
		t.Error("the rules before are not in force:", got)
	}
	for _, r := range e.records()[:2] {
		if r.text("action") != "reload" || r.text("decision") != "refused" {
			t.Error(r)
		}
	}
	if err := e.stop(); err != nil {
		t.Fatal(err)
	}
	if err := e.server.Reload(e.load(e.changed())); err == nil {
		t.Error("reloaded after it has stopped")
	}
}

// No request fails because the configuration changes, and those that are
// under way go on.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	began, goOn := make(chan struct{}), make(chan struct{})
	e := start(t, setup{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/slow") {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			close(began)
			<-goOn
		}
		_, _ = io.WriteString(w, "done")
	})})
	token := e.provider.token("alice", nil)
	slow := make(chan *reply, 1)
	go func() { slow <- e.do(http.MethodGet, "/relay/slow", token, nil) }()
	<-began
	var work sync.WaitGroup
	var over atomic.Bool
	var calls atomic.Int64
	for range 4 {
		work.Go(func() {
			for !over.Load() {
				if got := e.do(http.MethodGet, "/linked", token, nil).StatusCode; got != http.StatusOK {
					t.Error(got)
					return
				}
				calls.Add(1)
			}
		})
	}
	for i := range 20 {
		if err := e.server.Reload(e.load(e.changed("/relay,", fmt.Sprintf("/relay%d,", i)))); err != nil {
			t.Error(err)
		}
		before := calls.Load()
		eventuallyWithin(t, 10*time.Second, "calls go on", func() bool { return calls.Load() > before+4 || t.Failed() })
	}
	over.Store(true)
	work.Wait()
	close(goOn)
	if r := <-slow; r.StatusCode != http.StatusOK || r.Body != "done" {
		t.Error(r)
	}
}

// A reload makes no strangers of those who were let in before: while credentials
// from their address are not looked at, and in the reserve of places, they are
// served. Where issuers change, they are looked at anew.
func TestReloadKnowsWhoWasKnown(t *testing.T) {
	t.Parallel()
	e := start(t, setup{extra: "limits: {failed_credentials: 3}\n"})
	alice := e.provider.token("alice", nil)
	status := func(token string) int { return e.do(http.MethodGet, "/relay", token, nil).StatusCode }
	if got := status(alice); got != http.StatusOK {
		t.Fatal(got)
	}
	for i := range 4 {
		status("guess" + strconv.Itoa(i))
	}
	reload := func(pairs ...string) {
		t.Helper()
		if err := e.server.Reload(e.load(e.changed(pairs...) + "limits: {failed_credentials: 3}\n")); err != nil {
			t.Fatal(err)
		}
	}
	reload("/optional", "/maybe")
	reload("/optional", "/perhaps")
	if got := status(e.provider.token("bob", nil)); got != http.StatusTooManyRequests {
		t.Error("a stranger:", got)
	}
	if got := status(alice); got != http.StatusOK {
		t.Error("not known after a reload:", got)
	}
	reload("audience: [shop]", "audience: [other]")
	if got := status(alice); got != http.StatusTooManyRequests {
		t.Error("known for other issuers:", got)
	}
}
