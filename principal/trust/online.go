package trust

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"connectrpc.com/connect/v2"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
)

// confirmer asks the edge what the last sequence is, for all who want to know.
type confirmer struct {
	mu      sync.Mutex
	next    *confirmation // of those who came while one was under way; nil if nobody did
	running bool
}

type confirmation struct {
	done     chan struct{}
	sequence uint64
	err      error
}

var (
	errConfirmSlow = errors.New("trust: the edge did not confirm in time")
	errNodeClosed  = errors.New("trust: the node is closed")
)

// confirm is the verifier's online check: it returns nil when everything that had
// been revoked when it was called is known here. One question to the edge serves
// all who came before it was asked: one that came later must not get an answer
// from before.
func (n *Node) confirm(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, n.pace.confirm, errConfirmSlow)
	defer cancel()
	c := n.join()
	if c == nil {
		return errNodeClosed
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if c.err != nil {
		return c.err
	}
	return n.progress.wait(ctx, c.sequence)
}

// join returns the next question that has not been asked yet.
func (n *Node) join() *confirmation {
	c := &n.confirmer
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = &confirmation{done: make(chan struct{})}
	}
	next := c.next
	if !c.running {
		if !n.start(n.ask) {
			c.next = nil
			return nil
		}
		c.running = true
	}
	return next
}

// ask asks for as long as there are questions.
func (n *Node) ask(ctx context.Context) {
	for {
		n.confirmer.mu.Lock()
		question := n.confirmer.next
		n.confirmer.next = nil
		n.confirmer.running = question != nil
		n.confirmer.mu.Unlock()
		if question == nil {
			return
		}
		question.sequence, question.err = n.askOnce(ctx)
		close(question.done)
	}
}

func (n *Node) askOnce(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, n.pace.confirm, errConfirmSlow)
	defer cancel()
	response, err := n.current.Load().rpc.Confirm(ctx, &trustv1.ConfirmRequest{})
	switch {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case connect.CodeOf(err) == connect.CodeDeadlineExceeded: // the edge was told until when
		return 0, errConfirmSlow
	case err != nil:
		return 0, fmt.Errorf("trust: the edge does not confirm: %w", err)
	}
	return response.GetSequence(), nil
}
