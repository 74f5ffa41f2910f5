package netaddr_test

import (
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/netaddr"
)

func TestIsLoopback(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "localhost.": false, "localhost.example": false, "10.0.0.1": false, "0.0.0.0": false, "::": false,
		"[::1]": false, "127.0.0.1:80": false, "2130706433": false,
	} {
		if got := netaddr.IsLoopback(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}
