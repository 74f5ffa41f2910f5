package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// minFree is below which free space nothing is written. A server that finds the
// disk full gives its bucket up until it is started again.
const minFree = 8 << 20

// embedded is a server in this process, and its directory.
type embedded struct {
	dir      string
	logger   *slog.Logger
	minFree  uint64
	lock     *os.File
	base     uint64
	server   *server.Server // nil while it is stopped
	saved    uint64         // the sequence in the state file
	suspect  atomic.Bool    // the server cannot write, or does not answer
	unsynced atomic.Bool    // the state file could not be written
	full     atomic.Bool
}

// startServer runs a server that nobody can connect to but this process. Unless
// it syncs every write its files are to be synced when it has stopped.
func startServer(dir string, sync bool, logger *slog.Logger, failed func()) (*server.Server, *session, error) {
	s, err := server.NewServer(&server.Options{
		ServerName:             "onbehalf",
		DontListen:             true,
		NoSigs:                 true,
		NoLog:                  true,
		NoSystemAccount:        true,
		DisableJetStreamBanner: true,
		JetStream:              true,
		StoreDir:               dir,
		SyncAlways:             sync,
		JetStreamMaxMemory:     16 << 20, // the state of followers
		JetStreamMaxStore:      1 << 40,  // the disk is the limit
		MaxPayload:             1 << 20,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("store: the embedded server: %w", err)
	}
	s.SetLoggerV2(serverLog{logger, failed}, false, false, false)
	s.Start()
	if !s.ReadyForConnections(openTimeout) || !s.JetStreamEnabled() {
		stopServer(s)
		return nil, nil, fmt.Errorf("store: the embedded server did not start in %s: see its lines in the log", dir)
	}
	conn, err := nats.Connect("", nats.InProcessServer(s), nats.Name("onbehalf"), nats.NoReconnect())
	if err != nil {
		stopServer(s)
		return nil, nil, fmt.Errorf("store: the embedded server: %w", err)
	}
	session, err := newSession(conn)
	if err != nil {
		stopServer(s)
		return nil, nil, err
	}
	return s, session, nil
}

func stopServer(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

func (s *Store) openEmbedded(ctx context.Context) (err error) {
	dir := s.settings.Dir
	if err := checkDir(dir); err != nil {
		return err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	e := &embedded{dir: dir, logger: s.logger, minFree: s.settings.tuning.minFree, lock: lock}
	s.embedded = e
	defer func() {
		if err != nil {
			e.stop()
			err = errors.Join(err, lock.Close())
		}
	}()
	known, err := readState(dir)
	if err != nil {
		return err
	}
	if known == nil || !known.Ready {
		if known, err = e.create(ctx, known, s.settings); err != nil {
			return err
		}
	}
	e.base, e.saved = known.Base, known.Sequence
	s.acked.Store(known.Sequence)
	s.session, s.epoch, err = e.start(ctx, known.Sequence)
	return err
}

// create makes the bucket. begun is what is left if that was tried before and
// did not end.
func (e *embedded) create(ctx context.Context, begun *state, settings Settings) (*state, error) {
	var last uint64
	if begun != nil {
		last = begun.Base
		if err := os.RemoveAll(dataDir(e.dir, begun.Base)); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
	}
	known := state{Base: newBase(settings.Now(), last)}
	if err := writeState(e.dir, known); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := makeBucket(ctx, dataDir(e.dir, known.Base), known.Base, settings, nil); err != nil {
		return nil, err
	}
	known.Ready, known.Sequence = true, known.Base
	if err := writeState(e.dir, known); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return &known, nil
}

// makeBucket makes a directory with a bucket of entries in it.
func makeBucket(ctx context.Context, dir string, base uint64, settings Settings, entries []Entry) error {
	server, session, err := startServer(dir, false, settings.Logger, func() {})
	if err != nil {
		return err
	}
	_, err = session.js.CreateStream(ctx, streamConfig(base, stateReady, 1))
	if err == nil {
		err = fill(ctx, session.js, base, entries, settings.Now())
	}
	session.conn.Close()
	stopServer(server)
	if err == nil {
		err = errors.Join(syncTree(dir), syncPath(filepath.Dir(dir)))
	}
	if err != nil {
		return fmt.Errorf("store: cannot make a bucket in %s: %w", dir, err)
	}
	return nil
}

// start runs the server on the current directory, if all that is known to have
// been acknowledged is there, before it and after.
func (e *embedded) start(ctx context.Context, acked uint64) (*session, *epoch, error) {
	dir := dataDir(e.dir, e.base)
	last := acked - min(acked, e.base)
	if err := checkBlocks(dir, last); err != nil {
		return nil, nil, err
	}
	e.suspect.Store(false)
	server, session, err := startServer(dir, true, e.logger, func() { e.suspect.Store(true) })
	if err != nil {
		return nil, nil, err
	}
	e.server = server
	epoch, err := e.verify(ctx, session, last)
	if err != nil {
		session.conn.Close()
		e.stop()
		return nil, nil, fmt.Errorf("store: what is in %s is damaged or lost (%w): restore from a backup", dir, err)
	}
	return session, epoch, nil
}

func (e *embedded) verify(ctx context.Context, session *session, last uint64) (*epoch, error) {
	epoch, info, err := readEpoch(ctx, session.js)
	switch {
	case err != nil:
		return nil, err
	case epoch.base != e.base:
		return nil, fmt.Errorf("the base is %d, not %d", epoch.base, e.base)
	case info.State.LastSeq < last:
		return nil, fmt.Errorf("message %d was acknowledged, but the last one there is %d", last, info.State.LastSeq)
	}
	answer, err := session.conn.RequestWithContext(ctx, "$JS.API.STREAM.INFO."+streamName, nil)
	if err != nil {
		return nil, err
	}
	var lost struct { // what jetstream does not show
		State struct {
			Lost *server.LostStreamData `json:"lost"`
		} `json:"state"`
	}
	if err := json.Unmarshal(answer.Data, &lost); err != nil {
		return nil, err
	}
	if l := lost.State.Lost; l != nil && len(l.Msgs) > 0 {
		return nil, fmt.Errorf("%d messages cannot be read", len(l.Msgs))
	}
	return epoch, nil
}

func (e *embedded) stop() {
	if e.server != nil {
		stopServer(e.server)
		e.server = nil
	}
}

func (e *embedded) close(acked uint64) error {
	e.stop()
	var err error
	if acked > e.saved {
		err = writeState(e.dir, state{Base: e.base, Ready: true, Sequence: acked})
	}
	return errors.Join(err, e.lock.Close())
}

// writable refuses a write early enough that the server never sees a full disk.
func (e *embedded) writable() error {
	if e.suspect.Load() {
		return errRestarting
	}
	free, err := freeSpace(e.dir)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case free < e.minFree:
		if !e.full.Swap(true) {
			e.logger.Error("store: the disk is full, nothing is written until there is space", "dir", e.dir, "free", free)
		}
		return fmt.Errorf("%w: the disk of %s is full, %d bytes are left: free at least %d", ErrUnavailable, e.dir, free, e.minFree)
	case e.full.Load() && e.full.Swap(false):
		e.logger.Info("store: the disk has space again", "dir", e.dir, "free", free)
	}
	return nil
}
