package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
)

// block is what crypto/ed25519 verifies of the last block of a header, and
// nothing else of what a verifier does.
type block struct {
	key                ed25519.PublicKey
	message, signature []byte
}

var errSignature = errors.New("crypto/ed25519 says that the signature is wrong")

func (b *block) verify() error {
	if !ed25519.Verify(b.key, b.message, b.signature) {
		return errSignature
	}
	return nil
}

// lastBlock follows the package doc of principal, section Signatures.
func (w *world) lastBlock(header string) (*block, error) {
	var p principalv1.SignedPrincipal
	if err := proto.Unmarshal([]byte(header), &p); err != nil {
		return nil, err
	}
	var transcript [sha256.Size]byte
	tag, last, key := "onbehalf/v1 authority\x00", p.GetAuthority(), w.authority
	for i, link := range p.GetLinks() {
		transcript = extend(transcript, last)
		tag, last, key = "onbehalf/v1 link\x00", link, w.linkKeys[path[i]]
	}
	message := append([]byte(tag), transcript[:]...)
	message = append(message, byte(len(last.GetKeyId())))
	message = append(message, last.GetKeyId()...)
	message = append(message, last.GetPayload()...)
	b := &block{key: ed25519.PublicKey(key[ed25519.PrivateKeySize-ed25519.PublicKeySize:]), message: message, signature: last.GetSignature()}
	return b, b.verify()
}

func extend(transcript [sha256.Size]byte, b *principalv1.Block) [sha256.Size]byte {
	m := transcript[:]
	m = binary.BigEndian.AppendUint32(m, uint32(len(b.GetPayload())))
	m = append(m, b.GetPayload()...)
	m = append(m, byte(len(b.GetKeyId())))
	m = append(m, b.GetKeyId()...)
	m = append(m, byte(len(b.GetSignature())))
	m = append(m, b.GetSignature()...)
	return sha256.Sum256(m)
}
