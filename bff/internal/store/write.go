package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// markerLife is how long it can be seen that a key was deleted, at least;
	// more than resumeWithin, for which a follower may be away.
	markerLife = 24 * time.Hour

	expectHeader = "Nats-Expected-Last-Subject-Sequence"
	ttlHeader    = "Nats-TTL"
	keepHeader   = "Onbehalf-Keep"
)

// Create writes a key that is not there, or was deleted; else it returns
// [ErrConflict].
func (s *Store) Create(ctx context.Context, key string, value []byte) (sequence uint64, err error) {
	return s.create(ctx, key, value, time.Time{})
}

// CreateUntil is [Store.Create] for what is of no use after end. The store
// forgets it at some time after that, and nobody who follows is told: the value
// must say it, too.
func (s *Store) CreateUntil(ctx context.Context, key string, value []byte, end time.Time) (sequence uint64, err error) {
	return s.create(ctx, key, value, end)
}

func (s *Store) create(ctx context.Context, key string, value []byte, end time.Time) (uint64, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	w := write{key: key, value: value, exact: true, keep: end}
	sequence, err := s.write(ctx, w)
	if !errors.Is(err, ErrConflict) {
		return sequence, err
	}
	there, err := s.get(ctx, key)
	switch {
	case errors.Is(err, ErrNotFound): // its marker has gone at this moment
		return s.write(ctx, w)
	case err != nil:
		return 0, err
	case !there.Deleted && !there.ended(s.now()):
		return 0, ErrConflict
	}
	return s.write(ctx, w.over(there))
}

// Update writes a key that is at the sequence last; else it returns
// [ErrConflict].
func (s *Store) Update(ctx context.Context, key string, value []byte, last uint64) (sequence uint64, err error) {
	if last == 0 {
		return 0, ErrConflict
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	return s.write(ctx, write{key: key, value: value, exact: true, last: last})
}

// UpdateUntil is [Store.Update] for what is of no use after end; see
// [Store.CreateUntil]. A key that was ever written without an end stays.
func (s *Store) UpdateUntil(ctx context.Context, key string, value []byte, end time.Time, last uint64) (sequence uint64, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	there, err := s.at(ctx, key, last)
	if err != nil {
		return 0, err
	}
	return s.write(ctx, write{key: key, value: value, exact: true, keep: end}.over(there))
}

// Put writes a key, whatever is there.
func (s *Store) Put(ctx context.Context, key string, value []byte) (sequence uint64, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	return s.write(ctx, write{key: key, value: value})
}

// Delete removes a key that is at the sequence last; else it returns
// [ErrConflict]. The sequence is that of the removal. That it was removed is kept
// forever, in some 200 bytes, unless the key was only ever written with an end:
// use [Store.CreateUntil] for what is many.
func (s *Store) Delete(ctx context.Context, key string, last uint64) (sequence uint64, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	there, err := s.at(ctx, key, last)
	if err != nil {
		return 0, err
	}
	keep := s.now()
	if there.keep.After(keep) {
		keep = there.keep
	}
	keep = keep.Add(s.settings.tuning.markerLife)
	return s.write(ctx, write{key: key, exact: true, marker: true, keep: keep}.over(there))
}

// at returns the entry of a key that is at a sequence.
func (s *Store) at(ctx context.Context, key string, last uint64) (Entry, error) {
	if err := checkKey(key); err != nil {
		return Entry{}, err
	}
	there, err := s.get(ctx, key)
	if errors.Is(err, ErrNotFound) || err == nil && (there.Deleted || there.Sequence != last) {
		return Entry{}, ErrConflict
	}
	return there, err
}

// write is a change of one key.
type write struct {
	key    string
	value  []byte
	exact  bool   // only if the key is at last
	last   uint64 // 0: not there
	marker bool   // of a deleted key
	pulse  bool
	// keep is when the server forgets the key; zero is never.
	//
	// It may do so only if whatever was written under the key before is to be
	// forgotten by then as well. The server does not note durably that an entry
	// was overwritten: if it is killed after it forgot the last one, the one
	// before is there again, unless that one's own time has passed.
	keep time.Time
}

// over makes it the next write after what is there.
func (w write) over(there Entry) write {
	w.last = there.Sequence
	switch {
	case there.keep.IsZero():
		w.keep = time.Time{}
	case !w.keep.IsZero() && w.keep.Before(there.keep):
		w.keep = there.keep
	}
	return w
}

func (w write) message(epoch *epoch, now time.Time) (*nats.Msg, error) {
	m := nats.NewMsg(epoch.subject(w.key))
	m.Data = w.value
	m.Header.Set(sealHeader, seal(m.Subject, m.Data))
	if w.exact {
		var last uint64
		if w.last != 0 {
			if w.last <= epoch.base { // from before a restore
				return nil, ErrConflict
			}
			last = w.last - epoch.base
		}
		m.Header.Set(expectHeader, strconv.FormatUint(last, 10))
	}
	if w.marker {
		m.Header.Set(operationHeader, operationDelete)
	}
	if !w.keep.IsZero() {
		life := max(w.keep.Sub(now).Truncate(time.Second)+time.Second, time.Second)
		m.Header.Set(ttlHeader, life.String())
		m.Header.Set(keepHeader, strconv.FormatInt(now.Add(life).Unix()+1, 10))
	}
	return m, nil
}

// keepOf returns when an entry will be forgotten; it may be a little earlier.
func keepOf(h nats.Header) time.Time {
	seconds, err := strconv.ParseInt(h.Get(keepHeader), 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

func (w write) check() error {
	if w.pulse {
		return nil
	}
	if len(w.value) > maxValue {
		return fmt.Errorf("store: a value of %d bytes: at most %d", len(w.value), maxValue)
	}
	return checkKey(w.key)
}

// write returns when the write is durable. A server that is not there, or does
// not lead yet, is waited for; a request that may have been taken is not made
// again.
func (s *Store) write(ctx context.Context, w write) (uint64, error) {
	if err := w.check(); err != nil {
		return 0, err
	}
	if s.embedded != nil {
		if err := s.embedded.writable(); err != nil {
			return 0, err
		}
	}
	for {
		session, epoch, err := s.current()
		if err != nil {
			return 0, err
		}
		sequence, err := s.publish(ctx, session, epoch, w)
		switch {
		case err == nil:
			return sequence, nil
		case isConflict(err), errors.Is(err, ErrConflict):
			s.failures.Store(0)
			return 0, ErrConflict
		case !neverApplied(err) || !wait(ctx, firstRetry):
			s.noteFailure(ctx, err)
			return 0, s.unavailable(err)
		}
		// A restore may have taken away what was written to.
		if err := s.lookAgain(ctx); err != nil {
			return 0, s.unavailable(err)
		}
	}
}

// lookAgain is refresh, where that there is no answer is no error.
func (s *Store) lookAgain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaderPatience)
	defer cancel()
	_, err := s.refresh(ctx)
	if errors.Is(err, ErrUnavailable) || errors.Is(err, errRestoring) {
		return err
	}
	return nil
}

func (s *Store) publish(ctx context.Context, session *session, epoch *epoch, w write) (uint64, error) {
	m, err := w.message(epoch, s.now())
	if err != nil {
		return 0, err
	}
	before := s.acked.Load()
	ack, err := session.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, err
	}
	s.failures.Store(0)
	sequence := epoch.base + ack.Sequence
	if sequence <= before { // somebody has restored it with the server's own tools
		return 0, errBack
	}
	s.gave(sequence)
	return sequence, nil
}
