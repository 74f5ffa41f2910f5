package proxy

import (
	"cmp"
	"io"
	"time"
)

var past = time.Unix(1, 0)

// end is called when the authority of x has ended. A stream between two
// messages ends now, one within a message when it is complete or the grace
// time is over.
func (x *exchange) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ended || x.finished {
		return
	}
	x.ended = true
	x.stops = append(x.stops, x.h.afterFunc(graceTime, x.giveUp))
	if x.body == nil || x.body.frames.between() {
		x.cut(ErrEnded)
	}
}

// cut breaks the connection to the upstream. Cancelling alone does not end an
// idle bidirectional stream: the transport waits in a read of the client's
// body, which only a deadline interrupts. The caller holds mu.
func (x *exchange) cut(cause error) {
	_ = x.rc.SetReadDeadline(past)
	x.cancel(cause)
}

// giveUp ends what the upstream did not complete, or the client does not take.
func (x *exchange) giveUp() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.finished {
		return
	}
	x.cut(ErrEnded)
	_ = x.rc.SetWriteDeadline(past)
}

// awaitAnswer starts the wait for the upstream's header, once the request is
// complete. The caller holds mu.
func (x *exchange) awaitAnswer() {
	if !x.read || x.answered || x.finished || x.upgrade || x.protocol.streams() {
		return
	}
	x.stops = append(x.stops, x.h.afterFunc(x.h.upstream.AnswerWithin, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if !x.answered {
			x.cancel(errNoAnswer)
		}
	}))
}

// requestBody is the client's body as the transport reads it.
type requestBody struct {
	io.ReadCloser
	x *exchange
}

func (b *requestBody) Read(p []byte) (int, error) {
	x := b.x
	x.mu.Lock()
	if x.read || x.finished {
		// Not the server's body again: it closes that when the answer begins, and
		// the transport would take the error for one of the connection.
		err := cmp.Or(x.readErr, io.EOF)
		if !x.read {
			err = errClientGone
		}
		x.mu.Unlock()
		return 0, err
	}
	x.waitForBody()
	x.mu.Unlock()

	n, err := b.ReadCloser.Read(p)

	x.mu.Lock()
	x.pace.came(p[:n], x.h.now)
	ended := x.ended
	if err != nil && !x.read {
		x.bodyRead(err)
	}
	x.mu.Unlock()
	if ended {
		// Nothing more goes upstream; but an error now would take the rest of
		// the upstream's current message with it.
		<-x.ctx.Done()
		return 0, ErrEnded
	}
	return n, err
}

// bodyRead notes that the client's body has come to its end. Only now has the
// trailer all its names. The caller holds mu.
func (x *exchange) bodyRead(err error) {
	x.read = true
	if err != io.EOF { //nolint:errorlint // readers return it bare
		x.readErr = err
		return
	}
	x.smuggled += aliases(x.r.Trailer) - x.announced
	x.awaitAnswer()
}
