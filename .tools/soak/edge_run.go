package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff"
)

const (
	callerConns  = 16 // of HTTP/1.1, which two users share
	streamsEach  = 2  // of each protocol and user
	restWithin   = 15 * time.Second
	restSlack    = 5 // goroutines and files beside those before the first service
	finishWithin = 2 * time.Minute
)

// loaded is an edge under load, with all that belongs to it.
type loaded struct {
	dir      string
	duration time.Duration
	start    time.Time
	fatal    func(error)

	provider *provider
	users    []*user
	edge     *process
	auditor  *auditor
	caller   *caller
	load     *load
	lasting  *lasting
	turmoil  *turmoil
	watch    *watch

	before, after figures
	left          string // the stacks of what is there after and was not before
}

// runLoaded has an edge under load for a time, while all happens to it that does
// in its life. It fails if an answer was mixed up, a call failed that nobody made
// fail, or memory did not stay as it was.
func runLoaded(ctx context.Context, duration time.Duration) error {
	dir, err := os.MkdirTemp("", "onbehalf-soak")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	told := ctx
	ctx, cancel := context.WithCancelCause(told)
	defer cancel(nil)
	x := &loaded{dir: dir, duration: duration, fatal: func(err error) { cancel(err) }}
	defer x.close()
	if err := x.open(ctx); err != nil {
		return err
	}
	x.work(ctx)
	if told.Err() != nil {
		return errors.New("it was told to end before its time")
	}
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), x.tail())
	}
	if err := x.rest(ctx); err != nil {
		return errors.Join(context.Cause(ctx), err, x.tail())
	}
	return x.report(os.Stdout)
}

func (x *loaded) close() {
	if x.turmoil != nil {
		x.turmoil.close()
	}
	if x.caller != nil {
		x.caller.close()
	}
	x.edge.stop()
}

func (x *loaded) open(ctx context.Context) (err error) {
	if x.provider, err = newProvider(); err != nil {
		return err
	}
	for _, name := range []string{"alice", "bob"} {
		x.users = append(x.users, newUser(name, x.provider.tokenOf("RS256", name)))
	}
	at, err := newPlaces()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(x.dir, configFile), []byte(loadedConfig(x.provider.url, at, 0)), 0o600); err != nil {
		return err
	}
	x.auditor = newAuditor(x.users, x.fatal)
	if x.edge, err = startWith(ctx, x.auditor.into, "loaded", x.dir); err != nil {
		return err
	}
	part := strings.Fields(x.edge.line)
	if len(part) != 4 {
		return fmt.Errorf("the edge said %q", x.edge.line)
	}
	admin, err := bff.AdminClient(part[3], filepath.Join(x.dir, "data"))
	if err != nil {
		return err
	}
	if x.caller, err = newCaller(part[1], callerConns); err != nil {
		return err
	}
	x.load = &load{caller: x.caller, users: x.users, fatal: x.fatal}
	x.lasting = &lasting{caller: x.caller, fatal: x.fatal, events: &http.Client{Transport: &http.Transport{}}}
	x.watch = &watch{process: x.edge}
	x.turmoil = &turmoil{
		dir: x.dir, places: at, provider: x.provider, edge: x.edge, admin: admin, mesh: part[2], caller: x.caller,
		kills: &x.load.kills, failed: &x.load.failed, instances: make(map[string]*process),
	}
	if x.before, err = x.collected(ctx); err != nil {
		return err
	}
	for group := range at {
		for i := range at[group] {
			if err := x.turmoil.start(ctx, group, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// work returns when all that was begun has ended.
func (x *loaded) work(ctx context.Context) {
	x.start = time.Now()
	until, cancel := context.WithTimeout(ctx, x.duration)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.lasting.open(until, x.users, streamsEach)
		x.lasting.work.Go(func() { x.turmoil.run(until, x.fatal) })
		x.lasting.work.Go(func() { x.watch.run(until, time.Second/2, x.fatal) })
		x.lasting.work.Go(func() { x.renew(until) })
		x.load.run(until)
		x.lasting.work.Wait()
	}()
	x.progress(ctx, done)
}

// renew has users come with a token that the edge has not seen.
func (x *loaded) renew(ctx context.Context) {
	for n := 0; wait(ctx, tokenLife); n++ {
		for _, u := range x.users {
			token := x.provider.tokenOf([]string{"RS256", "ES256"}[n%2], u.name)
			u.token.Store(&token)
		}
	}
}

// progress says at intervals how far it is, until done is closed. It does not wait
// for ever for what has to end after ctx.
func (x *loaded) progress(ctx context.Context, done <-chan struct{}) {
	every, begin, end := time.Minute, "", "\n"
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		every, begin, end = 2*time.Second, "\r\x1b[K", ""
		defer fmt.Fprintln(os.Stderr)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	late := time.After(x.duration + finishWithin)
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			fmt.Fprint(os.Stderr, begin, x.status(), end)
		case <-late:
			x.fatal(errors.New("not all that was begun has ended"))
			return
		case <-ctx.Done():
			return
		}
	}
}

func (x *loaded) status() string {
	took, f := time.Since(x.start), x.watch.last()
	n := x.load.done.Load()
	return fmt.Sprintf("soak: %v of %v: %d calls, %.0f/s, %d failed, %d asked for; %d messages of %d streams; RSS %d MiB, heap %d MiB, %d goroutines, %d files",
		took.Round(time.Second), x.duration, n, float64(n)/took.Seconds(), x.load.failed.total(), x.load.asked.total(),
		x.lasting.took.count(), x.lasting.streams, f.RSS>>20, f.Heap>>20, f.Goroutines, f.Files)
}

// rest finds out what the edge holds when nobody wants anything of it, and then
// that it ends by itself.
func (x *loaded) rest(ctx context.Context) (err error) {
	x.caller.close()
	x.lasting.events.CloseIdleConnections()
	if err := x.turmoil.leave(); err != nil { // or the edge would keep connections to them for a while
		return err
	}
	for end := time.Now().Add(restWithin); ; {
		if x.after, err = x.collected(ctx); err != nil {
			return err
		}
		if x.atRest() || time.Now().After(end) {
			break
		}
		wait(ctx, time.Second)
	}
	if !x.atRest() {
		if err := x.edge.call(ctx, "stacks", nil, &x.left); err != nil {
			return err
		}
	}
	for end := time.Now().Add(restWithin); x.auditor.records() < x.caller.made.Load() && time.Now().Before(end); {
		wait(ctx, 100*time.Millisecond)
	}
	return x.edge.call(ctx, "stop", nil, &struct{}{})
}

func (x *loaded) atRest() bool {
	return x.after.Goroutines <= x.before.Goroutines+restSlack && x.after.Files <= x.before.Files+restSlack
}

func (x *loaded) collected(ctx context.Context) (figures, error) {
	if err := x.edge.call(ctx, "collect", nil, &struct{}{}); err != nil {
		return figures{}, err
	}
	return x.watch.now(ctx)
}

// tail returns the last lines of the edge's log as an error.
func (x *loaded) tail() error {
	data, err := os.ReadFile(filepath.Join(x.dir, "edge.log"))
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return errors.New("the end of the edge's log:\n" + strings.Join(lines[max(0, len(lines)-20):], "\n"))
}
