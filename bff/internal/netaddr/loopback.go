package netaddr

import "net/netip"

// IsLoopback reports whether a host, as a URL or an address to listen on has it, is
// this machine alone: a loopback address, or localhost.
func IsLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}
