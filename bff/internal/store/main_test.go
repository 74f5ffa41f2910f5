package store_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// childEnv makes the test binary another program: what is killed in tests is a
// process of its own.
const childEnv = "ONBEHALF_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	var err error
	switch command, argument, _ := strings.Cut(os.Getenv(childEnv), " "); command {
	case "":
		os.Exit(m.Run())
	case "writer":
		err = writeUntilKilled(argument, 4)
	case "one":
		err = writeUntilKilled(argument, 1)
	case "server":
		err = serveUntilKilled(argument)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// writeUntilKilled writes new keys and one that counts, and prints what was
// acknowledged.
func writeUntilKilled(dir string, writers int) error {
	ctx := context.Background()
	s, err := store.Open(ctx, store.Settings{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	first, err := s.Pulse(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("open %d\n", first)
	var group sync.WaitGroup
	for writer := range writers {
		group.Go(func() {
			for n := 0; err == nil; n++ {
				key := fmt.Sprintf("k.%d.%d.%d", first, writer, n)
				sequence, e := s.Create(ctx, key, []byte(key))
				if e != nil {
					err = e
					return
				}
				fmt.Printf("acked %s %d\n", key, sequence)
				if sequence, e = s.Put(ctx, fmt.Sprintf("hot.%d", writer), fmt.Append(nil, sequence)); e != nil {
					err = e
					return
				}
				fmt.Printf("acked hot.%d %d\n", writer, sequence)
			}
		})
	}
	group.Wait()
	return err
}

// node is how a server of a cluster is started.
type node struct {
	Name    string   `json:"name"`
	Dir     string   `json:"dir"`
	Port    int      `json:"port"`
	Cluster int      `json:"cluster"`
	Routes  []string `json:"routes"`
}

func serveUntilKilled(argument string) error {
	var n node
	if err := json.Unmarshal([]byte(argument), &n); err != nil {
		return err
	}
	options := &server.Options{
		ServerName: n.Name,
		Host:       "127.0.0.1",
		Port:       n.Port,
		NoSigs:     true,
		NoLog:      true,
		JetStream:  true,
		StoreDir:   n.Dir,
		SyncAlways: true,
		Cluster:    server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: n.Cluster},
		Routes:     server.RoutesFromStr(strings.Join(n.Routes, ",")),
	}
	s, err := server.NewServer(options)
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return errors.New("not ready")
	}
	fmt.Println("ready")
	s.WaitForShutdown()
	return nil
}

// child is a process of this binary.
type child struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func start(t *testing.T, command string, argv ...string) *child {
	t.Helper()
	argv = append(argv, os.Args[0])
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), childEnv+"="+command)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with what strace runs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd, bufio.NewScanner(out)}
	t.Cleanup(c.kill)
	return c
}

// kill kills the process, and waits until it is gone.
func (c *child) kill() {
	if c.cmd.ProcessState == nil {
		syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
		c.cmd.Wait()
	}
}

func (c *child) signal(s syscall.Signal) { c.cmd.Process.Signal(s) }

func (c *child) line(t *testing.T) string {
	t.Helper()
	if !c.lines.Scan() {
		t.Fatal("the child ended:", c.lines.Err())
	}
	return c.lines.Text()
}

func testLogger(t *testing.T) *slog.Logger {
	t.Helper()
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.DiscardHandler)
}

func open(t *testing.T, settings store.Settings) *store.Store {
	t.Helper()
	if settings.Logger == nil {
		settings.Logger = testLogger(t)
	}
	s, err := store.Open(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// eventually asks until it is told that it is so.
func eventually(t *testing.T, within time.Duration, what string, so func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(within); !so(); {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatal("in vain:", what)
		}
	}
}

// follow follows a store in the background until the test ends.
func follow(t *testing.T, s *store.Store) <-chan store.Batch {
	t.Helper()
	batches := make(chan store.Batch, 100_000)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Follow(ctx, func(b store.Batch) { batches <- b })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return batches
}

func next(t *testing.T, batches <-chan store.Batch) store.Batch {
	t.Helper()
	select {
	case b := <-batches:
		return b
	case <-time.After(30 * time.Second):
		t.Fatal("no batch came")
		return store.Batch{}
	}
}

// view is what somebody who follows knows, and complains of batches that are
// not as they should be.
type view struct {
	entries  map[string]store.Entry
	sequence uint64
	resets   int
}

func (v *view) take(t *testing.T, b store.Batch) {
	t.Helper()
	if b.Previous != v.sequence {
		t.Errorf("a batch after %d came after %d", b.Previous, v.sequence)
	}
	if b.Sequence < b.Previous {
		t.Errorf("a batch of %d came after %d", b.Sequence, b.Previous)
	}
	if b.Reset {
		v.entries = map[string]store.Entry{}
		v.resets++
	}
	last := b.Previous
	if b.Reset {
		last = 0
	}
	for _, e := range b.Entries {
		if e.Sequence <= last || e.Sequence > b.Sequence {
			t.Errorf("entry %d is in a batch from %d to %d", e.Sequence, last, b.Sequence)
		}
		last = e.Sequence
		if e.Deleted {
			delete(v.entries, e.Key)
		} else {
			v.entries[e.Key] = e
		}
	}
	v.sequence = b.Sequence
}

// upTo takes batches until a sequence is reached.
func (v *view) upTo(t *testing.T, batches <-chan store.Batch, sequence uint64) {
	t.Helper()
	for v.sequence < sequence {
		v.take(t, next(t, batches))
	}
}

// content returns all that is in a store.
func content(t *testing.T, s *store.Store) map[string]store.Entry {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var v view
	s.Follow(ctx, func(b store.Batch) {
		if v.resets == 0 {
			v.take(t, b)
		}
		cancel()
	})
	return v.entries
}
