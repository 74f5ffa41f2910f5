package feed

import (
	"net/http"
	"sync"
	"time"
)

// cutter ends a response that its client does not take.
type cutter struct {
	mu       sync.Mutex
	response *http.ResponseController // nil once the response is over: it must not be touched then
}

// cut makes a Send that waits, and all after it, fail.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.response != nil {
		_ = c.response.SetWriteDeadline(time.Unix(1, 0)) // one in the past resets the stream
	}
}

func (c *cutter) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.response = nil
}
