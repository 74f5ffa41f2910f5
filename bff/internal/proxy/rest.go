package proxy

import (
	"net/http"
	"time"
)

const (
	// An endpoint that could not be reached is left alone for this long, and twice
	// as long each time that it still cannot.
	shortestRest = time.Second
	longestRest  = 30 * time.Second
	// mostFailed is how many requests in a row may reach an endpoint in vain until
	// it is left alone as well. It has the fewest under way, as it fails them at
	// once, and would draw all others.
	mostFailed = 5
)

// fails reports whether res says that nobody is there who could serve the request.
func fails(res *http.Response) bool {
	switch res.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return res.Header.Get("Grpc-Status") == "14" // in a header only if there is no more
}

// dialled notes how a dial went: it may end long after the request has, which is when
// a client is less patient than a dial. Those that began together count once.
func (e *endpoints) dialled(one *endpoint, failed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	if failed && (one.rest == 0 || !now.Before(one.until) || one.probing) {
		one.sleep(now)
	}
}

// sleep has one rest. The caller holds mu.
func (one *endpoint) sleep(now time.Time) {
	one.probing = false
	one.rest = min(max(shortestRest, 2*one.rest), longestRest)
	one.until = now.Add(one.rest)
}

// answered notes an answer. It runs until its body is closed.
func (e *endpoints) answered(one *endpoint, fails bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if fails {
		e.inVain(one)
		return
	}
	if one.ejected {
		e.log.Info("endpoint serves requests again", "upstream", e.upstream, "endpoint", one.address)
	}
	one.rest, one.until, one.probing = 0, time.Time{}, false
	one.failed, one.ejected = 0, false
}

// left notes the end of an attempt without an answer. It was lost if that is the
// endpoint's doing, and not the client's.
func (e *endpoints) left(one *endpoint, lost bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	one.running--
	if lost {
		e.inVain(one)
	}
}

// inVain counts a request that one was sent and did not serve. If they are too
// many in a row, or if it was to show that it does again, it rests: never more
// than half of them for that, because a client may know what makes a service fail.
// The caller holds mu.
func (e *endpoints) inVain(one *endpoint) {
	now := e.now()
	one.failed++
	switch {
	case now.Before(one.until) && !one.probing: // what began before it rested
		return
	case !one.probing && one.failed < mostFailed:
		return
	}
	resting := 0
	for _, other := range e.all {
		if other != one && other.ejected && now.Before(other.until) {
			resting++
		}
	}
	if resting >= len(e.all)/2 {
		return
	}
	if !one.ejected {
		e.log.Warn("endpoint fails requests and rests", "upstream", e.upstream, "endpoint", one.address, "requests", one.failed)
	}
	one.ejected = true
	one.sleep(now)
}
