package store_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// cluster is three servers, each a process with a directory.
type cluster struct {
	nodes    []node
	children []*child
	url      string
	js       jetstream.JetStream // of somebody who looks on
}

func ports(t *testing.T, n int) []int {
	t.Helper()
	var found []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		found = append(found, l.Addr().(*net.TCPAddr).Port)
	}
	return found
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := newNodes(t)
	for n := range c.nodes {
		c.start(t, n)
	}
	conn, err := nats.Connect(c.url, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.PingInterval(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if c.js, err = jetstream.New(conn); err != nil {
		t.Fatal(err)
	}
	return c
}

// newNodes is a cluster whose servers are not started.
func newNodes(t *testing.T) *cluster {
	t.Helper()
	free := ports(t, 6)
	c := &cluster{children: make([]*child, 3)}
	var urls, routes []string
	for n := range 3 {
		urls = append(urls, fmt.Sprint("nats://127.0.0.1:", free[n]))
		routes = append(routes, fmt.Sprint("nats://127.0.0.1:", free[3+n]))
	}
	c.url = strings.Join(urls, ",")
	for n := range 3 {
		c.nodes = append(c.nodes, node{
			Name: fmt.Sprint("n", n), Dir: t.TempDir(), Port: free[n], Cluster: free[3+n], Routes: routes,
		})
	}
	return c
}

func (c *cluster) start(t *testing.T, n int) {
	t.Helper()
	argument, err := json.Marshal(c.nodes[n])
	if err != nil {
		t.Fatal(err)
	}
	c.children[n] = start(t, "server "+string(argument))
	c.children[n].line(t)
}

func (c *cluster) open(t *testing.T) *store.Store {
	t.Helper()
	var s *store.Store
	eventually(t, 60*time.Second, "the cluster is there", func() bool {
		var err error
		s, err = store.Open(t.Context(), store.Settings{URL: c.url, Logger: testLogger(t)}.Tuned(time.Second, time.Second, 0))
		return err == nil
	})
	t.Cleanup(func() { s.Close() })
	return s
}

func (c *cluster) info(t *testing.T) *jetstream.StreamInfo {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	stream, err := c.js.Stream(ctx, "KV_onbehalf-trust")
	if err != nil {
		return nil
	}
	return stream.CachedInfo()
}

// leader returns which server leads the bucket, once all have what it has.
func (c *cluster) leader(t *testing.T) int {
	t.Helper()
	leader := -1
	eventually(t, 60*time.Second, "all servers are there", func() bool {
		info := c.info(t)
		if info == nil || info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
			return false
		}
		for _, r := range info.Cluster.Replicas {
			if !r.Current || r.Offline {
				return false
			}
		}
		for n := range c.nodes {
			if c.nodes[n].Name == info.Cluster.Leader {
				leader = n
			}
		}
		return leader >= 0
	})
	return leader
}

// writers write until they are stopped and note what was acknowledged.
type writers struct {
	mu    sync.Mutex
	acked map[string]uint64
	last  uint64
	stop  func()
}

func startWriters(t *testing.T, s *store.Store, count int) *writers {
	t.Helper()
	w := &writers{acked: map[string]uint64{}}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	w.stop = func() { cancel(); group.Wait() }
	for writer := range count {
		group.Go(func() {
			var before uint64
			for n := 0; ctx.Err() == nil; n++ {
				if n%5 == 0 { // which ends while servers are killed
					s.CreateUntil(ctx, fmt.Sprintf("ends.%d.%d", writer, n), nil, time.Now().Add(time.Second))
				}
				key := fmt.Sprintf("k.%d.%d", writer, n)
				sequence, err := s.Put(ctx, key, []byte(key))
				if err != nil {
					continue
				}
				if sequence <= before {
					t.Errorf("%d was given after %d", sequence, before)
				}
				before = sequence
				w.mu.Lock()
				w.acked[key] = sequence
				w.last = max(w.last, sequence)
				w.mu.Unlock()
			}
		})
	}
	t.Cleanup(w.stop)
	return w
}

func (w *writers) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked)
}

// more waits until there is more acknowledged.
func (w *writers) more(t *testing.T, n int) {
	t.Helper()
	n += w.count()
	eventually(t, 60*time.Second, "writes are acknowledged", func() bool { return w.count() >= n })
}

// An edge that starts together with the cluster waits for it: for servers that
// find each other, for a leader, and for the last server that the replicas need.
func TestClusterStarts(t *testing.T) {
	t.Parallel()
	c := newNodes(t)
	c.start(t, 0)
	opened := make(chan error, 1)
	go func() {
		s, err := store.Open(t.Context(), store.Settings{URL: c.url, Logger: testLogger(t)})
		if err == nil {
			_, err = s.Put(t.Context(), "k", []byte("v"))
			err = errors.Join(err, s.Close())
		}
		opened <- err
	}()
	c.start(t, 1)
	select {
	case err := <-opened:
		t.Error("with two servers of three: ", err)
	case <-time.After(2 * time.Second): // they have a leader by then, and no place for three replicas
	}
	c.start(t, 2)
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

// The leader is killed again and again while there are writes: what was
// acknowledged is there, in order, and who follows misses nothing (R09).
func TestClusterKilled(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	s := c.open(t)
	batches := follow(t, s)
	w := startWriters(t, s, 4)
	const rounds = 10
	for range rounds {
		leader := c.leader(t)
		w.more(t, 20)
		c.children[leader].kill()
		w.more(t, 20)
		c.start(t, leader)
	}
	w.stop()
	c.leader(t)
	pulse, err := s.Pulse(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var v view
	v.upTo(t, batches, pulse)
	compare(t, v.entries, w.acked)
	// Another process sees the same.
	compare(t, content(t, c.open(t)), w.acked)
	if v.resets != 1 {
		t.Errorf("%d resets", v.resets)
	}
	t.Logf("%d acknowledged writes over %d kills of the leader", len(w.acked), rounds)
}

// A leader that is stopped, and goes on later, is one that is gone.
func TestClusterStopped(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	s := c.open(t)
	batches := follow(t, s)
	w := startWriters(t, s, 4)
	for range 3 {
		leader := c.leader(t)
		c.children[leader].signal(syscall.SIGSTOP)
		w.more(t, 20)
		c.children[leader].signal(syscall.SIGCONT)
	}
	w.stop()
	pulse, err := s.Pulse(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var v view
	v.upTo(t, batches, pulse)
	compare(t, v.entries, w.acked)
}

// Without a majority nothing is acknowledged, in bounded time; with one again
// all goes on and nobody has to do anything.
func TestClusterWithoutMajority(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	s := c.open(t)
	batches := follow(t, s)
	first, err := s.Put(t.Context(), "before", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	var v view
	v.upTo(t, batches, first)
	leader := c.leader(t)
	c.children[(leader+1)%3].kill()
	c.children[leader].kill()
	for range 2 {
		begun := time.Now()
		_, err := s.Put(t.Context(), "during", nil)
		if took := time.Since(begun); !errors.Is(err, store.ErrUnavailable) || took > 6*time.Second {
			t.Error(took, err)
		}
		t.Log(err)
	}
	if e, err := s.Get(t.Context(), "before"); err != nil || string(e.Value) != "x" {
		t.Error("it cannot be read:", err)
	}
	c.start(t, leader)
	var last uint64
	eventually(t, 60*time.Second, "it is written again", func() bool {
		last, err = s.Put(t.Context(), "after", nil)
		return err == nil
	})
	v.upTo(t, batches, last)
	if v.resets != 1 || v.entries["after"].Sequence != last || v.entries["before"].Sequence != first {
		t.Error(v)
	}
	r, err := s.Check(t.Context())
	if err != nil || !strings.Contains(fmt.Sprint(r), "2 of 3 servers are there") {
		t.Error(r, err)
	}
	c.start(t, (leader+1)%3)
	c.leader(t)
	if r, err = s.Check(t.Context()); err != nil || r.Worst() != store.Warning { // how they sync is not shown
		t.Error(r, err)
	}
	for _, f := range r.Findings {
		t.Log(f.Severity, f.Text)
	}
}

// A restore replaces the content under edges that use it.
func TestClusterRestored(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	s := c.open(t)
	write(t, s)
	saved, want := backup(t, s), values(t, s)
	batches := follow(t, s)
	later, err := s.Put(t.Context(), "later", nil)
	if err != nil {
		t.Fatal(err)
	}
	var v view
	v.upTo(t, batches, later)
	base := s.Base()
	settings := store.Settings{URL: c.url, Logger: testLogger(t)}
	if err := store.Restore(t.Context(), settings, strings.NewReader("x")); err == nil {
		t.Error("it was restored")
	}
	if err := store.Restore(t.Context(), settings, bytes.NewReader(saved)); err != nil {
		t.Fatal(err)
	}
	after, err := s.Update(t.Context(), "later", nil, later)
	if !errors.Is(err, store.ErrConflict) {
		t.Error(after, err)
	}
	if _, err := s.Get(t.Context(), "later"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	if after = sequenceOf(t, s); after <= later || s.Base() <= base {
		t.Errorf("%d was given after %d, the base is %d after %d", after, later, s.Base(), base)
	}
	v.upTo(t, batches, after)
	got := map[string]string{}
	for key, e := range v.entries {
		got[key] = string(e.Value)
	}
	want["sequence"] = ""
	if diff := cmp.Diff(want, got); diff != "" || v.resets != 2 {
		t.Error(v.resets, diff)
	}
}

// Who makes the bucket first sets the base; the others take it.
func TestClusterOpenedByMany(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	var group sync.WaitGroup
	bases := make(chan uint64, 6)
	for range cap(bases) {
		group.Go(func() { bases <- c.open(t).Base() })
	}
	group.Wait()
	close(bases)
	first := <-bases
	for base := range bases {
		if base != first {
			t.Errorf("the base is %d, and %d", first, base)
		}
	}
	// A restore that does not end leaves a store that says so.
	stream := c.info(t).Config
	stream.Metadata["onbehalf.state"] = "restoring"
	if _, err := c.js.UpdateStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	settings := store.Settings{URL: c.url, Logger: testLogger(t)}
	if _, err := store.Open(t.Context(), settings); err == nil || !strings.Contains(err.Error(), "run it again") {
		t.Error(err)
	}
	// So does one that is set to lose entries.
	stream.MaxAge = time.Hour
	if _, err := c.js.UpdateStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), settings); err == nil || !strings.Contains(err.Error(), "can lose entries") {
		t.Error(err)
	}
}
