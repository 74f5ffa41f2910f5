package keys

import (
	"context"
	"errors"
	"slices"
	"time"
)

const (
	// often is how often Run looks at a key that waits to be activated, seldom how
	// often it looks whether there is anything to do.
	often  = 250 * time.Millisecond
	seldom = 10 * time.Second
	// complain is how often an old key is logged.
	complain = time.Hour
)

// Run rotates until ctx ends, and then returns nil, or until this process is
// superseded. An unavailable store is logged once and asked again.
func (a *Authority) Run(ctx context.Context) error {
	backoff := time.Duration(0)
	for {
		wait, err := a.step(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was told to end
		case errors.Is(err, ErrSuperseded):
			a.log.ErrorContext(ctx, "this edge signs no more", "error", err)
			return err
		case err != nil:
			if backoff == 0 {
				a.log.WarnContext(ctx, "keys cannot be rotated now; the active one goes on signing", "error", err)
			}
			backoff = min(max(2*backoff, time.Second), seldom)
			wait = backoff
		case backoff > 0:
			a.log.InfoContext(ctx, "keys can be rotated again")
			backoff = 0
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.After(wait):
		case <-a.wake:
		}
	}
}

// rouse makes Run look now.
func (a *Authority) rouse() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// step does what has to be done now, and returns when to look again.
func (a *Authority) step(ctx context.Context) (wait time.Duration, err error) {
	if err := a.lock(ctx); err != nil {
		return 0, err
	}
	defer a.unlock()
	defer a.mourn(ctx)
	wait = min(seldom, a.Life/20)
	if len(a.attempts) > 0 || a.Elapsed()-a.checked >= wait {
		if err := a.refresh(ctx); err != nil {
			return 0, err
		}
	}
	for _, do := range []func(context.Context) error{a.dropRevoked, a.rotate, a.remove, a.empty} {
		if err := do(ctx); err != nil {
			return 0, err
		}
	}
	if a.next.id != "" || a.revoked[a.record.GetActive()] {
		wait = often
	}
	return wait, nil
}

// rotate publishes or activates, if it is time.
func (a *Authority) rotate(ctx context.Context) error {
	switch {
	case a.Static != nil:
		return nil
	case a.next.id == "" && a.age() >= a.Life/2:
		return a.publish(ctx)
	case a.next.id != "" && a.ready():
		return a.activate(ctx)
	}
	return nil
}

// remove takes keys out of the record that do not verify any more.
func (a *Authority) remove(ctx context.Context) error {
	if !slices.ContainsFunc(a.record.GetKeys(), a.due) {
		return nil
	}
	return a.replace(ctx, without(a.record, a.due))
}

// mourn complains of a key that signs although its life is over.
func (a *Authority) mourn(ctx context.Context) {
	elapsed := a.Elapsed()
	if a.Static != nil || a.age() < a.Life || a.overdue != 0 && elapsed-a.overdue < complain {
		return
	}
	a.overdue = max(elapsed, 1)
	a.log.ErrorContext(ctx, "the active key is older than its life and cannot be replaced; it goes on signing", "key", a.record.GetActive())
}
