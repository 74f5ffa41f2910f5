//go:build linux

package keys_test

import (
	"bufio"
	"context"
	"crypto"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"

	"github.com/onbehalf-dev/onbehalf/bff/internal/keys"
	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

const (
	childDir   = "KEYS_TEST_DIR"
	childStart = "KEYS_TEST_START"
	childCrash = "KEYS_TEST_CRASH" // at which step; 0 for never, -1 for a loop without end
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println("done")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is an edge that rotates and tells what it does.
func child(dir string) error {
	syscall.Umask(0) // nothing but the program keeps its files from others
	start, err := strconv.ParseInt(os.Getenv(childStart), 10, 64)
	if err != nil {
		return err
	}
	at, err := strconv.Atoi(os.Getenv(childCrash))
	if err != nil {
		return err
	}
	ctx := context.Background()
	st, err := store.Open(ctx, store.Settings{Dir: filepath.Join(dir, "store"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	files, err := keys.NewFiles(filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
	c := &clock{wall: time.Unix(start, 0)}
	crash := &crash{at: at}
	a, err := keys.Open(ctx, crashStore{st, crash}, crashVault{files, crash}, keys.Options{
		Issuer: issuer, Replica: files.Replica(), Life: life, Lead: lead, Now: c.now, Elapsed: c.since,
	})
	if err != nil {
		return err
	}
	for once := true; once || at < 0; once = false {
		if err := rotation(ctx, a, c); err != nil {
			return err
		}
	}
	return st.Close()
}

// rotation is one by the clock, and one because a key was revoked.
func rotation(ctx context.Context, a *keys.Authority, c *clock) error {
	for _, d := range []time.Duration{0, life/2 + time.Minute, lead, grace + skew} {
		c.advance(d)
		if err := a.Step(ctx); err != nil {
			return err
		}
		if err := tell(a, c); err != nil {
			return err
		}
	}
	if err := a.Revoked(ctx, a.Record().GetActive()); err != nil {
		return err
	}
	return tell(a, c)
}

func tell(a *keys.Authority, c *clock) error {
	header, err := a.Sign(facts(c.now()))
	if err != nil {
		return err
	}
	m := new(principalv1.SignedPrincipal)
	if err := proto.Unmarshal([]byte(header), m); err != nil {
		return err
	}
	fmt.Println("signed", m.GetAuthority().GetKeyId())
	return nil
}

// crash ends the process at a step, as a loss of power would end it.
type crash struct{ at, steps int }

func (c *crash) point() {
	if c.steps++; c.steps == c.at {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

type crashStore struct {
	*store.Store

	crash *crash
}

func told(value []byte) {
	r := new(bffv1.AuthorityRecord)
	if err := proto.Unmarshal(value, r); err != nil {
		panic(err)
	}
	line := []string{"published"}
	for _, k := range r.GetKeys() {
		line = append(line, k.GetId())
	}
	fmt.Println(strings.Join(line, " "))
	fmt.Println("active", r.GetActive())
}

func (s crashStore) Get(ctx context.Context, key string) (store.Entry, error) {
	e, err := s.Store.Get(ctx, key)
	if err == nil {
		told(e.Value)
	}
	return e, err
}

func (s crashStore) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	s.crash.point()
	sequence, err := s.Store.Create(ctx, key, value)
	s.crash.point()
	if err == nil {
		told(value)
	}
	return sequence, err
}

func (s crashStore) Update(ctx context.Context, key string, value []byte, last uint64) (uint64, error) {
	s.crash.point()
	sequence, err := s.Store.Update(ctx, key, value, last)
	s.crash.point()
	if err == nil {
		told(value)
	}
	return sequence, err
}

type crashVault struct {
	*keys.Files

	crash *crash
}

func (v crashVault) Create(ctx context.Context) (string, crypto.Signer, error) {
	v.crash.point()
	id, key, err := v.Files.Create(ctx)
	v.crash.point()
	return id, key, err
}

func (v crashVault) Delete(ctx context.Context, id string) error {
	v.crash.point()
	err := v.Files.Delete(ctx, id)
	v.crash.point()
	return err
}

// life of a data directory, in the course of which its processes are killed.
type victim struct {
	t         *testing.T
	dir       string
	rounds    int64
	published map[string]bool
	active    string // of the last record that was acknowledged or read
	signed    map[string]bool
}

func newVictim(t *testing.T) *victim {
	t.Helper()
	return &victim{t: t, dir: t.TempDir(), published: make(map[string]bool), signed: make(map[string]bool)}
}

// run starts a child that dies at a step, or is killed after a number of lines.
// It reports whether the child has reached its end.
func (v *victim) run(at, lines int) (done bool) {
	v.t.Helper()
	v.rounds++
	cmd := exec.CommandContext(v.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+v.dir, childStart+"="+strconv.FormatInt(1_800_000_000+v.rounds*1_000_000, 10), childCrash+"="+strconv.Itoa(at))
	out, err := cmd.StdoutPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	modes := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case <-modes:
				return
			default:
				v.modes()
			}
		}
	}()
	done = v.listen(out, func() bool {
		lines--
		return lines == 0
	}, cmd.Process)
	_ = cmd.Wait() // it was killed
	close(modes)
	<-watched
	return done
}

func (v *victim) listen(out io.Reader, enough func() bool, process *os.Process) (done bool) {
	v.t.Helper()
	for s := bufio.NewScanner(out); s.Scan(); {
		words := strings.Fields(s.Text())
		switch words[0] {
		case "published":
			for _, id := range words[1:] {
				v.published[id] = true
			}
		case "active":
			v.active = words[1]
		case "signed":
			if !v.published[words[1]] || words[1] != v.active {
				v.t.Error("a key signed that was not published and active:", words[1], v.active)
			}
			v.signed[words[1]] = true
		case "done":
			done = true
		default:
			v.t.Error(s.Text())
		}
		if enough() {
			process.Kill()
		}
	}
	return done
}

// modes looks whether anyone else could read a key at this moment.
func (v *victim) modes() {
	entries, _ := os.ReadDir(filepath.Join(v.dir, "data"))
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && info.Mode() != 0o600 {
			v.t.Error(e.Name(), "has mode", info.Mode())
		}
	}
}

// check looks at what the dead have left, then starts an edge on it.
func (v *victim) check() {
	v.t.Helper()
	v.modes()
	st, err := store.Open(v.t.Context(), store.Settings{Dir: filepath.Join(v.dir, "store"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		v.t.Fatal(err)
	}
	defer st.Close()
	e := newReplica(v.t, st, filepath.Join(v.dir, "data"))
	e.clock.advance(time.Duration(v.rounds) * 1_000_000 * time.Second)
	files, err := keys.NewFiles(e.dir)
	if err != nil {
		v.t.Fatal(err)
	}
	e.vault = files
	if len(v.signed) > 0 {
		e.legal()
	}
	e.mustStart()
	r := e.legal()
	for _, k := range r.GetKeys() {
		if k.GetNotAfter() == 0 {
			if _, err := files.Open(v.t.Context(), k.GetId()); err != nil {
				v.t.Error("a key that signs or will:", err)
			}
		}
	}
	header, id := e.sign()
	if err := e.verify(header, r); err != nil || id != r.GetActive() {
		v.t.Error(id, err)
	}
}

// G04: a process is killed before and after each write of a rotation, by the
// clock and by a revocation.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it starts many processes")
	}
	killed := 0
	for at := 1; ; at++ {
		v := newVictim(t)
		if v.run(at, -1) {
			break // there are fewer steps
		}
		killed++
		v.check()
		if !v.run(0, -1) {
			t.Fatal("not the end after step", at)
		}
		v.check()
		if names, err := filepath.Glob(filepath.Join(v.dir, "data", "authority-*.pem")); err != nil || len(names) != 1 {
			t.Error("after step", at, "left behind:", names, err)
		}
		if t.Failed() {
			t.Fatal("after step", at)
		}
	}
	if killed < 20 {
		t.Error("only", killed, "steps")
	}
	t.Log("killed at", killed, "steps")
}

// G04: and at moments that nobody has chosen.
func TestKilledAtAnyTime(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it starts many processes")
	}
	v := newVictim(t)
	for range 20 {
		v.run(-1, 1+rand.IntN(40))
		v.check()
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Log(len(v.published), "keys published,", len(v.signed), "have signed")
}
