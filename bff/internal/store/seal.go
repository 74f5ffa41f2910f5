package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"github.com/nats-io/nats.go"
)

// sealHeader has a hash of an entry's subject and value. The server's own hash
// of a record does not cover where in it the subject and the headers end.
const sealHeader = "Onbehalf-Seal"

var errSeal = errors.New("store: an entry is damaged, or was not written by an edge")

func seal(subject string, value []byte) string {
	h := sha256.New()
	_, _ = io.WriteString(h, subject) // a hash takes everything
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(value)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// checkSeal refuses an entry that is not what was written. That a key was
// deleted needs no seal: a server may write that by itself, or an operator.
func checkSeal(subject string, header nats.Header, value []byte) error {
	if isMarker(header) {
		return nil
	}
	if header == nil || header.Get(sealHeader) != seal(subject, value) {
		return errSeal
	}
	return nil
}
