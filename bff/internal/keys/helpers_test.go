package keys_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"

	"github.com/onbehalf-dev/onbehalf/bff/internal/keys"
	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

const (
	issuer = "https://edge.test"
	life   = 24 * time.Hour
	lead   = 25 * time.Minute
	grace  = 6 * time.Minute  // for which a retired key verifies
	skew   = 30 * time.Second // after which it leaves the record
)

// clock is a wall clock that can jump, and one that cannot.
type clock struct {
	mu      sync.Mutex
	wall    time.Time
	elapsed time.Duration
}

func newClock() *clock { return &clock{wall: time.Unix(1_800_000_000, 0)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

func (c *clock) since() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.elapsed
}

// advance lets time go by.
func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.elapsed = c.wall.Add(d), c.elapsed+d
}

// jump sets the wall clock.
func (c *clock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
}

// logs keeps what was logged.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// faults makes a store fail.
type faults struct {
	keys.Store

	mu     sync.Mutex
	get    error
	update error
	late   bool // the write happens all the same
	hook   func()
}

func (f *faults) fail(get, update error, late bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.get, f.update, f.late = get, update, late
}

func (f *faults) Get(ctx context.Context, key string) (store.Entry, error) {
	f.mu.Lock()
	err := f.get
	f.mu.Unlock()
	if err != nil {
		return store.Entry{}, err
	}
	return f.Store.Get(ctx, key)
}

func (f *faults) Update(ctx context.Context, key string, value []byte, last uint64) (uint64, error) {
	if f.hook != nil {
		f.hook()
	}
	f.mu.Lock()
	err, late := f.update, f.late
	f.mu.Unlock()
	if err != nil && !late {
		return 0, err
	}
	sequence, e := f.Store.Update(ctx, key, value, last)
	return sequence, errors.Join(err, e)
}

// edge is one replica, with a store in the same directory unless it is given one.
type edge struct {
	*keys.Authority

	t       *testing.T
	dir     string
	store   *store.Store
	faults  *faults
	vault   keys.Vault
	clock   *clock
	logs    *logs
	missing func(uint64) int
	static  *principal.Signer
	issuer  string
}

func openStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), store.Settings{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// newEdge returns one that has not been started.
func newEdge(t *testing.T) *edge {
	t.Helper()
	root := t.TempDir()
	return newReplica(t, openStore(t, filepath.Join(root, "store")), filepath.Join(root, "data"))
}

func newReplica(t *testing.T, st *store.Store, dir string) *edge {
	t.Helper()
	return &edge{t: t, dir: dir, store: st, faults: &faults{Store: st}, clock: newClock(), logs: new(logs), issuer: issuer}
}

// options are those of a process on this directory.
func (e *edge) options() keys.Options {
	e.t.Helper()
	replica, err := keys.Replica(e.dir)
	if err != nil {
		e.t.Fatal(err)
	}
	return keys.Options{
		Issuer: e.issuer, Replica: replica, Life: life, Lead: lead, Missing: e.missing, Static: e.static,
		Logger: slog.New(slog.NewTextHandler(e.logs, nil)), Now: e.clock.now, Elapsed: e.clock.since,
	}
}

func (e *edge) open(o keys.Options) {
	e.t.Helper()
	files, err := keys.NewFiles(e.dir)
	if err != nil {
		e.t.Fatal(err)
	}
	e.vault = files
	if e.Authority, err = keys.Open(e.t.Context(), e.faults, files, o); err != nil {
		e.t.Fatal(err)
	}
}

// start opens it, as a new process would.
func (e *edge) start() error {
	e.t.Helper()
	if e.vault == nil {
		files, err := keys.NewFiles(e.dir)
		if err != nil {
			return err
		}
		e.vault = files
	}
	var err error
	e.Authority, err = keys.Open(e.t.Context(), e.faults, e.vault, e.options())
	return err
}

func (e *edge) mustStart() *edge {
	e.t.Helper()
	if err := e.start(); err != nil {
		e.t.Fatal(err)
	}
	return e
}

func (e *edge) step() {
	e.t.Helper()
	if err := e.Step(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
	e.legal()
}

// pass lets time go by, and the edge look at it once a minute, in long times
// every ten.
func (e *edge) pass(d time.Duration) {
	e.t.Helper()
	for d > 0 {
		part := min(d, time.Minute)
		if d > time.Hour {
			part = 10 * time.Minute
		}
		e.clock.advance(part)
		e.step()
		d -= part
	}
}

// stored returns the record as the store has it.
func (e *edge) stored() *bffv1.AuthorityRecord {
	e.t.Helper()
	replica, err := keys.Replica(e.dir)
	if err != nil {
		e.t.Fatal(err)
	}
	entry, err := e.store.Get(e.t.Context(), "authority."+replica)
	if err != nil {
		e.t.Fatal(err)
	}
	r := new(bffv1.AuthorityRecord)
	if err := proto.Unmarshal(entry.Value, r); err != nil {
		e.t.Fatal(err)
	}
	return r
}

// legal checks what has to be true at any moment.
func (e *edge) legal() *bffv1.AuthorityRecord {
	e.t.Helper()
	r := e.stored()
	active, next, epoch := 0, 0, uint64(0)
	for _, k := range r.GetKeys() {
		switch {
		case k.GetActivated() == 0:
			next++
		case k.GetNotAfter() == 0:
			active++
			if k.GetId() != r.GetActive() {
				e.t.Error("an active key that does not sign:", r)
			}
		}
		if k.GetEpoch() <= epoch {
			e.t.Error("epochs:", r)
		}
		epoch = k.GetEpoch()
	}
	if active != 1 || next > 1 {
		e.t.Fatal(active, "active keys and", next, "next ones:", r)
	}
	if e.static == nil {
		if _, err := e.vault.Open(e.t.Context(), r.GetActive()); err != nil {
			e.t.Fatal("the active key:", err)
		}
	}
	return r
}

// states says how many keys are next, active and retired, as in "1+1+0".
func states(r *bffv1.AuthorityRecord) string {
	next, retired := 0, 0
	for _, k := range r.GetKeys() {
		switch {
		case k.GetActivated() == 0:
			next++
		case k.GetNotAfter() != 0:
			retired++
		}
	}
	return strings.Join([]string{string(rune('0' + next)), "1", string(rune('0' + retired))}, "+")
}

func (e *edge) want(what string) {
	e.t.Helper()
	if got := states(e.legal()); got != what {
		e.t.Fatalf("next+active+retired: %s, want %s: %v", got, what, e.stored())
	}
}

func nextOf(r *bffv1.AuthorityRecord) string {
	for _, k := range r.GetKeys() {
		if k.GetActivated() == 0 {
			return k.GetId()
		}
	}
	return ""
}

// published returns the keys of a record as services see them.
func published(t *testing.T, records ...*bffv1.AuthorityRecord) *keyset.Static {
	t.Helper()
	var list []principal.Key
	for _, r := range records {
		for _, k := range r.GetKeys() {
			parsed, err := x509.ParsePKIXPublicKey(k.GetPublicKey())
			if err != nil {
				t.Fatal(err)
			}
			public, err := principal.NewPublicKey(parsed)
			if err != nil {
				t.Fatal(err)
			}
			key := principal.Key{KeyRef: principal.KeyRef{Role: principal.RoleAuthority, Owner: r.GetIssuer(), ID: k.GetId()}, Public: public}
			if k.GetNotAfter() != 0 {
				key.NotAfter = time.Unix(k.GetNotAfter(), 0)
			}
			list = append(list, key)
		}
	}
	set, err := keyset.NewStatic(list...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func facts(now time.Time) *principalv1.Principal {
	p := principaltest.Human("orders:read")
	p.Audience, p.Presenter = "orders", "edge"
	p.IssuedAt = now.Unix()
	p.ExpiresAt = p.IssuedAt + 300
	return p
}

// sign returns a header and the id of the key that signed it.
func (e *edge) sign() (header, id string) {
	e.t.Helper()
	header, err := e.Sign(facts(e.clock.now()))
	if err != nil {
		e.t.Fatal(err)
	}
	return header, signedBy(e.t, header)
}

// sign2 signs at a time that a principal can have, whatever the clock says.
func (e *edge) sign2() (header, id string) {
	e.t.Helper()
	header, err := e.Sign(facts(time.Unix(1_800_000_000, 0)))
	if err != nil {
		e.t.Fatal(err)
	}
	return header, signedBy(e.t, header)
}

// sequence returns that of the record.
func (e *edge) sequence() uint64 {
	e.t.Helper()
	entry, err := e.store.Get(e.t.Context(), "authority."+e.Record().GetReplica())
	if err != nil {
		e.t.Fatal(err)
	}
	return entry.Sequence
}

func signedBy(t *testing.T, header string) string {
	t.Helper()
	return parse(t, header).GetKeyId()
}

func parse(t *testing.T, header string) *principalv1.Block {
	t.Helper()
	m := new(principalv1.SignedPrincipal)
	if err := proto.Unmarshal([]byte(header), m); err != nil {
		t.Fatal(err)
	}
	return m.GetAuthority()
}

// issued returns when a header was signed.
func issued(t *testing.T, header string) time.Time {
	t.Helper()
	p := new(principalv1.Principal)
	if err := proto.Unmarshal(parse(t, header).GetPayload(), p); err != nil {
		t.Fatal(err)
	}
	return time.Unix(p.GetIssuedAt(), 0)
}

func (e *edge) verify(header string, records ...*bffv1.AuthorityRecord) error {
	e.t.Helper()
	return e.verifyAt(e.clock.now(), header, records...)
}

func (e *edge) verifyAt(now time.Time, header string, records ...*bffv1.AuthorityRecord) error {
	e.t.Helper()
	v, err := principal.NewVerifier("orders", published(e.t, records...), principal.WithClock(func() time.Time { return now }))
	if err != nil {
		e.t.Fatal(err)
	}
	_, err = v.Verify(e.t.Context(), header)
	return err
}

// files returns the names of the key files.
func (e *edge) files() []string {
	e.t.Helper()
	names, err := filepath.Glob(filepath.Join(e.dir, "authority*.pem"))
	if err != nil {
		e.t.Fatal(err)
	}
	return names
}

// file returns the name of one.
func (e *edge) file(id string) string {
	e.t.Helper()
	names := e.files()
	if i := slices.IndexFunc(names, func(name string) bool { return strings.HasSuffix(name, "-"+id+".pem") }); i >= 0 {
		return names[i]
	}
	e.t.Fatal("no file of", id)
	return ""
}

func write(t *testing.T, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
}
