package bff_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
)

const observedRoutes = `  - {path_prefix: /watched, upstream: "%[2]s", mode: relay, observe: true}
  - {path_prefix: /half, upstream: "%[2]s", mode: relay, auth: optional, observe: true}
`

// What a route would refuse goes through while it is observed, never with a
// principal, and the audit record says why it would have been refused: for the
// reason, and in the words, that a route in force refuses it with.
func TestObservedRoute(t *testing.T) {
	t.Parallel()
	e := start(t, setup{extra: observedRoutes})
	valid := e.provider.token("alice", nil)
	forgery := http.Header{"X-Principal-Bin": {captured(e)}, "X-Principal": {"admin"}}
	var checks []func(enforced, observed record)
	for _, tt := range []struct{ name, credential string }{
		{"valid", valid},
		{"missing", ""},
		{"signature", forged(t, e.provider)},
		{"time", e.provider.token("alice", map[string]any{"exp": e.clock.now().Add(-time.Hour).Unix()})},
		{"audience", e.provider.token("alice", map[string]any{"aud": "other"})},
		{"malformed", "garbage"},
	} {
		for observed, enforced := range map[string]string{"/watched": "/relay", "/half": "/optional"} {
			refuses := e.do(http.MethodGet, enforced, tt.credential, forgery).StatusCode != http.StatusOK
			before := e.upstream.count()
			if res := e.do(http.MethodGet, observed, tt.credential, forgery); res.StatusCode != http.StatusOK || e.upstream.count() != before+1 {
				t.Fatalf("%s, %s: status %d", tt.name, observed, res.StatusCode)
			}
			h := e.upstream.last()
			if got := len(folded(h, "HTTP_X_PRINCIPAL")) + len(folded(h, "HTTP_X_PRINCIPAL_BIN")) + len(h["Authorization"]); got != 0 && tt.name != "valid" {
				t.Errorf("%s, %s: the upstream sees %v", tt.name, observed, h)
			}
			if tt.name == "valid" && e.principal("orders", h).Kind() != principal.KindHuman {
				t.Errorf("%s: no principal for a valid credential", observed)
			}
			checks = append(checks, func(was, is record) {
				if want := map[bool]string{false: "allowed", true: "would_refuse"}[refuses]; is.text("decision") != want || is.text("status") != "200" {
					t.Errorf("%s, %s: %v", tt.name, observed, is)
				}
				if (is["principal"] != nil) != (tt.name == "valid") {
					t.Errorf("%s, %s: %v", tt.name, observed, is)
				}
				for _, key := range []string{"reason", "credential_reason", "detail"} {
					if is.text(key) != was.text(key) {
						t.Errorf("%s, %s: %s is %q, enforced %q", tt.name, observed, key, is.text(key), was.text(key))
					}
				}
			})
		}
	}
	records := e.records()[1:] // the first is of what was captured
	for i, check := range checks {
		check(records[2*i], records[2*i+1])
	}
}

// Who tries credentials on an observed route is not told whether they are
// good for longer than elsewhere, and is counted elsewhere too.
func TestObservedRouteLimitsGuesses(t *testing.T) {
	t.Parallel()
	e := start(t, setup{extra: observedRoutes + "limits: {failed_credentials: 3}\n"})
	for range 4 { // the last is not looked at
		if res := e.do(http.MethodGet, "/watched", forged(t, e.provider), nil); res.StatusCode != http.StatusOK {
			t.Fatalf("status %d", res.StatusCode)
		}
	}
	if res := e.do(http.MethodGet, "/watched", e.provider.token("alice", nil), nil); res.StatusCode != http.StatusOK {
		t.Fatalf("status %d", res.StatusCode)
	}
	if e.upstream.last().Get(principal.HeaderName) != "" {
		t.Error("a credential that is not looked at has a principal")
	}
	if res := e.do(http.MethodGet, "/relay", e.provider.token("alice", nil), nil); res.StatusCode != http.StatusTooManyRequests {
		t.Errorf("elsewhere: status %d", res.StatusCode)
	}
	if r := e.records()[4]; r.text("decision") != "would_refuse" || r.text("reason") != "limited" {
		t.Error(r)
	}
}

// A reload puts a route in force that was observed, and each start says what is
// observed.
func TestObserveIsReloadable(t *testing.T) {
	t.Parallel()
	e := start(t, setup{extra: observedRoutes})
	if n := strings.Count(e.log.String(), "a route is observed"); n != 2 {
		t.Errorf("%d warnings, want 2", n)
	}
	if res := e.do(http.MethodGet, "/watched", "", nil); res.StatusCode != http.StatusOK {
		t.Fatalf("status %d", res.StatusCode)
	}
	enforced := strings.ReplaceAll(template+observedRoutes, ", observe: true", "")
	if err := e.server.Reload(e.load(fmt.Sprintf(enforced, e.provider.URL, e.upstream.URL))); err != nil {
		t.Fatal(err)
	}
	if res := e.do(http.MethodGet, "/watched", "", nil); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("after the reload: status %d", res.StatusCode)
	}
	if res := e.do(http.MethodGet, "/half", "", nil); res.StatusCode != http.StatusOK {
		t.Errorf("optional, after the reload: status %d", res.StatusCode)
	}
}
