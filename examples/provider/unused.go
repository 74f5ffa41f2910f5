package provider

import (
	"net"
	"net/http"
	"sync"
)

// unused are connections on which nothing was asked yet. Browsers and Go's
// transport open some in advance, and [http.Server.Shutdown] waits five seconds
// for them.
type unused struct {
	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
}

// track is an [http.Server.ConnState].
func (u *unused) track(conn net.Conn, state http.ConnState) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(u.conns, conn)
	case u.closed:
		_ = conn.Close()
	default:
		u.conns[conn] = struct{}{}
	}
}

// close closes them, and those that come.
func (u *unused) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	for conn := range u.conns {
		_ = conn.Close()
	}
}
