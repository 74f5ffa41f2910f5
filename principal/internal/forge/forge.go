// Package forge builds headers for tests, genuine ones and ones that no signer
// would make. It follows the words of the format with the generated types and
// shares no code with the packages under test.
package forge

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"slices"

	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// Key is a private key with the name in which it signs.
type Key struct {
	principal.KeyRef
	Private crypto.Signer
}

// Ed25519Key returns a key that depends on its names only.
func Ed25519Key(role principal.KeyRole, owner, id string) Key {
	seed := sha256.Sum256([]byte("test key " + role.String() + " " + owner + " " + id))
	return Key{KeyRef: principal.KeyRef{Role: role, Owner: owner, ID: id}, Private: ed25519.NewKeyFromSeed(seed[:])}
}

// P256Key returns a key that depends on its names only.
func P256Key(role principal.KeyRole, owner, id string) Key {
	seed := sha256.Sum256([]byte("test key " + role.String() + " " + owner + " " + id))
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	must(err)
	return Key{KeyRef: principal.KeyRef{Role: role, Owner: owner, ID: id}, Private: private}
}

// Public returns the record of the key for a key set.
func (k Key) Public() principal.Key {
	public, err := principal.NewPublicKey(k.Private.Public())
	must(err)
	return principal.Key{KeyRef: k.KeyRef, Public: public}
}

// Sign signs message as the format wants it, with the same result each time.
func (k Key) Sign(message []byte) []byte {
	if private, ok := k.Private.(ed25519.PrivateKey); ok {
		return ed25519.Sign(private, message)
	}
	digest := sha256.Sum256(message)
	der, err := k.Private.Sign(nil, digest[:], crypto.SHA256)
	must(err)
	var sig struct{ R, S *big.Int }
	_, err = asn1.Unmarshal(der, &sig)
	must(err)
	n := elliptic.P256().Params().N
	if other := new(big.Int).Sub(n, sig.S); other.Cmp(sig.S) < 0 {
		sig.S = other
	}
	out := make([]byte, 64)
	sig.R.FillBytes(out[:32])
	sig.S.FillBytes(out[32:])
	return out
}

// Chain is a list of signed blocks. Its methods return longer copies.
type Chain []*principalv1.Block

// Transcript is the hash of all blocks of c.
func (c Chain) Transcript() [32]byte {
	var t [32]byte
	for _, b := range c {
		h := sha256.New()
		h.Write(t[:])
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b.GetPayload()))))
		h.Write(b.GetPayload())
		h.Write([]byte{byte(len(b.GetKeyId()))})
		h.Write([]byte(b.GetKeyId()))
		h.Write([]byte{byte(len(b.GetSignature()))})
		h.Write(b.GetSignature())
		t = [32]byte(h.Sum(nil))
	}
	return t
}

// Append appends a block with this payload: the authority first, links after.
func (c Chain) Append(key Key, payload []byte) Chain {
	tag := "onbehalf/v1 link\x00"
	if len(c) == 0 {
		tag = "onbehalf/v1 authority\x00"
	}
	t := c.Transcript()
	message := slices.Concat([]byte(tag), t[:], []byte{byte(len(key.ID))}, []byte(key.ID), payload)
	return append(slices.Clip(c), &principalv1.Block{Payload: payload, KeyId: key.ID, Signature: key.Sign(message)})
}

// Header returns the header with the opening of the last block, or without one
// if it is nil.
func (c Chain) Header(opening []byte) string {
	return string(Marshal(&principalv1.SignedPrincipal{Authority: c[0], Links: c[1:], TailOpening: opening}))
}

// Opening returns 16 bytes that depend on name only.
func Opening(name string) []byte {
	sum := sha256.Sum256([]byte("opening " + name))
	return sum[:16]
}

// Commitment returns what a block carries for an opening.
func Commitment(opening []byte) []byte {
	sum := sha256.Sum256(slices.Concat([]byte("onbehalf/v1 opening\x00"), opening))
	return sum[:16]
}

// Marshal returns m's canonical encoding.
func Marshal(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	must(err)
	return b
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
