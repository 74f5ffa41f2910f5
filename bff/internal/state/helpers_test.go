package state_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/internal/state"
	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

const issuer = "https://edge.test"

// clock is the real one, and what a test adds to it.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// logs is what was logged.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

type world struct {
	*state.State
	clock

	t     *testing.T
	store *store.Store
	logs  logs
}

func newWorld(t *testing.T, static ...principal.Key) *world {
	t.Helper()
	w := &world{t: t, store: openStore(t, t.TempDir())}
	w.State = state.New(w.store, state.Options{Issuer: issuer, Static: static, Logger: slog.New(slog.NewTextHandler(&w.logs, nil)), Now: w.now})
	run(t, w.State)
	return w
}

func openStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Settings{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// run runs s until the test ends, or stop is called.
func run(t *testing.T, s *state.State) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return stop
}

func (w *world) put(name string, m proto.Message) uint64 {
	w.t.Helper()
	sequence, err := w.Put(w.t.Context(), name, m)
	if err != nil {
		w.t.Fatal(err)
	}
	return sequence
}

func (w *world) revoke(target revocation.Target) uint64 {
	w.t.Helper()
	return w.put(state.RevocationName(target), w.revocation(target))
}

func (w *world) revocation(target revocation.Target) *bffv1.RevocationRecord {
	return &bffv1.RevocationRecord{Target: target.Proto(), Time: w.now().Unix(), Reason: "lost"}
}

func (w *world) enroll(service string, k key) uint64 {
	w.t.Helper()
	return w.put(state.LinkName(service, k.id), k.link(service, w.now().Add(time.Hour)))
}

// published says which keys are, as "role owner id".
func (w *world) published() []string {
	var names []string
	for _, k := range w.Keys() {
		names = append(names, name(k.KeyRef))
	}
	return names
}

func name(ref principal.KeyRef) string {
	return fmt.Sprint(ref.Role, " ", ref.Owner, " ", ref.ID)
}

// key is a public key with its id.
type key struct {
	id     string
	der    []byte
	public *principal.PublicKey
}

func newKey(t *testing.T) key {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	checked, err := principal.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key{id: checked.ID(), der: der, public: checked}
}

func (k key) link(service string, notAfter time.Time) *bffv1.LinkKeyRecord {
	return &bffv1.LinkKeyRecord{Service: service, Id: k.id, PublicKey: k.der, NotAfter: notAfter.Unix(), By: "token"}
}

func authority(replica string, keys ...key) *bffv1.AuthorityRecord {
	r := &bffv1.AuthorityRecord{Replica: replica, Issuer: issuer}
	for i, k := range keys {
		r.Active = k.id
		r.Keys = append(r.Keys, &bffv1.AuthorityKey{Id: k.id, Epoch: uint64(i) + 1, PublicKey: k.der})
	}
	return r
}

func session(n int) revocation.Target {
	return revocation.Session(issuer, principal.ID{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})
}

func human(t *testing.T, name string) revocation.Target {
	t.Helper()
	id, err := principal.ParseIdentity("hm-"+name, issuer)
	if err != nil {
		t.Fatal(err)
	}
	return revocation.Identity(id)
}

// script is a store in which a test says what happens.
type script struct {
	state.Store

	external bool
	base     uint64
	batches  chan store.Batch
	pulse    func() (uint64, error)
}

func newScript() *script { return &script{batches: make(chan store.Batch)} }

func (s *script) External() bool { return s.external }
func (s *script) Base() uint64   { return s.base }

func (s *script) Pulse(context.Context) (uint64, error) {
	if s.pulse == nil {
		return 0, errors.New("no quorum")
	}
	return s.pulse()
}

func (s *script) Follow(ctx context.Context, f func(store.Batch)) error {
	for {
		select {
		case b := <-s.batches:
			f(b)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func entry(t *testing.T, name string, sequence uint64, m proto.Message) store.Entry {
	t.Helper()
	value, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return store.Entry{Key: name, Value: value, Sequence: sequence, Time: time.Now(), Deleted: m == nil}
}
