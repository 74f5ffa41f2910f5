package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	bucket     = "onbehalf-trust"
	streamName = "KV_" + bucket

	// Metadata of the stream.
	baseName   = "onbehalf.base"
	stateName  = "onbehalf.state"
	stateReady = "ready"
	// stateRestoring is set until all entries of a backup are in the stream.
	stateRestoring = "restoring"

	maxKey   = 512
	maxValue = 512 << 10
)

// epoch is one life of the bucket: from its creation, or a restore, to the
// next. The base is part of its subjects, so that a process which does not know
// yet of a restore writes nowhere, instead of counting on from a base that is
// gone.
type epoch struct {
	base    uint64
	created time.Time
	stream  jetstream.Stream
}

// newBase returns a base for a bucket made now: seconds since the epoch in units
// of 65536, which leaves so many writes for each second until the next bucket
// could be made. last is the highest sequence known to have been given.
func newBase(now time.Time, last uint64) uint64 {
	base := uint64(now.Unix())<<16 | uint64(now.Nanosecond())<<16/1e9
	if last > 0 {
		base = max(base, last+1<<16)
	}
	return base
}

func subjectPrefix(base uint64) string {
	return "$KV." + bucket + "." + strconv.FormatUint(base, 10) + "."
}

func (e *epoch) subject(key string) string { return subjectPrefix(e.base) + key }

func (e *epoch) key(subject string) (string, error) {
	key, ok := strings.CutPrefix(subject, subjectPrefix(e.base))
	if !ok {
		return "", errors.New("a message of another bucket")
	}
	return key, nil
}

func (e *epoch) is(other *epoch) bool {
	return other != nil && e.base == other.base && e.created.Equal(other.created)
}

func streamConfig(base uint64, state string, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              streamName,
		Description:       "onbehalf: revocations, public keys and enrolments",
		Subjects:          []string{subjectPrefix(base) + ">"},
		Retention:         jetstream.LimitsPolicy,
		MaxMsgsPerSubject: 1,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxConsumers:      -1,
		MaxMsgSize:        -1,
		Discard:           jetstream.DiscardNew,
		Storage:           jetstream.FileStorage,
		Replicas:          replicas,
		AllowRollup:       true,
		DenyDelete:        true,
		AllowDirect:       true,
		AllowMsgTTL:       true, // for the markers of deleted keys, and pulses
		Metadata:          map[string]string{baseName: strconv.FormatUint(base, 10), stateName: state},
	}
}

// readEpoch reads which bucket is there, and refuses one that could lose
// entries, or that somebody else has made.
func readEpoch(ctx context.Context, js jetstream.JetStream) (*epoch, *jetstream.StreamInfo, error) {
	stream, err := js.Stream(ctx, streamName)
	if err != nil {
		return nil, nil, err
	}
	info := stream.CachedInfo()
	c := info.Config
	base, err := strconv.ParseUint(c.Metadata[baseName], 10, 63)
	if err != nil || len(c.Subjects) != 1 || c.Subjects[0] != subjectPrefix(base)+">" {
		return nil, nil, fmt.Errorf("store: the stream %s was not made by an edge: remove it, or use another account", streamName)
	}
	if c.Storage != jetstream.FileStorage || c.Retention != jetstream.LimitsPolicy || c.MaxMsgsPerSubject != 1 || c.MaxAge != 0 ||
		c.MaxMsgs != -1 || c.MaxBytes != -1 || c.Discard != jetstream.DiscardNew || c.Mirror != nil || len(c.Sources) != 0 {
		return nil, nil, fmt.Errorf("store: the settings of the stream %s were changed so that it can lose entries", streamName)
	}
	e := &epoch{base: base, created: info.Created, stream: stream}
	if c.Metadata[stateName] != stateReady {
		return e, info, errRestoring
	}
	return e, info, nil
}

// checkKey refuses what is no key. A key is a NATS subject, in which some
// characters have a meaning.
func checkKey(key string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=/."
	if key == "" || len(key) > maxKey ||
		strings.ContainsFunc(key, func(r rune) bool { return !strings.ContainsRune(allowed, r) }) ||
		key[0] == '.' || key[len(key)-1] == '.' || strings.Contains(key, "..") {
		return fmt.Errorf("store: a key has 1 to %d letters, digits and -_=/, in parts separated by dots", maxKey)
	}
	if strings.HasPrefix(key, pulsePrefix) {
		return errors.New("store: keys that begin with " + pulsePrefix + " are the store's own")
	}
	return nil
}
