package mint

import (
	"sync"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
)

// span is when something holds. It has a beginning too: if the clock is set
// back, what was made in the future is made again.
type span struct {
	from, until time.Time
}

func (s span) covers(now time.Time) bool {
	return !now.Before(s.from) && now.Before(s.until)
}

// session is what was found out about one credential, and signed for it.
type session struct {
	span

	authority

	result      *authn.Result // not modified
	unenriched  string        // why nothing was added to it
	transaction []byte        // that goes on, or nil

	mu      sync.Mutex
	headers map[Spec]entry
}

type entry struct {
	span

	minted *Minted
}

// minted returns the principal of this window. Requests that come at the same
// time wait for one signature.
func (s *session) minted(spec Spec, now time.Time, m *Minter) (*Minted, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.headers[spec]; ok && e.covers(now) && !e.minted.revoked(m.Revocations) {
		return e.minted, nil
	}
	minted, err := m.sign(s, spec, now)
	if err != nil {
		return nil, err
	}
	e := entry{span: span{from: now, until: now.Add(m.Window)}, minted: minted}
	if last := time.Unix(minted.Principal.GetExpiresAt(), 0).Add(-spare); last.Before(e.until) {
		e.until = last
	}
	if s.headers == nil {
		s.headers = make(map[Spec]entry, 1)
	}
	s.headers[spec] = e
	return minted, nil
}
