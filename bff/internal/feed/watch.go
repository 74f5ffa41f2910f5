package feed

import (
	"context"
	"net/http"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1/trustv1connect"
)

const (
	instanceLen = 16
	maxSettings = 32
	// behindTimeout is how long a watcher waits for an edge that knows less than
	// itself.
	behindTimeout = 2 * time.Second
	// cutAfter is how long a Watch that is to end may take for that.
	cutAfter = time.Second
)

// Watch is part of the RPC service.
func (s service) Watch(ctx context.Context, r *trustv1.WatchRequest, stream trustv1connect.TrustFeedServiceWatchServerStream) error {
	begun := s.o.Now() // before all else: what is called elapsed is never too long
	c, err := s.caller(ctx, r.GetService())
	if err != nil {
		return err
	}
	w, err := newWatcher(c, r)
	if err != nil {
		return err
	}
	if err := s.catchUp(ctx, r.GetSequence()); err != nil {
		return err
	}
	if c.verified {
		var expire context.CancelFunc
		ctx, expire = context.WithTimeoutCause(ctx, c.until.Sub(s.o.Now()), errExpired)
		defer expire()
	}
	ctx, w.cancel = context.WithCancelCause(ctx)
	defer w.cancel(nil)
	if err := s.tracker.join(w); err != nil {
		return err
	}
	defer s.tracker.leave(w)
	following := watch{Server: s.Server, watcher: w, stream: stream, begun: begun, cursor: r.GetSequence()}
	return following.run(ctx)
}

func newWatcher(c caller, r *trustv1.WatchRequest) (*watcher, error) {
	switch {
	case len(r.GetInstance()) != instanceLen:
		return nil, errInstance
	case !isPrintable(r.GetVersion()), len(r.GetSettings()) > maxSettings,
		slices.ContainsFunc(r.GetSettings(), func(s string) bool { return !isPrintable(s) }):
		return nil, errSettings
	}
	return &watcher{
		caller: c, instance: string(r.GetInstance()), version: r.GetVersion(), settings: r.GetSettings(),
		sent: r.GetSequence(), reported: r.GetSequence(),
	}, nil
}

// catchUp waits until this edge knows what the caller knows: it is never told
// less, or it would have to forget.
func (s *Server) catchUp(ctx context.Context, sequence uint64) error {
	wait, cancel := context.WithTimeout(ctx, behindTimeout)
	defer cancel()
	if s.state.Wait(wait, max(1, sequence)) != nil {
		return errBehind
	}
	if s.state.Age(s.o.Now()) > s.o.MaxAge {
		return errStale
	}
	return nil
}

// watch is a Watch under way.
type watch struct {
	*Server
	*watcher

	stream trustv1connect.TrustFeedServiceWatchServerStream
	begun  time.Time
	cursor uint64 // up to where everything is sent
	cutter cutter
}

func (w *watch) run(ctx context.Context) error {
	w.cutter.response, _ = ctx.Value(responseKey{}).(*http.ResponseController)
	defer w.cutter.end()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(cutAfter, w.cutter.cut) })
	defer stop()
	beat := time.NewTimer(w.o.Heartbeat)
	defer beat.Stop()
	due := true // the first answer says that the sequence was good
	for {
		next, err := w.step(due)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
		beat.Reset(w.o.Heartbeat)
		select {
		case <-next:
			due = false
		case <-beat.C:
			due = true
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// step sends what there is. The time is read first: what is said to be known as
// of then is really in what follows.
func (w *watch) step(beat bool) (next <-chan struct{}, err error) {
	now := w.o.Now()
	age := w.state.Age(now)
	list, head, next, ok := w.state.Since(w.cursor)
	switch {
	case !ok:
		return closed, w.snapshot(now, age)
	case len(list) > 0:
		return next, w.events(list, head, now, age)
	case beat && age <= w.o.MaxAge:
		return next, w.sendEvent(&trustv1.Event{Sequence: head}, now, age)
	default:
		return next, nil
	}
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// snapshot sends everything. All parts have the time of the first: what happens
// while they are sent is not in them.
func (w *watch) snapshot(now time.Time, age time.Duration) error {
	if age > w.o.MaxAge {
		return errStale
	}
	s := w.state.Snapshot()
	if s.Sequence < w.cursor {
		return errBehind
	}
	for part := range s.Parts() {
		part.Age, part.Elapsed = durationpb.New(age), durationpb.New(now.Sub(w.begun))
		part.Heartbeat = durationpb.New(w.o.Heartbeat)
		if err := w.send(s.Sequence, &trustv1.WatchResponse{Message: &trustv1.WatchResponse_Snapshot{Snapshot: part}}); err != nil {
			return err
		}
	}
	w.cursor = s.Sequence
	return nil
}

// events sends events, revocations in a row as one message, up to head.
func (w *watch) events(list []*trustv1.Event, head uint64, now time.Time, age time.Duration) error {
	for len(list) > 0 {
		n := 1
		for n < len(list) && onlyRevokes(list[0]) && onlyRevokes(list[n]) {
			n++
		}
		e := &trustv1.Event{
			Sequence: list[n-1].GetSequence(), Keys: list[0].GetKeys(), RemovedKeys: list[0].GetRemovedKeys(), Revocations: list[0].GetRevocations(),
		}
		if n > 1 {
			e.Revocations = make([]*trustv1.Revocation, 0, n)
			for _, other := range list[:n] {
				e.Revocations = append(e.Revocations, other.GetRevocations()...)
			}
		}
		if list = list[n:]; len(list) == 0 {
			e.Sequence = head
		}
		if err := w.sendEvent(e, now, age); err != nil {
			return err
		}
	}
	return nil
}

func onlyRevokes(e *trustv1.Event) bool { return len(e.GetKeys()) == 0 && len(e.GetRemovedKeys()) == 0 }

func (w *watch) sendEvent(e *trustv1.Event, now time.Time, age time.Duration) error {
	e.Previous, e.Age, e.Elapsed = w.cursor, durationpb.New(age), durationpb.New(now.Sub(w.begun))
	if err := w.send(e.GetSequence(), &trustv1.WatchResponse{Message: &trustv1.WatchResponse_Event{Event: e}}); err != nil {
		return err
	}
	w.cursor = e.GetSequence()
	return nil
}

// send gives up a watcher that takes nothing. It holds up nobody else, but it is
// one of those who are missing.
func (w *watch) send(sequence uint64, m *trustv1.WatchResponse) error {
	w.tracker.sending(w.watcher, sequence)
	timer := time.AfterFunc(w.o.SendTimeout, w.cutter.cut)
	defer timer.Stop()
	return w.stream.Send(m)
}
