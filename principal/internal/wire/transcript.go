package wire

import (
	"crypto/sha256"
	"encoding/binary"
)

// SignatureLen is the length of every signature in bytes.
const SignatureLen = 64

// The tags that keep a signature over one kind of block from being valid for
// another kind, or for anything else that is signed with the same key.
const (
	authorityTag = "onbehalf/v1 authority\x00"
	linkTag      = "onbehalf/v1 link\x00"
	openingTag   = "onbehalf/v1 opening\x00"
)

// Transcript is the hash of all blocks before the next one, signatures
// included. The zero value stands before the authority block. It is not
// carried: a block that is moved to another place fails as a bad signature.
type Transcript [sha256.Size]byte

// AppendSigned appends the bytes that the signature of the block after t covers:
// of a link, or of an authority block.
func (t Transcript) AppendSigned(dst []byte, link bool, keyID, payload string) []byte {
	tag := authorityTag
	if link {
		tag = linkTag
	}
	dst = append(dst, tag...)
	dst = append(dst, t[:]...)
	dst = append(dst, byte(len(keyID)))
	dst = append(dst, keyID...)
	return append(dst, payload...)
}

// Extend returns the transcript after b. scratch is memory that it may
// overwrite.
func (t Transcript) Extend(scratch []byte, b Block) Transcript {
	m := scratch[:0]
	m = append(m, t[:]...)
	m = binary.BigEndian.AppendUint32(m, uint32(len(b.Payload)))
	m = append(m, b.Payload...)
	m = append(m, byte(len(b.KeyID)))
	m = append(m, b.KeyID...)
	m = append(m, byte(len(b.Signature)))
	m = append(m, b.Signature...)
	return sha256.Sum256(m)
}

// Commitment returns what a block carries so that only the holder of opening
// can present a chain that ends with it.
func Commitment(opening ID) ID {
	var m [len(openingTag) + len(opening)]byte
	copy(m[copy(m[:], openingTag):], opening[:])
	sum := sha256.Sum256(m[:])
	return ID(sum[:16])
}
