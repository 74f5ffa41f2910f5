package trust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
)

const (
	// The edge says how long it is silent at most. What it may say is bounded: it
	// must neither keep a dead connection alive nor make a live one look dead.
	defaultHeartbeat  = 2 * time.Second
	shortestHeartbeat = 100 * time.Millisecond
	longestHeartbeat  = 10 * time.Second
	// patience is how many of them may be missing.
	patience = 3

	// maxDrift is what verifiers allow for clocks that differ.
	maxDrift = 30 * time.Second
)

var (
	errSilent  = errors.New("trust: the feed has fallen silent")
	errEnded   = errors.New("trust: the edge has ended the feed")
	errRewatch = errors.New("trust: it is time to call anew")
)

// watcher follows the feed: one connection and one Watch after the other.
type watcher struct {
	*Node

	line      *line
	heartbeat time.Duration
	retry     backoff
	anew      bool   // the next Watch asks for a snapshot, as something was missing
	issuer    string // whose feed it is, from the first snapshot on
	begun     bool
}

func (n *Node) follow(ctx context.Context) {
	w := &watcher{Node: n, heartbeat: defaultHeartbeat, retry: backoff{first: n.pace.redialFirst, last: n.pace.redialLast}}
	defer func() { w.line.close() }()
	w.redial()
	for {
		err := w.watch(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errRewatch):
			continue
		}
		w.report(ctx, err)
		if !pause(ctx, w.retry.next()) {
			return
		}
		w.redial()
	}
}

// redial has everything that is asked of the edge from now on go over a new
// connection. The old one is closed, not given back: one whose other end has
// stopped looks healthy.
func (w *watcher) redial() {
	old := w.line
	w.line = w.lines.open()
	w.current.Store(w.line)
	if old != nil {
		old.close()
	}
}

// report logs what keeps the feed away, once for each change.
func (w *watcher) report(ctx context.Context, err error) {
	if before := w.followTrouble(); before == nil || before.Error() != err.Error() {
		w.logger.WarnContext(ctx, "trust feed lost", "edge", w.lines.origin.String(), "sequence", w.progress.at(), "error", err)
	}
	w.trouble.Store(&trouble{err})
}

// watch makes one Watch and applies what comes, until something is wrong with it.
func (w *watcher) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(patience*w.heartbeat, func() { cancel(errSilent) })
	defer silence.Stop()
	ctx, info := connect.NewClientContext(ctx)

	request := &trustv1.WatchRequest{
		Service: w.service, Instance: w.instance, Sequence: w.progress.at(), Version: version(), Settings: w.settings,
	}
	if w.anew {
		request.Sequence = 0
	}
	lasts := w.pace.rewatch - rand.N(w.pace.rewatch/8+1) //nolint:gosec // nothing secret hangs on it
	called := w.now()                                    // before the edge begins to count what it calls elapsed
	stream, err := w.line.rpc.Watch(ctx, request)
	if err != nil {
		return cause(ctx, err)
	}
	defer func() {
		cancel(nil) // first: Close would wait for the end of the stream
		_ = stream.Close()
	}()
	var parts assembly
	for first := true; ; first = false {
		message, err := stream.Receive()
		if err != nil {
			return cause(ctx, err)
		}
		now := w.now()
		if first {
			w.compareClocks(info.ResponseHeader().Get("Date"), called, now)
		}
		said, err := parts.read(message)
		if err != nil {
			return err
		}
		if said != nil {
			said.Sent = sent(called, now, said.elapsed)
			if err := w.apply(ctx, now, said); err != nil {
				return err
			}
			if said.heartbeat > 0 {
				w.heartbeat = min(max(said.heartbeat, shortestHeartbeat), longestHeartbeat)
			}
			if now.Sub(called) >= lasts {
				return errRewatch
			}
		}
		silence.Reset(patience * w.heartbeat)
	}
}

// sent is when a message was sent, or before. It is counted from the call on, so
// that a message that lay somewhere on the way, or here while this process was
// stopped, is as old as it is.
func sent(called, now time.Time, elapsed time.Duration) time.Time {
	if at := called.Add(elapsed); at.Before(now) {
		return at
	}
	return now
}

// cause is why a call failed: its own error, unless it was this side that gave
// it up.
func cause(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, io.EOF):
		return errEnded
	default:
		return fmt.Errorf("trust: the feed: %w", err)
	}
}

// apply makes what the feed said hold. When it returns, the verifier refuses what
// was revoked, and nothing is signed with a key that was.
func (w *watcher) apply(ctx context.Context, now time.Time, said *news) error {
	if err := w.learn(now, said); err != nil {
		w.anew = errors.Is(err, revocation.ErrGap)
		return err
	}
	w.anew = false
	changed, refused := w.learnKeys(said)
	w.logSkipped(ctx, append(said.skipped, refused...))
	if w.ring != nil {
		w.ring.review(ctx, said.Sequence)
	}
	w.progress.set(said.Sequence)
	w.recovered(ctx)
	if said.snapshot || len(said.Events) > 0 || changed && said.issues() {
		w.say()
	}
	return nil
}

// learn is for what was revoked. It decides whether the message is one to follow
// at all, so it comes first.
func (w *watcher) learn(now time.Time, said *news) error {
	index := w.index.Load()
	switch {
	case !said.snapshot && index == nil:
		return errors.New("trust: an event before the first snapshot")
	case !said.snapshot:
		return index.Apply(now, said.Update)
	case w.issuer == "" && w.pinned != "" && said.issuer != w.pinned, w.issuer != "" && said.issuer != w.issuer:
		return fmt.Errorf("trust: this is the feed of %q", said.issuer)
	case index != nil:
		return index.Load(now, said.Update)
	}
	index, err := revocation.NewIndex(said.issuer)
	if err != nil {
		return err
	}
	if err := index.Load(now, said.Update); err != nil {
		return err
	}
	w.issuer = said.issuer
	w.index.Store(index)
	return nil
}

func (w *watcher) learnKeys(said *news) (changed bool, skipped []error) {
	if said.snapshot {
		return w.keys.replace(said.issuer, said.change)
	}
	if len(said.added)+len(said.removed)+len(said.Events) == 0 {
		w.keys.settle(said.Sent)
		return false, nil
	}
	return w.keys.apply(said.change)
}

func (w *watcher) logSkipped(ctx context.Context, skipped []error) {
	const most = 10
	if len(skipped) > 0 {
		w.logger.WarnContext(ctx, "keys in the trust feed cannot be used", "count", len(skipped),
			"first", errors.Join(skipped[:min(most, len(skipped))]...).Error())
	}
}

// recovered notes that the feed is followed.
func (w *watcher) recovered(ctx context.Context) {
	w.retry.reset()
	if w.trouble.Swap(nil) != nil {
		w.logger.InfoContext(ctx, "trust feed followed again", "edge", w.lines.origin.String(), "sequence", w.progress.at())
	}
	if !w.begun {
		w.begun = true
		w.logger.InfoContext(ctx, "trust feed followed", "edge", w.lines.origin.String(), "issuer", w.issuer, "sequence", w.progress.at())
		close(w.loaded)
	}
}

// compareClocks notes what the edge's clock says, by the date of its answer, which
// was made between called and now. Nothing is decided by it but what this side
// says of itself.
func (w *watcher) compareClocks(date string, called, now time.Time) {
	at, err := http.ParseTime(date)
	if err != nil || now.Sub(called) > maxDrift/4 {
		return
	}
	at = at.Add(time.Second / 2) // it is in whole seconds
	w.clock.Store(&edgeClock{said: at, at: now})
}
