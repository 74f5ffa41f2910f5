package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats.go"
)

// The server's files of messages, as nats-server 2 writes them: a record is its
// length, sequence, time, the subject and its length, headers and their length,
// the message, and a hash of these.
const (
	recordHead = 22
	recordSum  = 8
	minRecord  = recordHead + recordSum
	maxRecord  = 32 << 20

	hasHeader = 1 << 31 // in the length
	isErased  = 1 << 63 // in the sequence
	isRemoval = 1 << 62
)

// checkBlocks reads all that an embedded store has on disk and changes nothing.
// The server would cut off a file where a record is damaged, and go on with the
// rest. last is the last message known to have been acknowledged.
//
// One record at the very end may be in pieces: what was being written when the
// process or the machine stopped. It was not acknowledged.
func checkBlocks(dir string, last uint64) error {
	highest, err := readBlocks(dir)
	if err == nil && highest < last {
		err = fmt.Errorf("message %d was acknowledged, but the last one there is %d", last, highest)
	}
	if err != nil {
		return fmt.Errorf("store: what is in %s is damaged or lost (%w): restore from a backup; nothing was changed", dir, err)
	}
	return nil
}

// readBlocks returns the highest sequence it has found, with an error too.
func readBlocks(dir string) (uint64, error) {
	dir = filepath.Join(dir, "jetstream", "$G", "streams", streamName, "msgs")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var indexes []int
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".blk")
		if index, err := strconv.Atoi(name); ok && err == nil {
			indexes = append(indexes, index)
		}
	}
	slices.Sort(indexes)
	var highest uint64
	for i, index := range indexes {
		path := filepath.Join(dir, strconv.Itoa(index)+".blk")
		found, err := readBlock(path, index, i == len(indexes)-1)
		highest = max(highest, found)
		if err != nil {
			return highest, fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
	}
	return highest, nil
}

func readBlock(path string, index int, isLast bool) (highest uint64, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", streamName, index))
	sum, err := highwayhash.New64(key[:])
	if err != nil {
		return 0, err
	}
	for at := 0; at < len(data); {
		size, sequence := readRecord(data[at:], sum)
		if size == 0 {
			if isLast && isTorn(data[at:], sum) {
				return highest, nil
			}
			return highest, fmt.Errorf("the record at %d is damaged", at)
		}
		highest = max(highest, sequence)
		at += size
	}
	return highest, nil
}

// readRecord returns the size of the record that data begins with, or 0 if there
// is none, or not one that an edge has written.
func readRecord(data []byte, sum hash.Hash) (size int, sequence uint64) {
	if len(data) < minRecord {
		return 0, 0
	}
	length := binary.LittleEndian.Uint32(data)
	sequence = binary.LittleEndian.Uint64(data[4:])
	subject := int(binary.LittleEndian.Uint16(data[20:]))
	header := 0
	if length&hasHeader != 0 {
		header = 4
	}
	size = int(length &^ hasHeader)
	if size < minRecord+subject+header || size > maxRecord || size > len(data) {
		return 0, 0
	}
	body := data[recordHead : size-recordSum]
	sum.Reset()
	sum.Write(data[4:20])
	sum.Write(body[:subject])
	sum.Write(body[subject+header:])
	if !bytes.Equal(sum.Sum(nil), data[size-recordSum:size]) {
		return 0, 0
	}
	if sequence&(isErased|isRemoval) != 0 {
		if size != minRecord {
			return 0, 0
		}
	} else if header == 0 || !isSealed(string(body[:subject]), body[subject:]) {
		return 0, 0
	}
	return size, sequence &^ (isErased | isRemoval)
}

// isSealed looks at the length of headers, these, and a value.
func isSealed(subject string, data []byte) bool {
	length := binary.LittleEndian.Uint32(data)
	data = data[4:]
	if uint64(length) > uint64(len(data)) {
		return false
	}
	header, err := nats.DecodeHeadersMsg(data[:length])
	return err == nil && checkSeal(subject, header, data[length:]) == nil
}

// isTorn tells whether rest is a record that was not written to its end. What
// another record follows was written, and synced.
func isTorn(rest []byte, sum hash.Hash) bool {
	for at := 1; at+minRecord <= len(rest); at++ {
		if size, _ := readRecord(rest[at:], sum); size > 0 {
			return false
		}
	}
	return true
}
