// Package clientaddr finds the address that a request comes from, through the
// proxies that are trusted to say so.
package clientaddr

import (
	"net/http"
	"net/netip"
	"strings"
)

const header = "X-Forwarded-For"

// Finder finds addresses. It is safe for concurrent use.
type Finder struct {
	trusted []netip.Prefix
}

// NewFinder returns a finder that believes the x-forwarded-for of peers in
// trusted, and of nobody else.
func NewFinder(trusted []netip.Prefix) *Finder {
	return &Finder{trusted: trusted}
}

// Of returns the address of the peer or, if that is a trusted proxy, the last one
// in its x-forwarded-for that is not one itself: what stands before that was
// written by somebody who is not trusted, and is not looked at. The address is
// invalid if a trusted proxy names none.
func (f *Finder) Of(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := plain(peer.Addr())
	if !f.trusts(addr) {
		return addr
	}
	forwarded := strings.Join(r.Header[header], ",")
	for f.trusts(addr) {
		comma := strings.LastIndexByte(forwarded, ',')
		addr = parse(forwarded[comma+1:])
		forwarded = forwarded[:max(comma, 0)]
	}
	return addr
}

func (f *Finder) trusts(addr netip.Addr) bool {
	for _, prefix := range f.trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
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
