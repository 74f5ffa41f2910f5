package main_test

import (
	"context"
	bigendian "encoding/binary"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
	"github.com/onbehalf-dev/onbehalf/principal/trust"

	"github.com/onbehalf-dev/onbehalf/bff"
)

// kill ends the process as a loss of power would.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	for p.log.Scan() { // a pipe is read before the process is waited for
	}
	_ = p.cmd.Wait()
}

func session(n uint64) revocation.Target {
	var id principal.ID
	bigendian.BigEndian.PutUint64(id[8:], n)
	return revocation.Session("https://edge.test", id)
}

// R09: an edge that is killed at any moment has, when it is back, everything that
// it acknowledged, and its sequences go on from there. A service that follows it
// all the while refuses what was revoked, and comes back by itself.
func TestKilled(t *testing.T) {
	t.Parallel()
	path, p := operated(t)
	dir := filepath.Dir(path)
	cfg, err := bff.LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	edge, err := bff.AdminClient(cfg.Listen.Admin, cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	const rounds = 12
	acknowledged := make(map[uint64]uint64) // session to sequence
	var last, highest uint64
	for round := range rounds {
		var killed atomic.Bool
		done := make(chan struct{})
		go func() {
			defer close(done)
			<-time.After(time.Duration(rand.IntN(200)) * time.Millisecond)
			killed.Store(true)
			_ = p.cmd.Process.Kill()
		}()
		for !killed.Load() {
			last++
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			r, err := edge.Revoke(ctx, &bffv1.RevokeRequest{Target: session(last).Proto()})
			cancel()
			if err != nil {
				break
			}
			if r.GetSequence() <= highest {
				t.Fatalf("round %d: sequence %d after %d", round, r.GetSequence(), highest)
			}
			highest = r.GetSequence()
			acknowledged[last] = highest
		}
		<-done
		p.kill()
		p = serve(t, path)
		list, err := edge.ListRevocations(t.Context(), &bffv1.ListRevocationsRequest{Limit: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		if list.GetTotal() < uint64(len(acknowledged)) {
			t.Fatalf("round %d: %d of %d revocations are there", round, list.GetTotal(), len(acknowledged))
		}
		keys, err := edge.ListKeys(t.Context(), &bffv1.ListKeysRequest{})
		if err != nil {
			t.Fatal(err)
		}
		active := 0
		for _, k := range keys.GetKeys() {
			if k.GetState() == bffv1.KeyState_KEY_STATE_ACTIVE && k.GetEpoch() > 0 {
				active++
			}
		}
		if active != 1 {
			t.Fatalf("round %d: %d active keys", round, active)
		}
	}
	t.Logf("%d revocations acknowledged, 0 lost in %d kills", len(acknowledged), rounds)
	if files, err := filepath.Glob(filepath.Join(dir, "data", "authority-*.pem")); err != nil || len(files) != 1 {
		t.Error("keys:", files, err)
	}
	p.signal(syscall.SIGTERM)
	p.wait()
}

// R04: an edge that is stopped, not killed, leaves its connections open: services
// notice all the same, and come back when it does.
func TestPaused(t *testing.T) {
	t.Parallel()
	path, p := operated(t)
	_, token, _ := run(t, "services", "enroll", "orders", "-c", path)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	node, err := trust.Join(ctx, p.mesh, "orders", trust.WithEnrollmentToken(strings.TrimSpace(token)), trust.WithLogger(slog.New(slog.DiscardHandler)),
		trust.WithVerifierOptions(principal.WithStaleness(3*time.Second)))
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	header := func() error { _, err := node.AsService(t.Context()); return err }
	if err := header(); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGSTOP)
	start := time.Now()
	until(t, "refused as stale", func() bool { return principal.ReasonOf(header()) == principal.ReasonStale })
	if age := time.Since(start); age > 6*time.Second {
		t.Errorf("went on for %v", age)
	}
	p.signal(syscall.SIGCONT)
	start = time.Now()
	until(t, "good again", func() bool { return header() == nil })
	t.Logf("good again %v after the edge", time.Since(start).Round(time.Millisecond))
	p.signal(syscall.SIGTERM)
	p.wait()
}

// until waits for what is about to happen.
func until(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !happened(); {
		if time.Now().After(end) {
			t.Fatal("not within 30 seconds:", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// A full disk: the edge goes on with what it has, refuses to promise what it
// cannot keep, and recovers (G08).
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m,mode=0700"); err != nil {
		t.Logf("not tried: this user may not mount a tmpfs: %v", err)
		return
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	path, p := operatedIn(t, dir)
	code, _, stderr := run(t, "revoke", "identity", "hm-alice", "-c", path)
	if code != 0 {
		t.Fatal(stderr)
	}
	filler := filepath.Join(dir, "filler")
	fill(t, filler)
	code, _, stderr = run(t, "revoke", "identity", "hm-bob", "-c", path)
	if code == 0 {
		t.Error("acknowledged on a full disk")
	}
	t.Logf("%s", stderr)
	if status, _ := get(t, p.mesh+"/.well-known/onbehalf/jwks.json"); status != 200 {
		t.Error("the keys are not served any more:", status)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	recovered := false
	for range 20 {
		if code, _, stderr = run(t, "revoke", "identity", "hm-bob", "-c", path); code == 0 {
			recovered = true
			break
		}
	}
	if !recovered { // then it says that a restart is needed
		t.Logf("%s", stderr)
		p.signal(syscall.SIGTERM)
		p.wait()
		p = serve(t, path)
		if code, _, stderr = run(t, "revoke", "identity", "hm-bob", "-c", path); code != 0 {
			t.Error("not even after a restart:", stderr)
		}
	}
	if code, stdout, _ := run(t, "revoke", "list", "-c", path); code != 0 || !strings.Contains(stdout, "hm-alice") {
		t.Error("what was acknowledged before is lost:", stdout)
	}
	p.signal(syscall.SIGTERM)
	p.wait()
}

// fill writes to a file until there is no more space.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4 << 10, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
}
