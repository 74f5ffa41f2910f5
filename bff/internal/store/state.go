package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

const stateFile = "store.json"

// state is what an embedded store knows about itself beside the server's files:
// which directory is the current one, and up to where it was written. The
// server itself cuts off what it cannot read, and goes on without it.
type state struct {
	Version int `json:"version"`
	// Base names the directory, too.
	Base uint64 `json:"base"`
	// Ready is set once the bucket is there. Before, nothing was written.
	Ready bool `json:"ready"`
	// Sequence was acknowledged. More may have been since.
	Sequence uint64 `json:"sequence"`
}

func dataDir(dir string, base uint64) string {
	return filepath.Join(dir, strconv.FormatUint(base, 10))
}

// readState returns nil if there is no file and no directory that one would
// name.
func readState(dir string) (*state, error) {
	path := filepath.Join(dir, stateFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if bases, err := dataDirs(dir); err != nil || len(bases) == 0 {
			return nil, err
		}
		return nil, fmt.Errorf("store: %s is not there, but data is: restore from a backup", path)
	}
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s, err := parseState(data)
	if err != nil {
		return nil, fmt.Errorf("store: %s is damaged (%w): restore from a backup", path, err)
	}
	return s, nil
}

// parseState reads a line of JSON and, on the next, its SHA-256.
func parseState(data []byte) (*state, error) {
	line, sum, _ := bytes.Cut(data, []byte{'\n'})
	want := sha256.Sum256(line)
	if string(sum) != hex.EncodeToString(want[:])+"\n" {
		return nil, errors.New("its checksum is another")
	}
	var s state
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("it goes on after its end")
	}
	if s.Version != 1 {
		return nil, fmt.Errorf("it is of version %d, this edge knows 1", s.Version)
	}
	return &s, nil
}

// writeState replaces the file, whole and durably.
func writeState(dir string, s state) error {
	s.Version = 1
	line, err := json.Marshal(s)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(line)
	path := filepath.Join(dir, stateFile)
	if err := writeSynced(path+".tmp", fmt.Appendf(nil, "%s\n%x\n", line, sum)); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return syncPath(dir)
}

func writeSynced(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Sync(), file.Close())
}

func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}

// syncTree makes all that is below a directory durable, and the directory.
func syncTree(path string) error {
	return filepath.WalkDir(path, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncPath(path)
	})
}

// dataDirs returns the bases that directories are named after.
func dataDirs(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	var bases []uint64
	for _, e := range entries {
		if base, err := strconv.ParseUint(e.Name(), 10, 63); err == nil && e.IsDir() {
			bases = append(bases, base)
		}
	}
	return bases, nil
}
