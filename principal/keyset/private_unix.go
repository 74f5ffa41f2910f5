//go:build unix

package keyset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// openPrivate opens a file that only this process's user can read.
func openPrivate(path string) (*os.File, error) {
	// A pipe would block the open, not the look at what was opened.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		if info, e := os.Lstat(path); e == nil && info.Mode()&fs.ModeSymlink != 0 {
			return nil, fmt.Errorf("keyset: private key %s: it is a symbolic link; name the file that it points to", path)
		}
		return nil, fmt.Errorf("keyset: private key: %w", err)
	}
	if err := checkPrivate(f); err != nil {
		return nil, errors.Join(fmt.Errorf("keyset: private key %s: %w", path, err), f.Close())
	}
	return f, nil
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

// writeNew writes a file that only its owner can read. sync makes a file or
// directory durable.
func writeNew(path string, data []byte, sync func(*os.File) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // 0600 from the start
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, os.Remove(f.Name()))
	}()
	_, err = f.Write(data)
	if err == nil {
		err = sync(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil { // a rename would replace what is there
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := sync(d); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
