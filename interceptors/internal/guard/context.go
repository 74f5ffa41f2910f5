package guard

import (
	"context"
	"fmt"
	"io"
	"time"
)

// lifeContext is the context of a life. It is made of one that can be cancelled
// only when somebody wants to know: most handlers of unary calls do not wait for
// anything, and should not pay for what they might wait for.
type lifeContext Life

type cancellable struct {
	context.Context //nolint:containedctx // it is a context

	cancel context.CancelCauseFunc
}

// cancellable returns the context that can be cancelled. l.mu is held.
func (l *Life) cancellable() *cancellable {
	if c := l.inner.Load(); c != nil {
		return c
	}
	c := new(cancellable)
	c.Context, c.cancel = context.WithCancelCause(l.parent)
	if l.closed {
		c.cancel(nil)
	}
	l.inner.Store(c)
	return c
}

func (c *lifeContext) made() *cancellable {
	if made := c.inner.Load(); made != nil {
		return made
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return (*Life)(c).cancellable()
}

// Deadline implements [context.Context].
func (c *lifeContext) Deadline() (time.Time, bool) { return c.parent.Deadline() }

// Done implements [context.Context].
func (c *lifeContext) Done() <-chan struct{} { return c.made().Done() }

// Err implements [context.Context].
func (c *lifeContext) Err() error { return c.made().Err() }

// Value implements [context.Context].
func (c *lifeContext) Value(key any) any {
	if made := c.inner.Load(); made != nil {
		return made.Value(key) // also package context's own keys, by which a child and a cause are found
	}
	return c.parent.Value(key)
}

// Format keeps every verb of fmt from printing what the context carries.
func (*lifeContext) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "guard.lifeContext") }
