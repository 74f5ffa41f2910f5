package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// atOnce is how many entries of a backup are on their way to the server.
	atOnce = 256

	unfinishedDir = "unfinished"
	replacedDir   = "replaced"
)

// Restore replaces the content of a store with a backup's. Sequences go on above
// all that are known to have been given.
//
// An embedded store must not be in use. It is replaced in one step, at the end;
// what was there before is kept in the directory "replaced" until the next
// restore. Edges may go on using an external one: they are given the new content
// as a whole. A restore of it that does not end leaves a store that does not
// open until one did.
//
// A revocation that was made after the backup is not in it; see [Store.Base].
func Restore(ctx context.Context, settings Settings, r io.Reader) error {
	settings, err := settings.checked()
	if err != nil {
		return err
	}
	head, entries, err := readBackup(r)
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e Entry) bool { return !e.keep.IsZero() && e.keep.Before(settings.Now()) })
	if settings.URL != "" {
		return restoreExternal(ctx, settings, head, entries)
	}
	return restoreEmbedded(ctx, settings, head, entries)
}

func restoreEmbedded(ctx context.Context, settings Settings, head backupHead, entries []Entry) (err error) {
	dir := settings.Dir
	if err := checkDir(dir); err != nil {
		return err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	old, err := dataDirs(dir)
	if err != nil {
		return err
	}
	base := newBase(settings.Now(), max(head.Last, highestGiven(dir, old)))
	unfinished := filepath.Join(dir, unfinishedDir)
	if err := os.RemoveAll(unfinished); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := makeBucket(ctx, unfinished, base, settings, entries); err != nil {
		return errors.Join(err, os.RemoveAll(unfinished))
	}
	if err := os.Rename(unfinished, dataDir(dir, base)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := writeState(dir, state{Base: base, Ready: true, Sequence: base + uint64(len(entries))}); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return setAside(dir, old)
}

// highestGiven looks for sequences that a damaged store may have given, and
// rather finds one too many.
func highestGiven(dir string, bases []uint64) uint64 {
	var highest uint64
	if known, err := readState(dir); err == nil && known != nil {
		highest = max(known.Base, known.Sequence)
	}
	for _, base := range bases {
		last, _ := readBlocks(dataDir(dir, base)) // as far as it can be read
		highest = max(highest, base+last)
	}
	return highest
}

func setAside(dir string, bases []uint64) error {
	replaced := filepath.Join(dir, replacedDir)
	if len(bases) == 0 {
		return nil
	}
	err := os.RemoveAll(replaced)
	if err == nil {
		err = os.Mkdir(replaced, 0o700)
	}
	for _, base := range bases {
		if err == nil {
			err = os.Rename(dataDir(dir, base), dataDir(replaced, base))
		}
	}
	if err != nil {
		return fmt.Errorf("store: it was restored, but what was there before could not be put aside: %w", err)
	}
	return syncPath(dir)
}

func restoreExternal(ctx context.Context, settings Settings, head backupHead, entries []Entry) error {
	session, err := connect(ctx, settings)
	if err != nil {
		return err
	}
	defer session.conn.Close()
	s := &Store{settings: settings}
	last := head.Last
	old, info, err := readEpoch(ctx, session.js)
	switch {
	case err == nil, errors.Is(err, errRestoring):
		last = max(last, old.base+info.State.LastSeq)
		if err := session.js.DeleteStream(ctx, streamName); err != nil {
			return s.unavailable(err)
		}
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return s.opened(err)
	}
	base := newBase(settings.Now(), last)
	if _, err := session.js.CreateStream(ctx, streamConfig(base, stateRestoring, settings.Replicas)); err != nil {
		return fmt.Errorf("%w: %w", errRestoring, err)
	}
	err = fill(ctx, session.js, base, entries, settings.Now())
	if err == nil {
		_, err = session.js.UpdateStream(ctx, streamConfig(base, stateReady, settings.Replicas))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errRestoring, err)
	}
	return nil
}

// fill writes entries to a bucket that nobody else writes to yet, and makes sure
// that they are all that is in it.
func fill(ctx context.Context, js jetstream.JetStream, base uint64, entries []Entry, now time.Time) error {
	var sent []jetstream.PubAckFuture
	for _, e := range entries {
		if len(sent) == atOnce {
			if err := settled(ctx, sent[0]); err != nil {
				return err
			}
			sent = sent[1:]
		}
		m, err := write{key: e.Key, value: e.Value, keep: e.keep}.message(&epoch{base: base}, now)
		if err != nil {
			return err
		}
		future, err := js.PublishMsgAsync(m, jetstream.WithRetryAttempts(0))
		if err != nil {
			return err
		}
		sent = append(sent, future)
	}
	for _, future := range sent {
		if err := settled(ctx, future); err != nil {
			return err
		}
	}
	stream, err := js.Stream(ctx, streamName)
	if err != nil {
		return err
	}
	if state := stream.CachedInfo().State; state.Msgs != uint64(len(entries)) || state.LastSeq != uint64(len(entries)) {
		return fmt.Errorf("%d entries were written, and %d are there", len(entries), state.Msgs)
	}
	return nil
}

func settled(ctx context.Context, future jetstream.PubAckFuture) error {
	waiting, cancel := bounded(ctx)
	defer cancel()
	select {
	case <-future.Ok():
		return nil
	case err := <-future.Err():
		return err
	case <-waiting.Done():
		return context.Cause(waiting)
	}
}
