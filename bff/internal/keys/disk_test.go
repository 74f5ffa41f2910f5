//go:build linux

package keys_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/keys"
)

// G08: the file belongs to somebody else.
func TestActiveKeyOfAnotherOwner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	e := newEdge(t).mustStart()
	path := e.files()[0]
	if err := os.Chown(path, 12345, -1); err != nil {
		t.Fatal(err)
	}
	e.refused(path, nil)
}

// small mounts a small file system.
func small(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=0700"); err != nil {
		t.Skip("mounting a small file system is not permitted:", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill writes until nothing more fits, and returns what frees it.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "full")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 512))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// G08: the disk is full. A first start fails; a rotation does, and the active key
// goes on signing. Nothing is left behind, and with space it works again.
func TestDiskIsFull(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	e.dir = small(t)
	if _, err := keys.Replica(e.dir); err != nil {
		t.Fatal(err)
	}
	free := fill(t, e.dir)
	if err := e.start(); !errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	free()
	e.mustStart()
	_, first := e.sign()
	free = fill(t, e.dir)
	for range 3 {
		if _, err := e.Rotate(t.Context()); !errors.Is(err, syscall.ENOSPC) {
			t.Error(err)
		}
		e.want("0+1+0")
		if _, id := e.sign(); id != first {
			t.Error(id)
		}
	}
	e.clock.advance(life / 2)
	if err := e.Step(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	entries, err := os.ReadDir(e.dir)
	if err != nil || len(entries) != 3 { // the key, the replica, and what fills the disk
		t.Error(entries, err)
	}
	free()
	e.step()
	e.want("1+1+0")
	e.pass(lead)
	if _, id := e.sign(); id == first {
		t.Error("not rotated")
	}
}
