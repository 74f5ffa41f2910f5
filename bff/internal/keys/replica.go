package keys

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

const replicaName = "replica"

var replicaID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Replica returns the id of the edge that has this data directory, 32 hex
// digits. It makes the directory and the file "replica" in it if they are not
// there. If several processes do so at the same time, all get the same id.
func Replica(dir string) (string, error) {
	if err := OpenDir(dir); err != nil {
		return "", err
	}
	path := filepath.Join(dir, replicaName)
	id, err := readReplica(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	if err := writeReplica(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("keys: %s not written: %w", path, err)
	}
	return readReplica(path)
}

func readReplica(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	id := string(data)
	if n := len(id); n > 0 && id[n-1] == '\n' {
		id = id[:n-1]
	}
	if !replicaID.MatchString(id) {
		return "", fmt.Errorf("keys: %s is damaged: restore it, or remove it to start as a new replica", path)
	}
	return id, nil
}

// writeReplica writes a new file that appears with all its content.
func writeReplica(path string) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+replicaName+".*") // 0600 from the start
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, os.Remove(f.Name()))
	}()
	var id [16]byte
	rand.Read(id[:])
	_, err = f.WriteString(hex.EncodeToString(id[:]) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil { // a rename would replace what is there
		return err
	}
	return syncDir(dir)
}

// OpenDir makes a data directory, for this user alone. One that is there may be
// shared with a group, as volumes of a cluster are: each file in it is checked on
// its own. Where everybody can write, anybody could take one away: that is an
// error.
func OpenDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o002 != 0 {
		return fmt.Errorf("%s: its mode %04o lets everybody change it: run chmod 700 %s", dir, mode, dir)
	}
	return nil
}
