package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

const (
	backupFormat = "onbehalf store backup"
	maxLine      = 2 * maxValue // base64 and a key
)

// A backup is lines of JSON: a head, an entry on each, and an end, which has the
// SHA-256 of all lines before it.
type (
	backupHead struct {
		Format  string    `json:"format"`
		Version int       `json:"version"`
		Base    uint64    `json:"base"`
		Last    uint64    `json:"last"`
		Created time.Time `json:"created"`
	}
	backupEntry struct {
		Key      string    `json:"key"`
		Value    []byte    `json:"value"`
		Sequence uint64    `json:"sequence"`
		Time     time.Time `json:"time"`
		Keep     int64     `json:"keep,omitempty"` // in seconds since the epoch; 0 is forever
	}
	backupEnd struct {
		Entries int    `json:"entries"`
		SHA256  string `json:"sha256"`
	}
)

// Backup writes all that there is at one moment, which is not before the call.
// What it writes can be read, and shows in itself whether it is whole.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	entries, epoch, last, err := s.readAll(ctx)
	if err != nil {
		return s.unavailable(err)
	}
	sum := sha256.New()
	out := bufio.NewWriter(w)
	encoder := json.NewEncoder(io.MultiWriter(out, sum))
	head := backupHead{Format: backupFormat, Version: 1, Base: epoch.base, Last: last, Created: s.now().UTC()}
	if err := encoder.Encode(head); err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	for _, e := range entries {
		line := backupEntry{Key: e.Key, Value: e.Value, Sequence: e.Sequence, Time: e.Time}
		if !e.keep.IsZero() {
			line.Keep = e.keep.Unix()
		}
		if err := encoder.Encode(line); err != nil {
			return fmt.Errorf("store: backup: %w", err)
		}
	}
	end := backupEnd{Entries: len(entries), SHA256: hex.EncodeToString(sum.Sum(nil))}
	if err := errors.Join(json.NewEncoder(out).Encode(end), out.Flush()); err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	return nil
}

func (s *Store) readAll(ctx context.Context) ([]Entry, *epoch, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	now, err := s.refresh(ctx)
	if err != nil {
		return nil, nil, 0, err
	}
	watch, err := s.newWatch(ctx, now, now.epoch.base)
	if err != nil {
		return nil, nil, 0, err
	}
	defer watch.stop()
	entries, err := watch.all(ctx)
	return entries, now.epoch, watch.last, err
}

// readBackup reads a backup to its end and believes nothing of it before.
func readBackup(r io.Reader) (backupHead, []Entry, error) {
	head, entries, err := parseBackup(bufio.NewReaderSize(r, maxLine))
	if err != nil {
		return head, nil, fmt.Errorf("store: the backup is damaged (%w); nothing was changed", err)
	}
	return head, entries, nil
}

func parseBackup(in *bufio.Reader) (backupHead, []Entry, error) {
	var head backupHead
	sum := sha256.New()
	if err := readLine(in, &head, sum); err != nil {
		return head, nil, err
	}
	if head.Format != backupFormat || head.Version != 1 {
		return head, nil, errors.New("it does not begin as one of version 1 does")
	}
	var entries []Entry
	previous := head.Base
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return head, nil, fmt.Errorf("it ends too early: %w", err)
		}
		if bytes.HasPrefix(line, []byte(`{"entries":`)) {
			if err := checkEnd(in, line, len(entries), sum); err != nil {
				return head, nil, err
			}
			break
		}
		sum.Write(line)
		var e backupEntry
		if err := strict(line, &e); err != nil {
			return head, nil, err
		}
		if err := checkKey(e.Key); err != nil {
			return head, nil, err
		}
		if e.Sequence <= previous || e.Sequence > head.Last || len(e.Value) > maxValue {
			return head, nil, errors.New("an entry has another place than it says")
		}
		previous = e.Sequence
		entry := Entry{Key: e.Key, Value: e.Value, Sequence: e.Sequence, Time: e.Time}
		if e.Keep != 0 {
			entry.keep = time.Unix(e.Keep, 0)
		}
		entries = append(entries, entry)
	}
	return head, entries, nil
}

func readLine(in *bufio.Reader, v any, sum hash.Hash) error {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("it ends too early: %w", err)
	}
	sum.Write(line)
	return strict(line, v)
}

func checkEnd(in *bufio.Reader, line []byte, entries int, sum hash.Hash) error {
	want, err := json.Marshal(backupEnd{Entries: entries, SHA256: hex.EncodeToString(sum.Sum(nil))})
	if err != nil {
		return err
	}
	if !bytes.Equal(bytes.TrimSuffix(line, []byte{'\n'}), want) {
		return errors.New("its checksum is another")
	}
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.New("it goes on after its end")
	}
	return nil
}

func strict(line []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	return decoder.Decode(v)
}
