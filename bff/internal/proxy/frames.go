package proxy

import "encoding/binary"

// gRPC, gRPC-Web and the streams of Connect have the same frames: a byte of
// flags, four of length, the message. The last frame of gRPC-Web and of
// Connect has the trailers in it.
const (
	frameHead        = 5
	compressed  byte = 0x01
	connectLast byte = 0x02
	grpcWebLast byte = 0x80
)

// framer follows the frames of a body. The zero value is for a body without
// frames, which can end anywhere.
type framer struct {
	framed   bool
	lastFlag byte
	head     [frameHead]byte
	have     int    // bytes of head
	left     uint32 // bytes of the message
}

func newFramer(p protocol) framer {
	switch p {
	case grpc:
		return framer{framed: true}
	case grpcWeb:
		return framer{framed: true, lastFlag: grpcWebLast}
	case connectStream:
		return framer{framed: true, lastFlag: connectLast}
	default:
		return framer{}
	}
}

// between reports whether no frame has begun that is not complete.
func (f *framer) between() bool { return f.have == 0 && f.left == 0 }

// last reports whether the frame that begins with flags is the last one.
func (f *framer) last(flags byte) bool { return f.between() && flags&f.lastFlag != 0 }

// advance returns how much of b belongs to the frame that it begins in.
func (f *framer) advance(b []byte) int {
	if !f.framed {
		return len(b)
	}
	n := 0
	if f.left == 0 {
		n = copy(f.head[f.have:], b)
		if f.have += n; f.have < frameHead {
			return n
		}
		f.have, f.left = 0, binary.BigEndian.Uint32(f.head[1:])
	}
	m := min(uint64(f.left), uint64(len(b)-n))
	f.left -= uint32(m)
	return n + int(m)
}
