package store_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// disk is a small disk of its own.
func disk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("onbehalf-test", dir, "tmpfs", 0, "size=32m"); err != nil {
		t.Skip("nothing may be mounted here:", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes all space but some, until what it returns is called.
func fill(t *testing.T, dir string, but int) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = file.Write(make([]byte, 1<<12))
	}
	info, err := file.Stat()
	if err == nil {
		err = errors.Join(file.Truncate(max(0, info.Size()-int64(but))), file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() { os.Remove(path) }
}

// On a full disk nothing new is acknowledged, what is there can be read, and
// when there is space all goes on by itself (G08).
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := disk(t)
	s := open(t, store.Settings{Dir: filepath.Join(dir, "store")})
	batches := follow(t, s)
	first, err := s.Put(t.Context(), "before", nil)
	if err != nil {
		t.Fatal(err)
	}
	free := fill(t, dir, 4<<20)
	for range 100 {
		_, err := s.Put(t.Context(), "during", nil)
		if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "is full") {
			t.Fatal(err)
		}
	}
	if e, err := s.Get(t.Context(), "before"); err != nil || e.Sequence != first {
		t.Error(e, err)
	}
	if r, err := s.Check(t.Context()); err != nil || r.Worst() != store.Error {
		t.Error(r, err)
	}
	free()
	last, err := s.Put(t.Context(), "after", nil)
	if err != nil {
		t.Fatal(err)
	}
	var v view
	v.upTo(t, batches, last)
	if v.resets != 1 || v.entries["after"].Sequence != last {
		t.Error(v)
	}
}

// If somebody else takes the last of the space during a write, the server gives
// its bucket up, and is started again when there is space (G08).
func TestDiskFullDuringWrite(t *testing.T) {
	t.Parallel()
	dir := disk(t)
	s := open(t, store.Settings{Dir: filepath.Join(dir, "store")}.Tuned(time.Hour, time.Hour, 0))
	batches := follow(t, s)
	free := fill(t, dir, 1<<20)
	acked := map[string]uint64{}
	var last uint64
	for n := 0; ; n++ {
		key := fmt.Sprint("k.", n)
		sequence, err := s.Put(t.Context(), key, make([]byte, 1000))
		if err == nil {
			acked[key], last = sequence, sequence
			continue
		}
		if !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		t.Logf("after %d writes: %v", n, err)
		break
	}
	free()
	eventually(t, 30*time.Second, "it is written again", func() bool {
		sequence, err := s.Put(t.Context(), "after", nil)
		if err == nil && sequence <= last {
			t.Fatalf("%d was given after %d", sequence, last)
		}
		last = max(last, sequence)
		return err == nil
	})
	compare(t, upTo(t, batches, last), acked)
}

func upTo(t *testing.T, batches <-chan store.Batch, sequence uint64) map[string]store.Entry {
	t.Helper()
	var v view
	v.upTo(t, batches, sequence)
	return v.entries
}
