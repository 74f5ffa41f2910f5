package wire

import "encoding/binary"

func appendTag(dst []byte, num uint32, typ uint8) []byte {
	return binary.AppendUvarint(dst, uint64(num)<<3|uint64(typ))
}

// appendVarint appends a scalar unless it has its default value.
func appendVarint(dst []byte, num uint32, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return binary.AppendUvarint(appendTag(dst, num, wireVarint), v)
}

// appendText appends a string unless it is empty.
func appendText(dst []byte, num uint32, s string) []byte {
	if s == "" {
		return dst
	}
	return appendBytes(dst, num, s)
}

func appendTexts(dst []byte, num uint32, list []string) []byte {
	for _, s := range list {
		dst = appendBytes(dst, num, s)
	}
	return dst
}

func appendBytes(dst []byte, num uint32, s string) []byte {
	dst = appendTag(dst, num, wireBytes)
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendID(dst []byte, num uint32, id ID) []byte {
	dst = append(appendTag(dst, num, wireBytes), byte(len(id)))
	return append(dst, id[:]...)
}

// beginMessage opens an embedded message with room for a length of one byte;
// endMessage makes more room where the message turned out longer.
func beginMessage(dst []byte, num uint32) (out []byte, at int) {
	dst = append(appendTag(dst, num, wireBytes), 0)
	return dst, len(dst)
}

func endMessage(dst []byte, at int) []byte {
	n := len(dst) - at
	var buf [binary.MaxVarintLen64]byte
	size := binary.PutUvarint(buf[:], uint64(n))
	if size > 1 {
		dst = append(dst, buf[1:size]...)
		copy(dst[at-1+size:], dst[at:at+n])
	}
	copy(dst[at-1:], buf[:size])
	return dst
}
