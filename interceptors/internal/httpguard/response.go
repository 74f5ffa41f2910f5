package httpguard

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// Exchange is one request and its response on their way through a handler. A
// handler can neither read nor write any more once the life of its stream is
// over.
type Exchange struct {
	http.ResponseWriter

	life   *guard.Life
	frames *frames

	mu       sync.Mutex // held while writing
	wrote    bool
	hijacked bool
}

// Begin returns the exchange with the request that the handler is to get, for a
// call with that context and life; a nil life never ends. An enveloped response
// consists of the messages of an RPC protocol: it is only cut between two of
// them.
func Begin(ctx context.Context, life *guard.Life, w http.ResponseWriter, r *http.Request, enveloped bool) (*Exchange, *http.Request) {
	e := &Exchange{ResponseWriter: w}
	if enveloped {
		e.frames = new(frames)
	}
	if life == nil {
		return e, r.WithContext(ctx)
	}
	connection := http.NewResponseController(w)
	life.OnEnd(func() {
		// Wakes a Read that waits for the peer. An error says that this
		// ResponseWriter cannot: then the Read waits on, and gets nothing.
		_ = connection.SetReadDeadline(time.Unix(1, 0))
	})
	e.life = life
	r = r.WithContext(ctx)
	r.Body = body{ReadCloser: r.Body, life: life}
	return e, r
}

// End is called when the handler has returned or panicked, and may be called
// again. It says why the stream was ended before, or 0, and what the client has
// seen of the response.
func (e *Exchange) End() (principal.Reason, Progress) {
	if e.life == nil {
		return 0, e.progress()
	}
	e.mu.Lock()
	hijacked := e.hijacked
	e.mu.Unlock()
	if hijacked {
		return 0, Finished // the connection goes on without its handler, and its life with it
	}
	reason := e.life.Close()
	return reason, e.progress()
}

// Progress is how far a response has got.
type Progress uint8

// What the client has of the response.
const (
	Nothing  Progress = iota // not even a status
	Partial                  // a part of a message
	Whole                    // a status, and whole messages
	Finished                 // the message that is the last one
)

func (e *Exchange) progress() Progress {
	e.mu.Lock() // waits for a Write that another goroutine may still be in
	defer e.mu.Unlock()
	switch {
	case !e.wrote:
		return Nothing
	case !e.frames.whole():
		return Partial
	case e.frames != nil && e.frames.last:
		return Finished
	default:
		return Whole
	}
}

// Unwrap is for [http.ResponseController].
func (e *Exchange) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (e *Exchange) WriteHeader(status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended() {
		return
	}
	e.wrote = e.wrote || status >= http.StatusOK || status == http.StatusSwitchingProtocols
	e.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (e *Exchange) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	allowed := len(p)
	if e.ended() {
		if allowed = e.frames.rest(p); allowed == 0 {
			return 0, guard.ErrEnded
		}
	}
	e.wrote = true
	n, err := e.ResponseWriter.Write(p[:allowed])
	e.frames.advance(p[:n])
	if err == nil && allowed < len(p) {
		err = guard.ErrEnded
	}
	return n, err
}

// Flush implements [http.Flusher].
func (e *Exchange) Flush() { _ = e.FlushError() }

// FlushError is what [http.ResponseController] looks for.
func (e *Exchange) FlushError() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended() {
		return guard.ErrEnded
	}
	e.wrote = true
	return http.NewResponseController(e.ResponseWriter).Flush()
}

// Hijack implements [http.Hijacker]. The connection is closed when the life of
// the stream ends, also if the handler has returned by then.
func (e *Exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended() {
		return nil, nil, guard.ErrEnded
	}
	conn, rw, err := http.NewResponseController(e.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	e.wrote, e.hijacked = true, true
	if e.life != nil {
		e.life.Detach()
		e.life.OnEnd(func() { go conn.Close() }) // over TLS it says goodbye, and may wait for a peer that does not read
		conn = hijackedConn{conn, e.life}
	}
	return conn, rw, nil
}

// hijackedConn ends the life of its call when it is closed.
type hijackedConn struct {
	net.Conn

	life *guard.Life
}

func (c hijackedConn) Close() error {
	defer c.life.Close()
	return c.Conn.Close()
}

func (e *Exchange) ended() bool { return e.life != nil && e.life.Ended() }

// body is the body of a request.
type body struct {
	io.ReadCloser

	life *guard.Life
}

func (b body) Read(p []byte) (int, error) {
	if b.life.Ended() {
		return 0, guard.ErrEnded
	}
	n, err := b.ReadCloser.Read(p)
	if b.life.Ended() {
		return 0, guard.ErrEnded
	}
	return n, err
}
