package netaddr_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/netaddr"
)

// F07: whatever form an address has, it is judged by where it leads.
func TestReachF07(t *testing.T) {
	t.Parallel()
	const provider = "https://login.example"
	outside, inside := netaddr.ReachOf(provider, false), netaddr.ReachOf(provider, true)
	here := netaddr.ReachOf("http://127.0.0.1:8090", false)
	for _, test := range []struct {
		zone                  string
		outside, inside, here error
		addresses             []string
	}{
		{"public", nil, nil, netaddr.ErrElsewhere, []string{
			"8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0", "2606:4700::1111", "::ffff:8.8.8.8",
			"64:ff9b::808:808", "2002:808:808::1",
		}},
		{"private", netaddr.ErrElsewhere, nil, netaddr.ErrElsewhere, []string{
			"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255", "198.18.0.1", "240.240.0.1",
			"fd12:3456::1", "fc00::1", "fec0::1", "::ffff:10.0.0.1",
		}},
		{"loopback", netaddr.ErrElsewhere, nil, nil, []string{"127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"}},
		{"never", netaddr.ErrNever, netaddr.ErrNever, netaddr.ErrNever, []string{
			"169.254.169.254", "169.254.170.2", "::ffff:169.254.169.254", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fd20:ce::254",
			"100.100.100.200", "168.63.129.16", "192.0.0.192", "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.255.255.250", "ff02::1", "255.255.255.255",
			"64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1", "2002:7f00:1::", "2002:a00:1::",
			"2001:0:a9fe:a9fe::1", "::127.0.0.1", "::169.254.169.254", "100::1", "::ffff:0.0.0.0", "5f00::1",
		}},
	} {
		for _, address := range test.addresses {
			addr := netip.MustParseAddr(address)
			for name, c := range map[string]struct {
				reach netaddr.Reach
				want  error
			}{
				"outside": {outside, test.outside}, "inside": {inside, test.inside}, "here": {here, test.here},
			} {
				err := c.reach.Check(addr)
				if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
					t.Errorf("%s, %s, from %s: %v, want %v", test.zone, address, name, err, c.want)
				}
			}
			if new(netaddr.Reach).Check(addr) == nil {
				t.Errorf("%s, %s: the zero value reaches it", test.zone, address)
			}
		}
	}
	if err := here.Check(netip.Addr{}); !errors.Is(err, netaddr.ErrNever) {
		t.Errorf("no address: %v", err)
	}
}

func TestReachOfHosts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		url     string
		private bool
		host    string
		want    error
	}{
		{"https://login.example", false, "login.example", nil}, // asked when it is dialled
		{"https://login.example", false, "localhost", netaddr.ErrElsewhere},
		{"https://login.example", false, "10.0.0.1", netaddr.ErrElsewhere},
		{"https://login.example", true, "localhost", nil},
		{"https://localhost", false, "localhost", netaddr.ErrElsewhere},
		{"http://[::1]:1", false, "localhost", nil},
		{"http://[::1]:1", false, "127.0.0.1", nil},
		{"http://[::1]:1", false, "8.8.8.8", netaddr.ErrElsewhere},
		{"http://10.0.0.1", false, "10.0.0.1", netaddr.ErrElsewhere},
	} {
		if err := netaddr.ReachOf(test.url, test.private).CheckHost(test.host); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("%s, private: %v, to %s: %v, want %v", test.url, test.private, test.host, err, test.want)
		}
	}
}

// A name that says loopback is dialled there, whatever it resolves to: what comes
// from it may be in clear.
func TestDialerF07(t *testing.T) {
	t.Parallel()
	inside := netaddr.ReachOf("https://login.example", true)
	for _, test := range []struct {
		to, resolved string
		want         error
	}{
		{"login.example:443", "10.0.0.1:443", nil},
		{"login.example:443", "127.0.0.1:443", nil},
		{"login.example:443", "[fe80::1%1]:443", netaddr.ErrNever},
		{"localhost:443", "127.0.0.1:443", nil},
		{"localhost:443", "10.0.0.1:443", netaddr.ErrElsewhere},
		{"localhost:443", "8.8.8.8:443", netaddr.ErrElsewhere},
		{"login.example:443", "/run/socket", netaddr.ErrNever},
	} {
		if err := inside.Dialer(test.to).Control("tcp", test.resolved, nil); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("%s at %s: %v, want %v", test.to, test.resolved, err, test.want)
		}
	}
}
