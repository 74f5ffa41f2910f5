package state

import (
	"iter"

	"google.golang.org/protobuf/proto"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
)

// A connection keeps a buffer of the size of the longest frame that it has sent,
// and there is one for each service: small parts cost less memory than they cost
// time.
const (
	partBytes     = 1 << 10 // of what is in a part, at most
	documentBytes = 1 << 10
)

// Snapshot is everything as of a sequence. It is immutable.
type Snapshot struct {
	// Sequence is up to where it tells everything.
	Sequence uint64
	// Floor is the highest sequence of a revocation that it does not tell of, as
	// that is old, or may be lost.
	Floor uint64

	issuer      string
	documents   [][]byte
	revokedKeys []*trustv1.Revocation
	pieces      []piece
}

// Snapshot returns everything as of now.
func (s *State) Snapshot() Snapshot {
	now := s.o.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recent.forget(now)
	return Snapshot{
		Sequence: s.sequence, Floor: max(s.recent.floor, s.store.Base()), issuer: s.o.Issuer,
		documents: s.keys.documents(), revokedKeys: s.keys.revocations(), pieces: append([]piece(nil), s.recent.pieces...),
	}
}

// Parts returns the snapshot in small messages, with nothing of the time at which
// they are sent. There is one at least, and More is false in the last one only.
// Keys that do not fit into one part come in several documents, each in a part of
// its own.
func (s Snapshot) Parts() iter.Seq[*trustv1.Snapshot] {
	return func(yield func(*trustv1.Snapshot) bool) {
		p := packer{of: s, yield: yield, part: new(trustv1.Snapshot)}
		for i, document := range s.documents {
			if i > 0 && !p.flush(true) {
				return
			}
			p.part.Keys, p.size = document, len(document)
		}
		for _, r := range s.revokedKeys {
			if !p.room(proto.Size(r) + 8) {
				return
			}
			p.part.Revocations = append(p.part.Revocations, r)
		}
		for _, piece := range s.pieces {
			if !p.room(len(piece.encoded)) {
				return
			}
			if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(piece.encoded, p.part); err != nil {
				return // without a last part nobody takes it; what we have encoded can be read
			}
		}
		p.flush(false)
	}
}

type packer struct {
	of    Snapshot
	yield func(*trustv1.Snapshot) bool
	part  *trustv1.Snapshot
	size  int
}

func (p *packer) room(bytes int) bool {
	if p.size += bytes; p.size <= partBytes {
		return true
	}
	more := p.flush(true)
	p.size = bytes
	return more
}

func (p *packer) flush(more bool) bool {
	full := p.part
	full.Issuer, full.Sequence, full.Floor, full.More = p.of.issuer, p.of.Sequence, p.of.Floor, more
	p.part, p.size = new(trustv1.Snapshot), 0
	return p.yield(full)
}
