package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// heartbeat is how often a server that has nothing to say says so; two that
	// do not come mean that it is gone.
	heartbeat = time.Second
	// quietLimit is for how long nothing may come; longer than two heartbeats.
	quietLimit = 5 * time.Second
	// forget is when a server may forget a follower that does not ask.
	forget = time.Minute
	buffer = 512
)

var errQuiet = errors.New("nothing came")

// watch reads messages in order. It ends at the first thing that is not as it
// should be; where to go on is for its user to know.
type watch struct {
	store    *Store
	epoch    *epoch
	messages jetstream.MessagesContext
	count    uint64 // of messages that the server sent to it
	last     uint64 // the sequence of the last one
}

// message is one of the bucket.
type message struct {
	Entry
	hidden  bool   // from followers
	pending uint64 // how many there are behind it
}

// newWatch begins behind a sequence of a bucket.
func (s *Store) newWatch(ctx context.Context, seen sight, after uint64) (*watch, error) {
	epoch := seen.epoch
	config := jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       after - min(after, epoch.base) + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: forget,
	}
	consumer, err := epoch.stream.CreateConsumer(ctx, config)
	if err != nil {
		return nil, err
	}
	// The stream may have been replaced in between; this consumer is then of the
	// new one, or gone with the old one.
	now, _, err := readEpoch(ctx, seen.session.js)
	if err != nil {
		return nil, err
	}
	if !now.is(epoch) {
		return nil, errors.New("the content was replaced at this moment")
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(buffer), jetstream.PullHeartbeat(heartbeat))
	if err != nil {
		return nil, err
	}
	return &watch{store: s, epoch: epoch, messages: messages, last: after}, nil
}

func (w *watch) stop() { w.messages.Stop() }

// next waits for a message, or returns errQuiet.
func (w *watch) next(ctx context.Context, patience time.Duration) (message, error) {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := w.messages.Next(jetstream.NextContext(waiting))
	if err != nil {
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return message{}, errQuiet
		}
		return message{}, err
	}
	about, err := m.Metadata()
	if err != nil {
		return message{}, err
	}
	if about.Sequence.Consumer != w.count+1 {
		return message{}, fmt.Errorf("message %d came after %d", about.Sequence.Consumer, w.count)
	}
	w.count++
	sequence := w.epoch.base + about.Sequence.Stream
	if sequence <= w.last {
		return message{}, fmt.Errorf("sequence %d came after %d", sequence, w.last)
	}
	w.last = sequence
	key, err := w.epoch.key(m.Subject())
	if err != nil {
		return message{}, err
	}
	if err := checkSeal(m.Subject(), m.Headers(), m.Data()); err != nil {
		return message{}, err
	}
	e := Entry{
		Key:      key,
		Value:    m.Data(),
		Sequence: sequence,
		Time:     about.Timestamp,
		Deleted:  isMarker(m.Headers()),
		keep:     keepOf(m.Headers()),
	}
	hidden := strings.HasPrefix(key, pulsePrefix) || !e.Deleted && e.ended(w.store.now())
	return message{Entry: e, hidden: hidden, pending: about.NumPending}, nil
}

// all reads what there is, and has everything that was acknowledged to anybody
// before the call: it reads up to a pulse. The server it reads from may be one
// that lags behind, or is cut off and does not know.
func (w *watch) all(ctx context.Context) ([]Entry, error) {
	pulse, err := w.store.Pulse(ctx)
	if err != nil {
		return nil, err
	}
	entries := map[string]Entry{}
	for {
		m, err := w.next(ctx, quietLimit)
		if err != nil {
			return nil, err
		}
		switch {
		case m.hidden:
		case m.Deleted:
			delete(entries, m.Key)
		default:
			entries[m.Key] = m.Entry
		}
		// A key that was written while this read is not where it was: only when
		// nothing follows is it known to be in.
		if m.Sequence >= pulse && m.pending == 0 {
			bySequence := func(a, b Entry) int { return cmp.Compare(a.Sequence, b.Sequence) }
			return slices.SortedFunc(maps.Values(entries), bySequence), nil
		}
	}
}
