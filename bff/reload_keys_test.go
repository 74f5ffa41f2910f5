package bff_test

import (
	"net/http"
	"testing"
	"time"
)

// While an issuer is down its tokens go on to be good for a day, also after a reload.
func TestReloadWhileAnIssuerIsDown(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	before := e.provider.token("alice", nil)
	e.get("/relay", before)
	e.provider.down.Store(true)
	if err := e.server.Reload(e.load(e.changed("/linked,", "/new,"))); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{before, e.provider.token("bob", nil)} {
		if got := e.do(http.MethodGet, "/relay", token, nil).StatusCode; got != http.StatusOK {
			t.Error(got)
		}
	}
	e.clock.advance(24*time.Hour + time.Second)
	if got := e.do(http.MethodGet, "/relay", e.provider.token("bob", nil), nil).StatusCode; got != http.StatusServiceUnavailable {
		t.Error("keys are older than a day:", got)
	}
}
