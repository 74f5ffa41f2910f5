package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	workers    = 32
	callWithin = 20 * time.Second
	tokenLife  = 2 * time.Second // after which users come with another one
	afterKill  = 500 * time.Millisecond
)

// load is calls of two users that never end by themselves.
type load struct {
	caller *caller
	users  []*user
	kills  windows
	fatal  func(error)

	next          atomic.Uint64
	done          atomic.Int64
	asked, failed tally
	took          histogram
}

// run makes calls until ctx ends, and returns when the last has been answered.
func (l *load) run(ctx context.Context) {
	var work sync.WaitGroup
	for range workers {
		work.Go(func() {
			for ctx.Err() == nil {
				l.one(ctx)
			}
		})
	}
	work.Wait()
}

// one makes the next call: each number is of one call of one user.
func (l *load) one(ctx context.Context) {
	number := l.next.Add(1)
	u, k := l.users[rand.N(len(l.users))], &kinds[rand.N(len(kinds))]
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callWithin)
	defer cancel()
	start := time.Now()
	err := k.do(ctx, l.caller, u, strconv.FormatUint(number, 10))
	end := time.Now()
	l.done.Add(1)
	if err == nil {
		l.took.add(end.Sub(start))
		return
	}
	var mixed mixedUp
	switch {
	case errors.As(err, &mixed):
		l.fatal(fmt.Errorf("%s: %w", k.name, err))
	case k.group == killed && l.kills.touch(start, end):
		l.asked.add(k.name + " | " + cause(err))
	default:
		l.failed.add(k.name + " | " + cause(err))
		l.failed.note("%s took %v until %s: %v", k.name, end.Sub(start).Round(time.Millisecond), end.Format("15:04:05.000"), err)
	}
}

// windows are the times in which an instance that was killed may be missed.
type windows struct {
	mu  sync.Mutex
	all []time.Time // each begins one
}

func (w *windows) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, time.Now())
}

// touch reports whether a call was under way in one of them.
func (w *windows) touch(from, to time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, begin := range w.all {
		if from.Before(begin.Add(afterKill)) && to.After(begin) {
			return true
		}
	}
	return false
}
