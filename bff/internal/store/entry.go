package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	operationHeader = "KV-Operation"
	operationDelete = "DEL"
	reasonHeader    = "Nats-Marker-Reason"

	// leaderPatience is how long a read waits for the server that leads the
	// bucket, before it takes what any of them has.
	leaderPatience = time.Second
)

// Entry is a key and what is kept under it.
type Entry struct {
	Key   string
	Value []byte
	// Sequence is that of the write. It is never given twice.
	Sequence uint64
	// Time is the server's at the write. A restore is a write.
	Time time.Time
	// Deleted says that the key is no longer there; only [Store.Follow] tells.
	Deleted bool

	keep time.Time // see write
}

// Get returns what is kept under a key, or [ErrNotFound]. Without a majority of
// the external servers it may answer still, and then with what was; to be sure,
// follow up to a [Store.Pulse]. An entry that is not what was written is an error
// of its own.
func (s *Store) Get(ctx context.Context, key string) (Entry, error) {
	if err := checkKey(key); err != nil {
		return Entry{}, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	e, err := s.get(ctx, key)
	if err == nil && (e.Deleted || e.ended(s.now())) {
		return Entry{}, ErrNotFound
	}
	return e, err
}

// ended tells whether the server is about to forget an entry. It may have
// forgotten it already, been killed, and found it again.
func (e Entry) ended(now time.Time) bool { return !e.keep.IsZero() && e.keep.Before(now) }

// get returns the entry of a deleted key too, and one that has ended.
func (s *Store) get(ctx context.Context, key string) (Entry, error) {
	for {
		session, epoch, err := s.current()
		if err != nil {
			return Entry{}, err
		}
		raw, err := s.read(ctx, session, epoch, epoch.subject(key))
		if err == nil {
			return entryOf(epoch, key, raw)
		}
		if !errors.Is(err, jetstream.ErrMsgNotFound) {
			return Entry{}, s.unavailable(err)
		}
		if !s.External() {
			return Entry{}, ErrNotFound
		}
		// Nothing has this name in a bucket that was replaced, either.
		now, err := s.refresh(ctx)
		if err != nil {
			return Entry{}, s.unavailable(err)
		}
		if now.epoch.is(epoch) {
			return Entry{}, ErrNotFound
		}
	}
}

func (s *Store) read(ctx context.Context, session *session, epoch *epoch, subject string) (*jetstream.RawStreamMsg, error) {
	if s.External() {
		patience, cancel := context.WithTimeout(ctx, leaderPatience)
		defer cancel()
		raw, err := readLeader(patience, session.conn, subject)
		if err == nil || errors.Is(err, jetstream.ErrMsgNotFound) {
			return raw, err
		}
	}
	return epoch.stream.GetLastMsgForSubject(ctx, subject)
}

// readLeader asks the server that leads the bucket. Any server would answer what
// jetstream asks, and one that lags behind would not find what was just written.
func readLeader(ctx context.Context, conn *nats.Conn, subject string) (*jetstream.RawStreamMsg, error) {
	request, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return nil, err
	}
	answer, err := conn.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+streamName, request)
	if err != nil {
		return nil, err
	}
	var response struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer.Data, &response); err != nil {
		return nil, err
	}
	switch {
	case response.Error != nil && response.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, jetstream.ErrMsgNotFound
	case response.Error != nil:
		return nil, response.Error
	case response.Message == nil:
		return nil, errors.New("an answer without a message")
	}
	m := response.Message
	raw := &jetstream.RawStreamMsg{Sequence: m.Sequence, Data: m.Data, Time: m.Time}
	if len(m.Header) > 0 {
		if raw.Header, err = nats.DecodeHeadersMsg(m.Header); err != nil {
			return nil, err
		}
	}
	return raw, nil
}

func entryOf(epoch *epoch, key string, raw *jetstream.RawStreamMsg) (Entry, error) {
	if err := checkSeal(epoch.subject(key), raw.Header, raw.Data); err != nil {
		return Entry{}, err
	}
	return Entry{
		Key:      key,
		Value:    raw.Data,
		Sequence: epoch.base + raw.Sequence,
		Time:     raw.Time,
		Deleted:  isMarker(raw.Header),
		keep:     keepOf(raw.Header),
	}, nil
}

func isMarker(h nats.Header) bool {
	return h != nil && (h.Get(operationHeader) != "" || h.Get(reasonHeader) != "")
}
