package state

import (
	"time"

	"google.golang.org/protobuf/proto"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
)

const (
	// told is for how long a revocation is part of snapshots: the longest life of
	// a principal and twice the skew that verifiers allow.
	told = 6 * time.Minute
	// pieceInterval is how finely it is known since when a revocation is known.
	pieceInterval = 15 * time.Second
	pieceBytes    = 64 << 10
	// toldBytes bounds what snapshots tell, about a million revocations: no watcher
	// takes more than 64 MiB. What is beyond raises the floor, as if it were old.
	toldBytes = 56 << 20
)

// recent holds the revocations that snapshots tell of, but for those of keys,
// encoded: there may be very many. It is guarded by the state's lock.
type recent struct {
	pieces []piece // oldest first
	bytes  int
	floor  uint64 // the highest sequence that is told of no more
}

// piece is some revocations in the form of a trustv1.Snapshot with nothing else.
// Its bytes are only ever appended to, so that others can go on reading them.
type piece struct {
	since, until time.Time // when the first and the last of them were learned
	sequence     uint64    // of the last
	encoded      []byte
}

// add tells of m, which is known since a time, unless that is too long ago.
func (r *recent) add(m *trustv1.Revocation, at, now time.Time) {
	if now.Sub(at) >= told {
		r.floor = max(r.floor, m.GetSequence())
		return
	}
	n := len(r.pieces)
	if n == 0 || len(r.pieces[n-1].encoded) >= pieceBytes || at.Sub(r.pieces[n-1].since) >= pieceInterval || at.Before(r.pieces[n-1].since) {
		r.pieces = append(r.pieces, piece{since: at})
		n++
	}
	p := &r.pieces[n-1]
	before := len(p.encoded)
	encoded, err := proto.MarshalOptions{}.MarshalAppend(p.encoded, &trustv1.Snapshot{Revocations: []*trustv1.Revocation{m}})
	if err != nil { // of text that is not UTF-8, which a target has not
		r.floor = max(r.floor, m.GetSequence())
		return
	}
	p.encoded, p.until, p.sequence = encoded, at, m.GetSequence()
	r.bytes += len(p.encoded) - before
	for r.bytes > toldBytes {
		r.drop()
	}
}

// forget drops what is old enough not to matter to any principal.
func (r *recent) forget(now time.Time) {
	for len(r.pieces) > 0 && now.Sub(r.pieces[0].until) >= told {
		r.drop()
	}
}

// drop forgets the oldest piece. The floor goes with it.
func (r *recent) drop() {
	r.floor = max(r.floor, r.pieces[0].sequence)
	r.bytes -= len(r.pieces[0].encoded)
	r.pieces = r.pieces[1:]
}
