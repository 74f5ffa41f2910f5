package httpguard

import "encoding/binary"

// frames follows the messages in a response of gRPC, gRPC-Web or a Connect
// stream, each of which is preceded by a byte of flags and four of length. A nil
// *frames is a response without messages, which is whole after every byte.
type frames struct {
	prefix [5]byte
	have   int  // of the prefix
	left   int  // of the message
	last   bool // the message was the one that ends a Connect stream, or the trailers of gRPC-Web
}

// whole reports whether no message is begun.
func (f *frames) whole() bool { return f == nil || f.have == 0 }

// rest returns how many bytes of p belong to a message that is begun.
func (f *frames) rest(p []byte) int {
	if f == nil {
		return 0
	}
	ahead, n := *f, 0
	for n < len(p) && !ahead.whole() {
		n += ahead.step(p[n:])
	}
	return n
}

// advance takes note of what was written.
func (f *frames) advance(p []byte) {
	for f != nil && len(p) > 0 {
		p = p[f.step(p):]
	}
}

// step takes note of the part of p that belongs to one prefix or one message,
// and returns its length.
func (f *frames) step(p []byte) int {
	if f.have < len(f.prefix) {
		n := copy(f.prefix[f.have:], p)
		f.have += n
		if f.have == len(f.prefix) {
			f.left = int(binary.BigEndian.Uint32(f.prefix[1:]))
			f.settle()
		}
		return n
	}
	n := min(len(p), f.left)
	f.left -= n
	f.settle()
	return n
}

// settle makes ready for the next prefix at the end of a message.
func (f *frames) settle() {
	if f.left == 0 {
		f.have = 0
		f.last = f.prefix[0]&0b1000_0010 != 0
	}
}
