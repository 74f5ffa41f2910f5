package peers_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// The id that a proxy gives a request is kept if the edge trusts that proxy, and
// only then: a client could otherwise give its request the id of another.
func TestRequestID(t *testing.T) {
	t.Parallel()
	ours, theirs := regexp.MustCompile(`^req_[0-9A-Z]{26}$`), regexp.MustCompile(`^[0-9a-f-]{32,36}$`)
	eachFront(t, func(t *testing.T, program, path string) {
		for extra, want := range map[string]*regexp.Regexp{
			"trusted_proxies: [127.0.0.1]": theirs, "trusted_proxies: [10.0.0.0/8]": ours, "": ours,
		} {
			e := start(t, extra)
			for _, f := range e.fronts(program, path) {
				if !strings.HasSuffix(f.name, "-id") {
					continue
				}
				for _, sent := range [][]field{nil, {{"X-Request-Id", "mine"}}, {{"X_Request_Id", "mine"}}, {{"X-Request-Id", "a"}, {"x-request-id", "b"}}} {
					a := f.send(t, request{method: http.MethodGet, path: "/public/x", fields: sent})
					seen := e.upstream.take()
					if !a.ok() || len(seen) != 1 {
						t.Fatal(f.name, a.code, len(seen))
					}
					got := seen[0].Header.Values("X-Request-Id")
					if len(got) != 1 || !want.MatchString(got[0]) || a.header.Get("X-Request-Id") != got[0] {
						t.Errorf("%s, %q: sent %v, the service sees %q, the client %q", f.name, extra, sent, got, a.header["X-Request-Id"])
					}
				}
			}
		}
	})
}
