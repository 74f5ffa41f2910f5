// Package requestid gives every external request one name, req_<ULID>, by which
// its records are found in all services.
//
// Use [Source.For] once per request at the edge; services pass the name on. It
// is a correlation id, never evidence: a trusted proxy may choose it freely.
package requestid

import (
	"crypto/rand"
	"net/http"
	"regexp"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/onbehalf-dev/onbehalf/bff/internal/netaddr"
)

const header = "X-Request-Id"

var wellFormed = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// Source makes request ids. It is safe for concurrent use.
type Source struct {
	trusted netaddr.Proxies
	now     func() time.Time

	mu      sync.Mutex
	last    uint64
	entropy *ulid.MonotonicEntropy
}

// NewSource returns a source that believes the x-request-id of peers in
// trusted, and of nobody else. A nil now means time.Now.
func NewSource(trusted netaddr.Proxies, now func() time.Time) *Source {
	if now == nil {
		now = time.Now
	}
	return &Source{trusted: trusted, now: now, entropy: ulid.Monotonic(rand.Reader, 0)}
}

// For returns the id of r: that of its x-request-id if the peer is a trusted
// proxy and the value is 1 to 64 of [A-Za-z0-9_.-], else a new one. Anybody
// else could give a request the id of another, and so hide it in the logs.
func (s *Source) For(r *http.Request) string {
	if v := r.Header[header]; len(v) == 1 && wellFormed.MatchString(v[0]) {
		if _, trusted := s.trusted.Peer(r.RemoteAddr); trusted {
			return v[0]
		}
	}
	return s.Next()
}

// Next returns a new id. Ids of one source ascend, also within a millisecond
// and when the clock is set back, so that they sort as they were made.
func (s *Source) Next() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last, ulid.Timestamp(s.now()))
	id, err := ulid.New(s.last, s.entropy)
	if err != nil { // 2^80 of one millisecond are used up; crypto/rand does not fail
		s.last++
		id = ulid.MustNew(s.last, s.entropy)
	}
	return "req_" + id.String()
}
