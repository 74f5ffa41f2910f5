package state

import (
	"hash/maphash"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
)

const chunkSize = 1024

// remembered is a revocation of anything but a key.
type remembered struct {
	digest
	sequence uint64 // 0: none is here
	at       int64  // seconds since the epoch, by the clock of who revoked
}

// memory finds revocations by the digest of their target, in about 75 bytes
// each. It is guarded by the state's lock.
//
// The index is keyed by a seeded hash of the digest. Two digests with one hash
// come about once in fifty million full memories; the later one is then
// remembered. Nobody who does not know the seed can bring it about.
type memory struct {
	seed   maphash.Seed
	index  map[uint64]uint32
	chunks []*[chunkSize]remembered
	used   uint32
	free   []uint32
}

func newMemory() memory {
	return memory{seed: maphash.MakeSeed(), index: make(map[uint64]uint32)}
}

func (m *memory) hash(d digest) uint64 { return maphash.Bytes(m.seed, d[:]) }

func (m *memory) at(i uint32) *remembered { return &m.chunks[i/chunkSize][i%chunkSize] }

// get returns what is remembered of a digest, or nil.
func (m *memory) get(d digest) *remembered {
	if i, ok := m.index[m.hash(d)]; ok {
		if r := m.at(i); r.digest == d {
			return r
		}
	}
	return nil
}

// add remembers r if it is later than what was remembered, and returns the
// sequence of that.
func (m *memory) add(r remembered) (before uint64) {
	if old := m.get(r.digest); old != nil {
		if before = old.sequence; before < r.sequence {
			*old = r
		}
		return before
	}
	var i uint32
	if n := len(m.free); n > 0 {
		i, m.free = m.free[n-1], m.free[:n-1]
	} else {
		i = m.used
		m.used++
		if i%chunkSize == 0 {
			m.chunks = append(m.chunks, new([chunkSize]remembered))
		}
	}
	*m.at(i) = r
	m.index[m.hash(r.digest)] = i
	return 0
}

func (m *memory) remove(d digest) {
	h := m.hash(d)
	i, ok := m.index[h]
	if !ok || m.at(i).digest != d {
		return
	}
	delete(m.index, h)
	*m.at(i) = remembered{}
	m.free = append(m.free, i)
}

func (m *memory) len() int { return len(m.index) }

// before returns at most so many that were revoked before a time.
func (m *memory) before(at int64, most int) []remembered {
	var old []remembered
	for i := range m.used {
		if r := m.at(i); r.sequence != 0 && r.at < at {
			if old = append(old, *r); len(old) == most {
				break
			}
		}
	}
	return old
}

// returns reports whether what is issued after the revocation of t is good again.
func returns(t *trustv1.Target) bool {
	switch t.GetTarget().(type) {
	case *trustv1.Target_Identity, *trustv1.Target_Service:
		return true
	default:
		return false
	}
}
