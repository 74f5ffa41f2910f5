package bff_test

import (
	"net/http"
	"testing"
)

// P06: one address cannot take the places of all who have no credential yet; who
// has one that is known is served from there too, and does not count.
func TestRequestsOfAClient(t *testing.T) {
	t.Parallel()
	e := start(t, setup{handler: holding(t), extra: "limits: {requests: 20}\ntrusted_proxies: [127.0.0.1]\n"})
	alice := e.provider.token("alice", nil)
	from := func(address, path, token string) int {
		return e.do(http.MethodGet, path, token, http.Header{"X-Forwarded-For": {address}}).StatusCode
	}
	want := func(what string, got, status int) {
		t.Helper()
		if got != status {
			t.Errorf("%s: %d, want %d", what, got, status)
		}
	}
	const one, sameNetwork, other = "2001:db8::1", "2001:db8::2:1", "2001:db8:0:1::1"
	want("a credential that is good", from(one, "/relay", alice), http.StatusOK)
	var ends []func()
	for range 5 { // a quarter of 20
		ends = append(ends, e.holdFrom(one, "/public", ""))
	}
	for _, address := range []string{one, sameNetwork} {
		want("one more", from(address, "/public", ""), http.StatusServiceUnavailable)
		want("one more, to a route for credentials", from(address, "/relay", "garbage"), http.StatusServiceUnavailable)
		want("a credential that is known", from(address, "/relay", alice), http.StatusOK)
	}
	want("another network", from(other, "/public", ""), http.StatusOK)
	for range 7 { // they hold no place of those without a credential
		ends = append(ends, e.holdFrom(other, "/relay", alice))
	}
	want("beside those with a credential", from(other, "/public", ""), http.StatusOK)
	for _, end := range ends {
		end()
	}
	eventually(t, "there is room again", func() bool { return from(one, "/public", "") == http.StatusOK })
	found := false
	for _, r := range e.records() {
		found = found || r.text("reason") == "overload" && r.text("detail") == "limits.client_requests for 2001:db8::/64"
	}
	if !found {
		t.Error("there is no record of it")
	}
}
