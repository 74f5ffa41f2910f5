// Package netaddr says what follows from an address: who is a trusted proxy, from
// whom a request comes through one, what is this machine, and what may be connected
// to.
package netaddr

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

const header = "X-Forwarded-For"

// Proxies are the networks of proxies that are trusted to say from whom a request
// comes. It is safe for concurrent use.
type Proxies []netip.Prefix

// Peer returns the address of who is connected, as [http.Request.RemoteAddr] has
// it, and whether that is one of the proxies. It is invalid where there is none.
func (p Proxies) Peer(remote string) (addr netip.Addr, trusted bool) {
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}, false
	}
	addr = plain(peer.Addr())
	return addr, p.trusts(addr)
}

// Client returns the address of the peer or, if that is a trusted proxy, the last
// one in its x-forwarded-for that is not one itself: what stands before that was
// written by somebody who is not trusted, and is not looked at. The address is
// invalid if a trusted proxy names none.
func (p Proxies) Client(r *http.Request) netip.Addr {
	addr, trusted := p.Peer(r.RemoteAddr)
	if !trusted {
		return addr
	}
	forwarded := strings.Join(r.Header[header], ",")
	for p.trusts(addr) {
		comma := strings.LastIndexByte(forwarded, ',')
		addr = parse(forwarded[comma+1:])
		forwarded = forwarded[:max(comma, 0)]
	}
	return addr
}

func (p Proxies) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(p, func(prefix netip.Prefix) bool { return prefix.Contains(addr) })
}

// parse takes an address, as some proxies write it also in brackets or with a
// port.
func parse(s string) netip.Addr {
	s = strings.TrimSpace(s)
	if peer, err := netip.ParseAddrPort(s); err == nil {
		return plain(peer.Addr())
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		s = strings.TrimSuffix(inner, "]")
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return plain(addr)
}

// plain gives one address one form.
func plain(addr netip.Addr) netip.Addr {
	return addr.Unmap().WithZone("")
}
