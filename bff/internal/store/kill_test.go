package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// What was acknowledged is there after the process was killed at any moment, and
// no sequence is given again (R09, G04).
func TestKilled(t *testing.T) {
	t.Parallel()
	const rounds = 25
	dir := t.TempDir()
	acked := map[string]uint64{}
	var highest uint64
	for round := range rounds {
		c := start(t, "writer "+dir)
		for lines := 2 + rand.IntN(400); lines > 0; lines-- {
			fields := strings.Fields(c.line(t))
			sequence, err := strconv.ParseUint(fields[len(fields)-1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			switch fields[0] {
			case "open":
				if sequence <= highest {
					t.Fatalf("round %d: %d was given after %d", round, sequence, highest)
				}
			case "acked":
				acked[fields[1]] = max(acked[fields[1]], sequence)
			}
			highest = max(highest, sequence)
		}
		c.kill()
		if round%5 == 4 { // in between it is killed before anybody has looked
			s := open(t, store.Settings{Dir: dir})
			compare(t, content(t, s), acked)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d acknowledged keys over %d kills", len(acked), rounds)
}

func compare(t *testing.T, entries map[string]store.Entry, acked map[string]uint64) {
	t.Helper()
	lost := 0
	for key, sequence := range acked {
		if entries[key].Sequence < sequence {
			lost++
		}
	}
	if lost > 0 {
		t.Fatalf("%d of %d acknowledged writes are lost", lost, len(acked))
	}
}

// One process has a directory; when it is gone, however that was, another may.
func TestInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := start(t, "writer "+dir)
	c.line(t)
	_, err := store.Open(t.Context(), store.Settings{Dir: dir, Logger: testLogger(t)})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint("in use by another process, ", c.cmd.Process.Pid)) {
		t.Error(err)
	}
	err = store.Restore(t.Context(), store.Settings{Dir: dir, Logger: testLogger(t)}, strings.NewReader(""))
	if err == nil {
		t.Error("it was restored while in use")
	}
	c.kill()
	open(t, store.Settings{Dir: dir})
}

// Power can fail: between what was written and its acknowledgement the file it
// was written to is synced (R09).
func TestSyncedBeforeAcknowledged(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	trace := filepath.Join(t.TempDir(), "trace")
	c := start(t, "one "+t.TempDir(), strace, "-f", "-q", "-s", "1000", "-e", "trace=pwrite64,write,fsync,fdatasync", "-o", trace)
	if !c.lines.Scan() {
		t.Skip("strace may not trace here")
	}
	for range 100 {
		c.line(t)
	}
	c.kill()
	data, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	acks, err := checkTrace(strings.Split(string(data), "\n"))
	if err != nil || acks < 50 {
		t.Fatalf("%d acknowledgements: %v", acks, err)
	}
	t.Logf("%d acknowledgements, each after its sync", acks)
}

var (
	wrote   = regexp.MustCompile(`pwrite64\((\d+), .*?\.(k\.\d+\.0\.\d+)`)
	syncing = regexp.MustCompile(`^(\d+) +f(?:data)?sync\((\d+)(\)? += 0)?`)
	resumed = regexp.MustCompile(`^(\d+) +<\.\.\. f(?:data)?sync resumed>.*= 0`)
	told    = regexp.MustCompile(`write\(1, "acked (k\.\d+\.0\.\d+) `)
)

// checkTrace looks for the sync of what holds a key before the line that says
// that the key was acknowledged.
func checkTrace(lines []string) (acks int, err error) {
	file := map[string]string{}  // where a key was written to
	synced := map[string]bool{}  // whether it is on disk
	under := map[string]string{} // a thread, and what it syncs
	done := func(fd string) {
		for key, at := range file {
			if at == fd {
				synced[key] = true
			}
		}
	}
	for _, line := range lines {
		if m := wrote.FindStringSubmatch(line); m != nil {
			file[m[2]] = m[1]
		}
		if m := syncing.FindStringSubmatch(line); m != nil {
			if under[m[1]] = m[2]; m[3] != "" {
				done(m[2])
			}
		}
		if m := resumed.FindStringSubmatch(line); m != nil {
			done(under[m[1]])
		}
		if m := told.FindStringSubmatch(line); m != nil {
			if acks++; !synced[m[1]] {
				return acks, errors.New(m[1] + " was acknowledged before it was synced")
			}
		}
	}
	return acks, nil
}
