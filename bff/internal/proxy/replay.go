package proxy

import (
	"io"
	"net/http"
	"sync"
)

const (
	// replayBytes is how much of a body is kept until the answer begins, so that it
	// can be sent again. Of what is longer nothing is kept, and it is not sent again:
	// an attacker may have many requests wait for their answers.
	replayBytes = 16 << 10
	// A stream that waits for its client's next message holds this much for it.
	leastPiece = 512
)

// replay is a request's body that more than one transport may read, one after the
// other. While it could still go elsewhere, it is read in a goroutine of its own: a
// transport of HTTP/2 that gives up waits until its read has returned, and the
// client may be waiting for the answer before it sends more. A nil one is no body.
type replay struct {
	source io.ReadCloser

	mu      sync.Mutex
	changed sync.Cond
	kept    []byte // from the beginning, or if over what was not read by current
	err     error  // of the source, after what is kept
	over    bool   // some of it is gone
	reading bool
	closed  bool
	settled bool
	current *attemptBody
}

// newReplay returns nil if there is no body.
func newReplay(body io.ReadCloser) *replay {
	if body == nil || body == http.NoBody {
		return nil
	}
	b := &replay{source: body}
	b.changed.L = &b.mu
	return b
}

// attempt returns the body for the next transport, from its beginning, and none if
// r has none. What was returned before reads nothing more.
func (b *replay) attempt(none io.ReadCloser) io.ReadCloser {
	if b == nil {
		return none
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = false
	b.current = &attemptBody{replay: b}
	b.changed.Broadcast()
	return b.current
}

// again reports whether the body can be sent from its beginning.
func (b *replay) again() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.over && !b.failed()
}

// broken reports whether reading the body failed, which is its client's doing.
func (b *replay) broken() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed()
}

func (b *replay) failed() bool {
	return b.err != nil && b.err != io.EOF //nolint:errorlint // readers return it bare
}

// settle is called when the body goes nowhere else: from then on closing it takes
// effect, also if that was before, and what was read is not kept.
func (b *replay) settle() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settled = true
	b.forget()
	if b.closed {
		_ = b.source.Close() // the transport did not wait for its error either
	}
}

// forget has the body go nowhere else. The caller holds mu.
func (b *replay) forget() {
	b.over = true
	b.kept, b.current.at = b.kept[b.current.at:], 0
}

// fill reads the next piece.
func (b *replay) fill(size int) {
	p := make([]byte, size)
	n, err := b.source.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading, b.err = false, err
	if !b.over && len(b.kept)+n > replayBytes {
		b.forget()
	}
	b.kept = append(b.kept, p[:n]...)
	b.changed.Broadcast()
}

// note keeps the error of a read that went past what is kept: it is not the doing
// of the endpoint that got this far.
func (b *replay) note(err error) {
	if err == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

// attemptBody is the body as one transport reads it.
type attemptBody struct {
	replay *replay
	at     int // under replay.mu: how much of what is kept was read
}

// Read implements [io.Reader].
func (a *attemptBody) Read(p []byte) (int, error) {
	n, direct, err := a.next(p)
	if direct {
		n, err = a.replay.source.Read(p)
		a.replay.note(err)
	}
	return n, err
}

// next waits for a piece of the body that is kept. It tells when nothing is kept any
// more.
func (a *attemptBody) next(p []byte) (n int, direct bool, err error) {
	b := a.replay
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case b.current != a || b.closed:
			return 0, false, errClientGone
		case a.at < len(b.kept):
			n = copy(p, b.kept[a.at:])
			a.at += n
			return n, false, nil
		case b.err != nil:
			return 0, false, b.err
		case b.reading:
			b.changed.Wait()
		case b.over:
			b.kept, a.at = nil, 0
			return 0, true, nil
		default:
			b.reading = true
			go b.fill(min(len(p), max(leastPiece, len(b.kept))))
		}
	}
}

// Close closes the body once that is final.
func (a *attemptBody) Close() error {
	b := a.replay
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current != a {
		return nil
	}
	b.closed = true
	b.changed.Broadcast()
	if b.over {
		return b.source.Close()
	}
	return nil
}
