package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// Tuned returns settings under which deleted keys and pulses are forgotten
// earlier, and the disk may be filled further.
func (s Settings) Tuned(markers, pulses time.Duration, free uint64) Settings {
	s.tuning = tuning{markerLife: markers, pulseLife: pulses, minFree: free}
	return s
}

// CheckBlocks reads what is in the directory of an embedded store's server.
func CheckBlocks(dir string, last uint64) error { return checkBlocks(dir, last) }

// WriteState notes in a directory that a bucket is, or is being, made.
func WriteState(dir string, base uint64, ready bool) error {
	return writeState(dir, state{Base: base, Ready: ready, Sequence: base})
}

// ReadBackup returns how many entries a backup has.
func ReadBackup(r io.Reader) (int, error) {
	_, entries, err := readBackup(r)
	return len(entries), err
}

// SealBackup adds the last line of a backup to the others.
func SealBackup(lines []byte) []byte {
	sum := sha256.Sum256(lines)
	return fmt.Appendf(slices.Clip(lines), `{"entries":%d,"sha256":"%x"}`+"\n", max(bytes.Count(lines, []byte("\n"))-1, 0), sum)
}

// Backup returns one of entries of a size.
func Backup(entries, size int) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	_ = encoder.Encode(backupHead{Format: backupFormat, Version: 1, Base: 1, Last: uint64(entries) + 1})
	for n := range entries {
		_ = encoder.Encode(backupEntry{Key: fmt.Sprint("k.", n), Value: make([]byte, size), Sequence: uint64(n) + 2})
	}
	return SealBackup(b.Bytes())
}
