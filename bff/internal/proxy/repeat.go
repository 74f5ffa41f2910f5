package proxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A request that was sent is sent once more, to another endpoint, if that was not
// processed, or if its connection broke before anything of an answer came and it
// is idempotent: by its method, or because the configuration says so of its RPC.
// Then nobody can tell whether it was processed.

// isSafe reports whether r changes nothing, by RFC 9110, section 9.2.1. An upgrade
// is the beginning of something else.
func isSafe(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return r.Header.Get("Upgrade") == ""
	}
	return false
}

// streamResetError has the fields of what net/http returns for a stream that its peer
// has reset, which is how errors.As finds it.
type streamResetError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamResetError) Error() string { return "the stream was reset" }

// sendOnce keeps net/http from sending r again by itself because its client has
// given it a key: only some services know what that means. It knows the names as
// they are written most; to who gets them they are the same in small letters.
func sendOnce(r *http.Request) {
	if r.Body != nil || isSafe(r) {
		return // of which it repeats nothing, or whatever the header
	}
	for _, name := range [...]string{"Idempotency-Key", "X-Idempotency-Key"} {
		if values, ok := r.Header[name]; ok {
			delete(r.Header, name)
			r.Header[strings.ToLower(name)] = values
		}
	}
}

const refusedStream = 7 // RFC 9113, section 7: not processed

// isUnprocessed reports whether err says that no program has seen the request:
// the stream was refused, or is above the last one that a GOAWAY names, or was to
// begin when that came. Without a body net/http repeats those by itself, on another
// connection to the same place; with one it gives up, with errors that have no type
// (their texts are tested). It does so for PROTOCOL_ERROR too, of which nobody knows
// whether that is so.
func isUnprocessed(err error) bool {
	if reset, ok := errors.AsType[streamResetError](err); ok {
		return reset.Code == refusedStream
	}
	text := err.Error()
	return strings.HasPrefix(text, "http2: Transport: cannot retry err [") && !strings.Contains(text, "PROTOCOL_ERROR") ||
		text == "net/http: cannot rewind body after connection loss"
}

// isCut reports whether the connection broke. What else goes wrong with a request
// may be its client's doing, such as a header that is larger than the upstream
// takes, and would go wrong elsewhere too.
func isCut(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if ok && op.Op != "dial" || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	text := err.Error()
	return slices.ContainsFunc(cuts, func(cut string) bool { return strings.Contains(text, cut) })
}

// cuts are what net/http says of a broken connection in errors without a type.
var cuts = []string{
	"server closed idle connection", "server sent GOAWAY and closed the connection", "client conn could not be established",
}

// isLost reports whether err is the endpoint's doing, though it could be reached.
func isLost(err error) bool {
	if _, unreachable := errors.AsType[dialError](err); unreachable {
		return false // counts already
	}
	_, reset := errors.AsType[streamResetError](err)
	return reset || isCut(err) || isUnprocessed(err)
}

// expired reports whether the deadline has passed that an RPC's header names.
func expired(h http.Header, after time.Duration) bool {
	timeout, unit := h.Get("Connect-Timeout-Ms"), time.Millisecond
	if timeout == "" {
		timeout = h.Get("Grpc-Timeout")
		if timeout == "" {
			return false
		}
		last := len(timeout) - 1
		unit = map[byte]time.Duration{
			'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
		}[timeout[last]]
		timeout = timeout[:last]
	}
	n, err := strconv.ParseInt(timeout, 10, 64)
	return err != nil || unit == 0 || n <= int64(after/unit)
}
