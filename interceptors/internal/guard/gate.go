package guard

import (
	"sync"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// Gate stands between a handler and the messages of its stream. When the life
// of the stream ends, a Receive that waits returns, and nothing is sent any
// more. Cancelling a context alone would do neither: gRPC and Connect wait for
// the peer.
//
// As with the stream itself, one Receive and one Send may run at a time. A
// message given to a Receive that returned an error must not be used.
type Gate struct {
	*Life

	receive, send func(message any) error

	sending  sync.Mutex
	pumping  bool
	requests chan any
	results  chan received
	done     <-chan struct{}
}

type received struct {
	err      error
	panicked any
}

// NewGate returns a gate before a stream.
func NewGate(life *Life, receive, send func(message any) error) *Gate {
	g := &Gate{
		Life: life, receive: receive, send: send,
		requests: make(chan any, 1), results: make(chan received, 1), done: (*lifeContext)(life).Done(),
	}
	life.OnEnd(func() { g.answer(received{}) })
	return g
}

// Close is [Life.Close]. It may be called again.
func (g *Gate) Close() principal.Reason {
	defer g.answer(received{})
	return g.Life.Close()
}

// answer lets a Receive that waits return. It waits for nobody: where there is
// an answer already the stream has ended, and all answers are the same.
func (g *Gate) answer(r received) {
	select {
	case g.results <- r:
	default:
	}
}

// Receive receives from the stream, or returns [ErrEnded].
func (g *Gate) Receive(message any) error {
	if g.Ended() {
		return ErrEnded
	}
	if !g.pumping {
		g.pumping = true
		go g.pump()
	}
	g.requests <- message
	r := <-g.results
	switch {
	case g.Ended():
		return ErrEnded
	case r.panicked != nil:
		panic(r.panicked) // in the handler's goroutine, where it can be stopped
	}
	return r.err
}

// pump receives in place of the handler, so that the handler can stop waiting.
// It returns at the latest when the transport has ended the stream.
func (g *Gate) pump() {
	for {
		select {
		case message := <-g.requests:
			g.answer(g.receiveOne(message))
		case <-g.done:
			return
		}
	}
}

func (g *Gate) receiveOne(message any) (r received) {
	defer func() {
		if v := recover(); v != nil {
			r.panicked = v
		}
	}()
	return received{err: g.receive(message)}
}

// Send sends to the stream, or returns [ErrEnded].
func (g *Gate) Send(message any) error {
	return g.Do(func() error { return g.send(message) })
}

// Do does something else than sending a message that writes to the stream, or
// returns [ErrEnded].
func (g *Gate) Do(write func() error) error {
	g.sending.Lock()
	defer g.sending.Unlock()
	if g.Ended() {
		return ErrEnded
	}
	return write()
}

// Settle waits for a Send that another goroutine of an ended handler may still
// be in: the transport is about to write the end of the stream.
func (g *Gate) Settle() {
	g.sending.Lock()
	defer g.sending.Unlock()
}
