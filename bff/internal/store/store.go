package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// timeout bounds every call, whatever its context says.
	timeout = 5 * time.Second
	// openTimeout bounds Open, which reads all that an embedded store has.
	openTimeout = 2 * time.Minute
	// clusterStart is how long Open waits for servers that start at the same time.
	clusterStart = 20 * time.Second

	firstRetry = 50 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// Settings say where the store is. Dir or URL is required, not both.
type Settings struct {
	// Dir is the directory of an embedded store. It is made, for this user alone,
	// and belongs to one process at a time.
	Dir string

	// URL names the servers of an external store, separated by commas. Each is
	// tls://, or nats:// on this machine's loopback; nats:// elsewhere needs CA.
	URL string
	// Credentials is the file that a NATS account gave for this client.
	Credentials string
	// CA is a file of the certificates that servers must come from. Cert and Key
	// are what this client shows, in PEM.
	CA, Cert, Key string
	// Replicas is on how many servers a bucket that is made lies, 1 to 5; 0 means 3.
	Replicas int

	// Logger is told what changes for the store; nil means slog's default.
	Logger *slog.Logger
	// Now is the clock; nil means the system's. Only bases come from it.
	Now func() time.Time

	tuning tuning
}

// tuning is what tests set to see in seconds what takes a day.
type tuning struct {
	markerLife, pulseLife time.Duration
	minFree               uint64
}

func (s Settings) checked() (Settings, error) {
	if (s.Dir == "") == (s.URL == "") {
		return s, errors.New("store: either a directory or a URL is needed")
	}
	if s.Replicas == 0 {
		s.Replicas = 3
	}
	if s.URL == "" {
		s.Replicas = 1
	}
	if s.Replicas < 1 || s.Replicas > 5 {
		return s, fmt.Errorf("store: %d replicas: 1 to 5 are possible", s.Replicas)
	}
	if s.Logger == nil {
		s.Logger = slog.Default() // a store that is not there must not be silent
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.tuning == (tuning{}) {
		s.tuning = tuning{markerLife: markerLife, pulseLife: pulseLife, minFree: minFree}
	}
	return s, nil
}

// Store is an open store. It is safe for concurrent use. Each call is bounded by
// its context and by five seconds.
type Store struct {
	settings Settings
	logger   *slog.Logger
	now      func() time.Time
	pulseKey string
	embedded *embedded // nil if external

	mu      sync.RWMutex
	session *session // nil while there is none
	ended   error    // why, once there will be none again
	epoch   *epoch   // the last one known

	acked     atomic.Uint64 // the highest sequence that this process was given
	following atomic.Bool
	pulses    pulses
	failures  atomic.Int32 // to get an answer, since the last one

	stop    context.CancelFunc
	stopped chan struct{}
}

// session is a connection.
type session struct {
	conn *nats.Conn
	js   jetstream.JetStream
}

func newSession(conn *nats.Conn) (*session, error) {
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(timeout))
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &session{conn: conn, js: js}, nil
}

// Open opens the store, and makes it if it is not there. It never makes one in
// the place of another that is damaged, or lost what was acknowledged: that is
// an error which says what to do, and nothing is changed.
func Open(ctx context.Context, settings Settings) (*Store, error) {
	settings, err := settings.checked()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	s := &Store{
		settings: settings,
		logger:   settings.Logger,
		now:      settings.Now,
		pulseKey: pulsePrefix + rand.Text(),
		stopped:  make(chan struct{}),
	}
	if settings.URL != "" {
		err = s.openExternal(ctx)
	} else {
		err = s.openEmbedded(ctx)
	}
	if err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go s.keep(life)
	return s, nil
}

// External tells whether the store is one of external servers.
func (s *Store) External() bool { return s.settings.URL != "" }

// Base is below every sequence of this store, and not below any of a store that
// was here before. It grows when a restore replaces the content.
func (s *Store) Base() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.epoch.base
}

// Close ends the store. What was acknowledged is on disk already. Calls under
// way fail.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.ended == errClosed { //nolint:errorlint // this very one marks it
		s.mu.Unlock()
		<-s.stopped
		return nil
	}
	s.ended = errClosed
	s.mu.Unlock()
	s.stop()
	<-s.stopped
	if session := s.drop(); session != nil {
		session.conn.Close()
	}
	if s.embedded != nil {
		return s.embedded.close(s.acked.Load())
	}
	return nil
}

func (s *Store) drop() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	session := s.session
	s.session = nil
	return session
}

func (s *Store) current() (*session, *epoch, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.ended != nil:
		return nil, nil, s.ended
	case s.session == nil:
		return nil, nil, errRestarting
	}
	return s.session, s.epoch, nil
}

// sight is a bucket as a server shows it.
type sight struct {
	session *session
	epoch   *epoch
	info    *jetstream.StreamInfo
}

// refresh reads which bucket is there now. One with a lower base than before is
// refused: its sequences would repeat.
func (s *Store) refresh(ctx context.Context) (sight, error) {
	session, known, err := s.current()
	if err != nil {
		return sight{}, err
	}
	found, info, err := readEpoch(ctx, session.js)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return sight{}, errGone
	case err != nil:
		return sight{}, err
	case !found.is(known) && found.base <= known.base:
		return sight{}, errBack
	}
	s.mu.Lock()
	replaced := found.base > s.epoch.base
	if replaced {
		s.epoch = found
	}
	s.mu.Unlock()
	if replaced {
		s.logger.WarnContext(ctx, "store: the content was replaced", "base", found.base)
	}
	return sight{session, found, info}, nil
}

// gave notes a sequence that was acknowledged to this process.
func (s *Store) gave(sequence uint64) {
	for {
		before := s.acked.Load()
		if sequence <= before || s.acked.CompareAndSwap(before, sequence) {
			return
		}
	}
}

func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, timeout, errNoAnswer)
}

// wait returns false if ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
