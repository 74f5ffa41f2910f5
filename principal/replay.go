package principal

import (
	"sync"
	"unique"

	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// maxUses bounds what is remembered of single-use calls. Only verified headers
// are counted, so an outsider cannot fill it.
const maxUses = 1 << 18

// useKey names one use: a tail's commitment, or in relay mode an issuer and the
// id it gave, so that no issuer can use up what another one has issued.
type useKey struct {
	issuer unique.Handle[string]
	id     wire.ID
}

// uses remembers which presentations have been used, each until no verifier
// would accept it any more. It is in memory: several processes of one service
// each count for themselves.
type uses struct {
	mu    sync.Mutex
	until map[useKey]int64
	sweep int64
}

// take reports whether key has not been used before, and marks it. When no more
// can be remembered nothing is accepted.
func (u *uses) take(key useKey, until, now int64) bool {
	if until <= now { // time has passed since it was verified, and its use may be forgotten
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, used := u.until[key]; used {
		return false
	}
	if now >= u.sweep { // not for each call that finds it full: a sweep takes milliseconds
		for k, end := range u.until {
			if end <= now {
				delete(u.until, k)
			}
		}
		u.sweep = now + 1
	}
	if len(u.until) >= maxUses {
		return false
	}
	if u.until == nil {
		u.until = make(map[useKey]int64)
	}
	u.until[key] = until
	return true
}
