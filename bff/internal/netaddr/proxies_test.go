package netaddr_test

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/netaddr"
)

// Nobody but a trusted proxy can make a request look like one of somebody else.
func TestOf(t *testing.T) {
	t.Parallel()
	f := netaddr.Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, tt := range map[string]struct {
		peer      string
		forwarded []string
		want      string
	}{
		"a client":                       {"203.0.113.1:5", nil, "203.0.113.1"},
		"a client, mapped to IPv6":       {"[::ffff:203.0.113.1]:5", nil, "203.0.113.1"},
		"a client, with a zone":          {"[fe80::1%eth0]:5", nil, "fe80::1"},
		"a client that names another":    {"203.0.113.1:5", []string{"198.51.100.7"}, "203.0.113.1"},
		"a client that names a proxy":    {"203.0.113.1:5", []string{"10.0.0.1"}, "203.0.113.1"},
		"a proxy":                        {"10.0.0.1:5", []string{"198.51.100.7"}, "198.51.100.7"},
		"a proxy, IPv6":                  {"[fd00::1]:5", []string{"2001:db8::7"}, "2001:db8::7"},
		"a proxy, mapped to IPv6":        {"[::ffff:10.0.0.1]:5", []string{"198.51.100.7"}, "198.51.100.7"},
		"a proxy, what a client forged":  {"10.0.0.1:5", []string{"192.0.2.1, 198.51.100.7"}, "198.51.100.7"},
		"a proxy, in lines":              {"10.0.0.1:5", []string{"192.0.2.1", "198.51.100.7"}, "198.51.100.7"},
		"two proxies":                    {"10.0.0.1:5", []string{"192.0.2.1, 198.51.100.7 ,10.0.0.2"}, "198.51.100.7"},
		"two proxies, and a forged one":  {"10.0.0.1:5", []string{"192.0.2.1, 10.0.0.3, 198.51.100.7, 10.0.0.2"}, "198.51.100.7"},
		"a proxy that names a port":      {"10.0.0.1:5", []string{"198.51.100.7:1234"}, "198.51.100.7"},
		"a proxy that names a port, v6":  {"10.0.0.1:5", []string{"[2001:db8::7]:1234"}, "2001:db8::7"},
		"a proxy that writes brackets":   {"10.0.0.1:5", []string{"[2001:db8::7]"}, "2001:db8::7"},
		"a proxy that names nobody":      {"10.0.0.1:5", nil, ""},
		"a proxy that names only others": {"10.0.0.1:5", []string{"10.0.0.3, 10.0.0.2"}, ""},
		"a proxy that hides the client":  {"10.0.0.1:5", []string{"198.51.100.7, unknown"}, ""},
		"a proxy, an empty element":      {"10.0.0.1:5", []string{"198.51.100.7,"}, ""},
		"no address":                     {"@", []string{"198.51.100.7"}, ""},
	} {
		var want netip.Addr
		if tt.want != "" {
			want = netip.MustParseAddr(tt.want)
		}
		if got := f.Client(&http.Request{RemoteAddr: tt.peer, Header: http.Header{"X-Forwarded-For": tt.forwarded}}); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
