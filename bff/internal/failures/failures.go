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
)

// entries is how many networks are remembered in one generation; two of them
// take some 6 MB.
const entries = 1 << 14

// Counter counts failures. Nobody makes more than a number per minute, of which
// all may come at once, before [Counter.Over] says so. It is safe for concurrent
// use.
type Counter struct {
	perMinute int
	now       func() time.Time

	mu         sync.Mutex
	young, old map[netip.Prefix]*rate.Limiter
}

// NewCounter returns a counter that lets each network fail perMinute times, at
// least once.
func NewCounter(perMinute int, now func() time.Time) *Counter {
	return &Counter{perMinute: max(1, perMinute), now: now}
}

// Over reports whether the network of addr has failed too often. An invalid
// address never has: nobody knows who it is.
func (c *Counter) Over(addr netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young)+len(c.old) == 0 || !addr.IsValid() {
		return false
	}
	l := c.find(Network(addr))
	return l != nil && l.TokensAt(c.now()) < 1
}

// Add counts a failure of the network of addr. An invalid address has none.
func (c *Counter) Add(addr netip.Addr) {
	if !addr.IsValid() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	network := Network(addr)
	l := c.find(network)
	if l == nil {
		l = rate.NewLimiter(rate.Limit(float64(c.perMinute)/60), c.perMinute)
		c.put(network, l)
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

// find keeps what is looked for young. The caller holds mu.
func (c *Counter) find(network netip.Prefix) *rate.Limiter {
	if l := c.young[network]; l != nil {
		return l
	}
	l := c.old[network]
	if l != nil {
		c.put(network, l)
	}
	return l
}

// put forgets what was old when the young are too many. The caller holds mu.
func (c *Counter) put(network netip.Prefix, l *rate.Limiter) {
	if len(c.young) >= entries {
		c.old, c.young = c.young, nil
	}
	if c.young == nil {
		c.young = make(map[netip.Prefix]*rate.Limiter)
	}
	c.young[network] = l
}
