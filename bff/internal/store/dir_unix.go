//go:build linux || darwin || freebsd

package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockDir takes the directory for this process; the server does not. The lock
// goes with the process, however that ends.
func lockDir(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		pid, _ := io.ReadAll(io.LimitReader(file, 16)) // only to say who
		return nil, errors.Join(fmt.Errorf("store: %s is in use by another process, %s", dir, strings.TrimSpace(string(pid))), file.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: cannot lock %s: %w", dir, err), file.Close())
	}
	if err := file.Truncate(0); err == nil {
		_, _ = file.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	return file, nil
}

// checkDir makes the directory, and refuses one that is not ours alone to
// change.
func checkDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o002 != 0 {
		return fmt.Errorf("store: %s: its mode %04o lets everybody change it: run chmod 700 %s", dir, mode, dir)
	}
	return nil
}

// freeSpace returns how many bytes this user may still write to the disk of a
// directory.
func freeSpace(dir string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return uint64(max(0, int64(s.Bavail))) * uint64(s.Bsize), nil
}
