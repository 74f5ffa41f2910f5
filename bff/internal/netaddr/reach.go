package netaddr

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
)

// Errors of [Reach.Check]. Neither names the address.
var (
	// ErrElsewhere is returned for an address that is allowed to others.
	ErrElsewhere = errors.New("the address is not one that this provider may have: " +
		"write private_network: true if it is on a private network or this machine, and meant to be")
	// ErrNever is returned for an address that is allowed to nobody.
	ErrNever = errors.New("nothing is fetched from link-local, metadata, multicast and reserved addresses: write the provider's own")
)

// Reach is which addresses may be connected to. The zero value reaches nothing.
// It is immutable and safe for concurrent use.
type Reach struct {
	public, private, loopback bool
}

// ReachOf returns which addresses the server of a URL may have, whatever its name
// resolves to: public ones, with private those of private networks and of this
// machine too. If the URL has a loopback IP address itself, it is that alone.
func ReachOf(rawURL string, private bool) Reach {
	if private {
		return Reach{public: true, private: true, loopback: true}
	}
	u, err := url.Parse(rawURL)
	if err == nil && isLoopbackIP(u.Hostname()) {
		return Reach{loopback: true}
	}
	return Reach{public: true}
}

// Check returns an error for an address that may not be connected to.
//
// What makes it worth asking for: a name that resolves to 169.254.169.254 has the
// edge read the credentials of the machine that it runs on, and one that resolves
// to 10.0.0.1 what only the inside is meant to see.
func (r Reach) Check(addr netip.Addr) error {
	switch zoneOf(plain(addr)) {
	case public:
		return elsewhereUnless(r.public)
	case private:
		return elsewhereUnless(r.private)
	case loopback:
		return elsewhereUnless(r.loopback)
	default:
		return ErrNever
	}
}

// CheckHost returns an error for the host of a URL if it is an IP address, or
// localhost, that may not be connected to. Other names are not resolved: what they
// resolve to is another thing at the next moment.
func (r Reach) CheckHost(host string) error {
	if host == "localhost" {
		return elsewhereUnless(r.loopback)
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nil //nolint:nilerr // it is a name
	}
	return r.Check(addr)
}

// Dialer returns a dialer for an address to dial, a host and a port. It checks the
// IP address of each connection that it makes, which is after the name was
// resolved: a name that resolves to another address each time is of no use.
//
// To localhost and to loopback IP addresses only loopback is dialled.
func (r Reach) Dialer(address string) *net.Dialer {
	if host, _, err := net.SplitHostPort(address); err == nil && IsLoopback(host) {
		r.public, r.private = false, false
	}
	return &net.Dialer{Control: r.control}
}

func (r Reach) control(_, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return ErrNever // not an IP address: what is it?
	}
	return r.Check(addr.Addr())
}

func elsewhereUnless(allowed bool) error {
	if allowed {
		return nil
	}
	return ErrElsewhere
}

func isLoopbackIP(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// zone is what an address is for.
type zone uint8

const (
	never zone = iota
	public
	private
	loopback
)

// Networks by what they are for, as in IANA's registries of special-purpose
// addresses. Those of IPv6 that are in none of them are public if they are in
// 2000::/3, which is all that is assigned.
var (
	nevers = prefixes(
		"0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "224.0.0.0/4", "255.255.255.255/32",
		"100.100.100.200/32", "168.63.129.16/32", // metadata: Alibaba Cloud, Azure
		"fe80::/10", "ff00::/8", "2001::/32", // the last is Teredo
		"fd00:ec2::/32", "fd20:ce::/32", // metadata: AWS, Google Cloud
	)
	privates = prefixes(
		"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
		"100.64.0.0/10",                // RFC 6598
		"198.18.0.0/15", "240.0.0.0/4", // not routed; some meshes and proxies give them to names
		"fc00::/7", "fec0::/10",
	)
	assigned = netip.MustParsePrefix("2000::/3")
	// translated have an IPv4 address within: NAT64 (RFC 6052) and 6to4 (RFC 3056).
	translated = map[netip.Prefix]int{netip.MustParsePrefix("64:ff9b::/96"): 12, netip.MustParsePrefix("2002::/16"): 2}
)

func prefixes(list ...string) []netip.Prefix {
	parsed := make([]netip.Prefix, len(list))
	for i, s := range list {
		parsed[i] = netip.MustParsePrefix(s)
	}
	return parsed
}

// zoneOf takes an address as [plain] returns it.
func zoneOf(addr netip.Addr) zone {
	in := func(p netip.Prefix) bool { return p.Contains(addr) }
	switch {
	case slices.ContainsFunc(nevers, in):
		return never
	case addr.IsLoopback():
		return loopback
	case slices.ContainsFunc(privates, in):
		return private
	case addr.Is4():
		return public
	}
	for prefix, at := range translated {
		if prefix.Contains(addr) {
			return within(addr, at)
		}
	}
	if assigned.Contains(addr) {
		return public
	}
	return never
}

// within judges an address by the IPv4 address in it. Only public ones are
// translated; others are there to get around a check.
func within(addr netip.Addr, at int) zone {
	bytes := addr.As16()
	if zoneOf(netip.AddrFrom4([4]byte(bytes[at:at+4]))) != public {
		return never
	}
	return public
}
