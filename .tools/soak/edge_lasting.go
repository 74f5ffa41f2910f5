package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect/v2/connecthttp"
)

// messageWithin is how long a message of a stream may take. One that something
// holds back until the next comes takes for ever: the next is sent when it is there.
const messageWithin = 5 * time.Second

// lasting are streams that go on for as long as the load, on instances that do too.
type lasting struct {
	caller *caller
	events *http.Client // HTTP/1.1: a connection each
	fatal  func(error)

	took     histogram
	work     sync.WaitGroup
	streams  int
	complete tally
}

// open opens streams of all protocols for each user, until ctx ends.
func (l *lasting) open(ctx context.Context, users []*user, each int) {
	for _, u := range users {
		for range each {
			l.start(ctx, "gRPC", u, l.talking(func(ctx context.Context) (talk, error) {
				return l.caller.talkGRPC(ctx, steady+"-grpc", u)
			}))
			l.start(ctx, "Connect", u, l.talking(func(ctx context.Context) (talk, error) {
				return l.caller.talkConnect(ctx, steady+"-connect", u)
			}))
			l.start(ctx, "gRPC-Web", u, l.talking(func(ctx context.Context) (talk, error) {
				return l.caller.talkConnect(ctx, steady+"-connect", u, connecthttp.WithGRPCWeb())
			}))
			l.start(ctx, "HTTP/1.1", u, l.listen)
		}
	}
}

func (l *lasting) start(ctx context.Context, name string, u *user, run func(context.Context, *user) error) {
	l.streams++
	l.work.Go(func() {
		if err := run(ctx, u); err != nil {
			l.fatal(fmt.Errorf("a stream over %s of %s: %w", name, u.name, err))
			return
		}
		l.complete.add(name)
	})
}

var errLate = errors.New("a message did not come in time")

// watched returns a context that ends unless it is told in time that a message
// has come.
func watched() (ctx context.Context, came func(), stop context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	timer := time.AfterFunc(messageWithin, func() { cancel(errLate) })
	return ctx, func() { timer.Reset(messageWithin) }, func() {
		timer.Stop()
		cancel(nil)
	}
}

func why(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errLate) {
		return errLate
	}
	return err
}

// talking sends a message at intervals and waits for its answer.
func (l *lasting) talking(open func(context.Context) (talk, error)) func(context.Context, *user) error {
	return func(until context.Context, u *user) error {
		ctx, came, stop := watched()
		defer stop()
		t, err := open(ctx)
		if err != nil {
			return err
		}
		ticker := time.NewTicker(eventEvery)
		defer ticker.Stop()
		for n := 0; ; n++ {
			text, start := "m"+strconv.Itoa(n), time.Now()
			came()
			got, err := t.say(text)
			if err != nil {
				return fmt.Errorf("message %d: %w", n, why(ctx, err))
			}
			if err := same(answerTo(u.name, text), got); err != nil {
				return err
			}
			l.took.add(time.Since(start))
			select {
			case <-ticker.C:
			case <-until.Done():
				came()
				return why(ctx, t.end())
			}
		}
	}
}

// listen hears messages that the other side sends at intervals. That ends when
// this side leaves.
func (l *lasting) listen(until context.Context, u *user) error {
	ctx, came, stop := watched()
	defer stop()
	r, err := l.caller.request(ctx, http.MethodGet, steady+"-plain", "/events/"+u.name, "", u)
	if err != nil {
		return err
	}
	l.caller.made.Add(1)
	res, err := l.events.Do(r)
	if err != nil {
		return why(ctx, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return statusError(res.StatusCode)
	}
	lines := bufio.NewScanner(res.Body)
	for n := 0; until.Err() == nil; n++ {
		came()
		if !lines.Scan() {
			return fmt.Errorf("message %d: %w", n, why(ctx, errors.Join(errors.New("the stream has ended"), lines.Err())))
		}
		cut := strings.LastIndexByte(lines.Text(), ' ')
		if cut < 0 {
			return fmt.Errorf("message %d is cut", n)
		}
		if err := same(answerTo(u.name, strconv.Itoa(n)), lines.Text()[:cut]); err != nil {
			return err
		}
		sent, err := strconv.ParseInt(lines.Text()[cut+1:], 10, 64)
		if err != nil {
			return err
		}
		l.took.add(time.Duration(time.Now().UnixNano() - sent))
	}
	return nil
}
