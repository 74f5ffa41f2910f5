package audit

import (
	"io"
	"log/slog"
	"sync"
)

// maxKept bounds what is kept while writing fails, in bytes.
const maxKept = 1 << 20

// sink writes lines, and keeps those that cannot be written. A line that was
// written in part goes on where it stopped, so that a full disk leaves no torn
// records.
type sink struct {
	to  io.Writer
	log *slog.Logger

	mu   sync.Mutex
	kept []byte
	lost int // lines, since the last one was written
}

// Write implements [io.Writer]. It never fails.
func (s *sink) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	switch rest := line; {
	case len(s.kept) == 0:
		n, err := s.to.Write(line)
		if err == nil {
			break
		}
		s.log.Error("audit records cannot be written", "error", err)
		s.kept = append(s.kept, rest[n:]...)
	case len(s.kept)+len(line) > maxKept:
		s.lost++
	default:
		s.kept = append(s.kept, line...)
	}
	return len(line), nil
}

// flush writes what was kept. The caller holds mu.
func (s *sink) flush() {
	if len(s.kept) == 0 {
		return
	}
	n, err := s.to.Write(s.kept)
	s.kept = s.kept[n:]
	if err != nil || len(s.kept) > 0 {
		return
	}
	s.log.Warn("audit records can be written again", "lost", s.lost)
	s.kept, s.lost = nil, 0
}

func (s *sink) failing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	return len(s.kept) > 0
}
