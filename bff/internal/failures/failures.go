// Package failures counts what clients do wrong, by the network that they come
// from, so that guessing does not keep the edge busy.
//
// What it remembers is bounded, so it forgets: whoever has very many addresses
// makes it forget others, and is not held up himself.
package failures

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/onbehalf-dev/onbehalf/bff/internal/recent"
)

// entries is how many networks are remembered, in some 6 MB.
const entries = 1 << 15

// Counter counts failures. Nobody makes more than a number per minute, of which
// all may come at once, before [Counter.Over] says so. It is safe for concurrent
// use.
type Counter struct {
	perMinute int
	now       func() time.Time

	adding sync.Mutex // so that a network has one limiter
	known  *recent.Map[netip.Prefix, *rate.Limiter]
}

// NewCounter returns a counter that lets each network fail perMinute times, at
// least once.
func NewCounter(perMinute int, now func() time.Time) *Counter {
	return &Counter{perMinute: max(1, perMinute), now: now, known: recent.New[netip.Prefix, *rate.Limiter](entries)}
}

// Over reports whether the network of addr has failed too often. An invalid
// address never has: nobody knows who it is.
func (c *Counter) Over(addr netip.Addr) bool {
	if !addr.IsValid() {
		return false
	}
	l, known := c.known.Get(Network(addr))
	return known && l.TokensAt(c.now()) < 1
}

// Add counts a failure of the network of addr. An invalid address has none.
func (c *Counter) Add(addr netip.Addr) {
	if !addr.IsValid() {
		return
	}
	c.adding.Lock()
	defer c.adding.Unlock()
	network := Network(addr)
	l, known := c.known.Get(network)
	if !known {
		l = rate.NewLimiter(rate.Limit(float64(c.perMinute)/60), c.perMinute)
		c.known.Put(network, l)
	}
	l.AllowN(c.now(), 1)
}

// Network returns whom addr counts for: an IPv4 address for itself, one of IPv6
// for its /64, within which a host chooses its addresses freely.
func Network(addr netip.Addr) netip.Prefix {
	bits := addr.BitLen()
	if addr.Is6() && !addr.Is4In6() {
		bits = 64
	}
	network, _ := addr.Prefix(bits) // the bits fit
	return network
}
