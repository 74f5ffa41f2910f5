package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	// resumeWithin is for how long a follower may be away and still be sure that
	// what was deleted meanwhile shows.
	resumeWithin = 30 * time.Minute

	// openPatience is short: what is asked while servers elect one is lost.
	openPatience = 2 * time.Second

	maxBatch = 256
	// batchPatience is how long the rest of a batch is waited for, which may have
	// been overwritten and come later.
	batchPatience = 50 * time.Millisecond
)

// Batch is a change of what is followed.
type Batch struct {
	// Entries are by sequence, ascending. There may be none, where only Sequence
	// has moved.
	Entries []Entry
	// Previous is the Sequence of the batch before, 0 for the first one.
	Previous uint64
	// Sequence is up to where everything is known now. It is never lower than
	// Previous.
	Sequence uint64
	// Reset says that Entries are all that there is: what is not among them is
	// not there any more.
	Reset bool
}

// Follow calls f with all that there is, and then with every change, in order
// and without gaps, until ctx ends; it returns why that ended. It holds up
// nobody while f works.
//
// If it is cut off it goes on where it was as soon as it can. If that cannot be
// told, as after a restore, there is a batch with Reset again. It never goes
// back behind what it has given: if the store did, it gives nothing. There is
// one follower at a time; more are an error.
func (s *Store) Follow(ctx context.Context, f func(Batch)) error {
	if s.following.Swap(true) {
		return errors.New("store: it is followed already")
	}
	defer s.following.Store(false)
	w := follower{store: s, give: f, said: map[string]bool{}}
	pause := firstRetry
	for {
		progress, err := w.run(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case w.closed():
			return errClosed
		case progress:
			pause = firstRetry
		}
		w.say(ctx, err)
		wait(ctx, pause/2+rand.N(pause)) //nolint:gosec // only spreads followers out
		pause = min(2*pause, lastRetry)
	}
}

type follower struct {
	store *Store
	give  func(Batch)
	epoch *epoch // of sequence
	// sequence was given, at a time when the server was there.
	sequence uint64
	alive    time.Time
	said     map[string]bool // since it was cut off
}

func (w *follower) closed() bool {
	_, _, err := w.store.current()
	return errors.Is(err, errClosed)
}

// say logs each thing that is in the way once.
func (w *follower) say(ctx context.Context, err error) {
	text := err.Error()
	if w.said[text] || len(w.said) > 32 {
		return
	}
	w.said[text] = true
	level := slog.LevelWarn
	if errors.Is(err, errBack) || errors.Is(err, errGone) || errors.Is(err, errSeal) {
		level = slog.LevelError // it does not pass by itself
	}
	w.store.logger.Log(ctx, level, "store: not following, trying again", "error", err, "sequence", w.sequence)
}

// run follows until something is in the way. progress tells whether anything was
// given.
func (w *follower) run(ctx context.Context) (progress bool, err error) {
	watch, resume, err := w.open(ctx)
	if err != nil {
		return false, err
	}
	defer watch.stop()
	if !resume {
		entries, err := watch.all(ctx)
		if err != nil {
			return false, err
		}
		w.pass(watch, Batch{Entries: entries, Sequence: watch.last, Reset: true})
	}
	if len(w.said) > 0 {
		w.store.logger.InfoContext(ctx, "store: following again", "sequence", w.sequence, "reset", !resume)
		clear(w.said)
	}
	for {
		batch, err := w.batch(ctx, watch)
		if err != nil {
			return true, err
		}
		w.pass(watch, batch)
	}
}

// open finds out whether to resume, and begins to watch.
func (w *follower) open(ctx context.Context) (_ *watch, resume bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, openPatience, errNoAnswer)
	defer cancel()
	now, err := w.store.refresh(ctx)
	if err != nil {
		return nil, false, w.store.unavailable(err)
	}
	if now.epoch.base+now.info.State.LastSeq < w.sequence {
		return nil, false, errBack
	}
	away := w.store.now().Sub(w.alive)
	resume = now.epoch.is(w.epoch) && away >= 0 && away < resumeWithin
	after := now.epoch.base
	if resume {
		after = w.sequence
	}
	watch, err := w.store.newWatch(ctx, now, after)
	if err != nil {
		return nil, false, w.store.unavailable(err)
	}
	return watch, resume, nil
}

// batch waits for a message, and takes what comes with it.
func (w *follower) batch(ctx context.Context, watch *watch) (Batch, error) {
	m, err := w.first(ctx, watch)
	if err != nil {
		return Batch{}, err
	}
	var batch Batch
	for taken := 1; ; taken++ {
		if !m.hidden {
			batch.Entries = append(batch.Entries, m.Entry)
		}
		batch.Sequence = m.Sequence
		if m.pending == 0 || taken == maxBatch {
			return batch, nil
		}
		m, err = watch.next(ctx, batchPatience)
		if errors.Is(err, errQuiet) {
			return batch, nil
		}
		if err != nil {
			return Batch{}, err
		}
	}
}

// first waits for a message while the server says that there is none.
func (w *follower) first(ctx context.Context, watch *watch) (message, error) {
	var pulse uint64
	for {
		acked := w.store.acked.Load()
		m, err := watch.next(ctx, quietLimit)
		if !errors.Is(err, errQuiet) {
			return m, err
		}
		w.alive = w.store.now()
		switch {
		case acked <= w.sequence:
		case pulse == 0:
			// What was acknowledged may have ended before it could be seen. This has not.
			pulse, _ = w.store.Pulse(ctx) // without a majority nobody lags behind it
		default:
			return message{}, fmt.Errorf("the server that is followed lags behind: %d was acknowledged", pulse)
		}
	}
}

func (w *follower) pass(watch *watch, b Batch) {
	b.Previous = w.sequence
	w.epoch, w.sequence, w.alive = watch.epoch, b.Sequence, w.store.now()
	w.give(b)
}
