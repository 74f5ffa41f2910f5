package store

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// saveEvery is how much can be acknowledged and not noticed to be lost, if
	// the process was killed and files are damaged besides.
	saveEvery = time.Second
	// moveAfter so many seconds without any answer it is not the moment, but
	// perhaps the server that this process is connected to.
	moveAfter = 12
)

// keep looks after the store until it is closed.
func (s *Store) keep(ctx context.Context) {
	defer close(s.stopped)
	ticker := time.NewTicker(saveEvery)
	defer ticker.Stop()
	var repair backoff
	failing := 0
	for {
		select {
		case <-ctx.Done():
			return
		case at := <-ticker.C:
			if s.embedded == nil {
				if failing++; s.failures.Load() == 0 {
					failing = 0
				} else if failing == moveAfter {
					failing = 0
					s.move(ctx)
				}
				continue
			}
			s.save(ctx)
			if !s.embedded.suspect.Load() {
				repair = backoff{}
			} else if repair.due(at) {
				s.repair(ctx)
			}
		}
	}
}

// backoff spaces tries out.
type backoff struct {
	pause time.Duration
	next  time.Time
}

func (b *backoff) due(now time.Time) bool {
	if now.Before(b.next) {
		return false
	}
	b.pause = min(max(2*b.pause, saveEvery), 30*time.Second)
	b.next = now.Add(b.pause)
	return true
}

func (s *Store) save(ctx context.Context) {
	e, acked := s.embedded, s.acked.Load()
	if acked <= e.saved {
		return
	}
	if err := writeState(e.dir, state{Base: e.base, Ready: true, Sequence: acked}); err != nil {
		if !e.unsynced.Swap(true) {
			s.logger.ErrorContext(ctx, "store: cannot note what was acknowledged", "error", err)
		}
		return
	}
	e.unsynced.Store(false)
	e.saved = acked
}

// repair starts the embedded server again, after it failed to write and there is
// space to. What it had acknowledged must be there.
func (s *Store) repair(ctx context.Context) {
	e := s.embedded
	if free, err := freeSpace(e.dir); err != nil || free < e.minFree {
		return
	}
	if session := s.drop(); session != nil {
		session.conn.Close()
	}
	e.stop()
	opening, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	session, epoch, err := e.start(opening, s.acked.Load())
	if err != nil {
		e.suspect.Store(true)
		s.logger.ErrorContext(ctx, "store: the embedded server does not start again", "error", err)
		return
	}
	s.mu.Lock()
	s.session, s.epoch = session, epoch
	s.mu.Unlock()
	s.logger.InfoContext(ctx, "store: the embedded server was started again")
}

// noteFailure counts what the server did not answer in the time it had; a caller
// may have less patience.
func (s *Store) noteFailure(ctx context.Context, err error) {
	closed := errors.Is(err, nats.ErrConnectionClosed)
	if !closed && !errors.Is(context.Cause(ctx), errNoAnswer) {
		return
	}
	s.failures.Add(1)
	if s.embedded != nil {
		s.embedded.suspect.Store(true)
	}
}

// move connects to another server: the one of now may be cut off from the others
// and does not know.
func (s *Store) move(ctx context.Context) {
	session, _, err := s.current()
	if err != nil || len(session.conn.Servers()) < 2 || session.conn.Status() != nats.CONNECTED {
		return
	}
	s.logger.WarnContext(ctx, "store: no answers, trying another server")
	if err := session.conn.ForceReconnect(); err != nil {
		s.logger.WarnContext(ctx, "store: cannot try another server", "error", err)
	}
}
