package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrNotFound says that a key is not there, or was deleted.
	ErrNotFound = errors.New("store: not found")
	// ErrConflict says that a key is not at the sequence that the caller knows.
	ErrConflict = errors.New("store: changed by another")
	// ErrUnavailable says that the store cannot be asked at the moment: no
	// majority of its servers, a full disk, no answer in time. What was to be
	// written may be there or not, now or in a moment.
	ErrUnavailable = errors.New("store: unavailable")

	errNoAnswer   = errors.New("no answer")
	errClosed     = fmt.Errorf("%w: it is closed", ErrUnavailable)
	errRestarting = fmt.Errorf("%w: the embedded server is being started again", ErrUnavailable)
	errGone       = fmt.Errorf("%w: the bucket is not there: restore it from a backup, or start all edges anew", ErrUnavailable)
	errBack       = fmt.Errorf("%w: the bucket was replaced by an older one: restore it from a backup", ErrUnavailable)
	errRestoring  = errors.New("store: a restore was begun and did not end: run it again to its end")
)

// unavailable says what to look at.
func (s *Store) unavailable(cause error) error {
	if errors.Is(cause, ErrUnavailable) || errors.Is(cause, errRestoring) {
		return cause
	}
	text := "the server refused"
	switch {
	case errors.Is(cause, context.Canceled):
		text = "the caller did not wait"
	case isTimeout(cause):
		text = "no answer in time: see the log of the edge"
		if s.External() {
			text = "no answer in time: are most of the NATS servers running, and do they reach each other?"
		}
	case hasNoPeers(cause):
		text = "fewer NATS servers are there, or have room, than store.replicas asks for"
	case neverApplied(cause):
		text = "the server has no JetStream at the moment"
		if s.External() {
			text = "no NATS server leads the bucket: are most of them running?"
		}
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, text, cause)
}

// neverApplied tells whether a request reached no stream, so that it can be
// made again without being made twice.
func neverApplied(err error) bool {
	const notAvailable, notLeader = 10008, 10009
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.ErrorCode == notAvailable || api.ErrorCode == notLeader
	}
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrConnectionReconnecting)
}

// hasNoPeers tells whether a bucket could not be made as there are too few
// servers for its replicas.
func hasNoPeers(err error) bool {
	const noPeers = 10005
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == noPeers
}

func isTimeout(err error) bool {
	return errors.Is(err, errNoAnswer) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
}

func isConflict(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
