package bff

import (
	"net/netip"
	"sync"
)

// clients counts the requests that each network has under way and that nobody has
// vouched for yet, so that one of them does not take the places of all others. It
// holds no more than there are such requests.
type clients struct {
	most int

	mu   sync.Mutex
	held map[netip.Prefix]int
}

func newClients(most int) *clients {
	return &clients{most: most, held: make(map[netip.Prefix]int)}
}

// take reports whether network has fewer than it may, for which [clients.leave] is
// called in the end. An invalid one always has: nobody knows who it is.
func (c *clients) take(network netip.Prefix) bool {
	if !network.IsValid() {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[network] >= c.most {
		return false
	}
	c.held[network]++
	return true
}

func (c *clients) leave(network netip.Prefix) {
	if !network.IsValid() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[network]--; c.held[network] == 0 {
		delete(c.held, network)
	}
}
