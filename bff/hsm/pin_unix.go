//go:build unix

package hsm

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// readPIN reads a file that only this process's user can read. It looks at the
// file that it has opened, so that exchanging it in between does not help.
func readPIN(path string) (string, error) {
	// A pipe would block the open, not the look at what was opened.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		if info, e := os.Lstat(path); e == nil && info.Mode()&fs.ModeSymlink != 0 {
			return "", errors.New("it is a symbolic link; name the file that it points to")
		}
		return "", err
	}
	defer f.Close()
	if err := checkPrivate(f); err != nil {
		return "", err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPIN+3)) // a line end, and one byte to see that it is too long
	if err != nil {
		return "", err
	}
	pin, _ := strings.CutSuffix(string(data), "\n")
	pin, _ = strings.CutSuffix(pin, "\r")
	return pin, nil
}

func checkPrivate(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("its owner is not known")
	}
	if uid := os.Geteuid(); int(stat.Uid) != uid {
		return fmt.Errorf("it belongs to user %d, and this process runs as user %d: run chown %d %s", stat.Uid, uid, uid, f.Name())
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("its mode %04o lets others than its owner in: run chmod 600 %s", mode, f.Name())
	}
	return nil
}
