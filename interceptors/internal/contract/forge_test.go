package contract_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// forgeKey is a private key with the name in which it signs. What is built with
// it follows the words of the format and shares no code with the signer.
type forgeKey struct {
	principal.KeyRef

	private ed25519.PrivateKey
}

// newForgeKey returns a key that depends on its names only.
func newForgeKey(role principal.KeyRole, owner, id string) forgeKey {
	seed := sha256.Sum256([]byte("contract " + role.String() + " " + owner + " " + id))
	return forgeKey{principal.KeyRef{Role: role, Owner: owner, ID: id}, ed25519.NewKeyFromSeed(seed[:])}
}

func (k forgeKey) public() *principal.Key {
	public, err := principal.NewPublicKey(k.private.Public())
	if err != nil {
		panic(err)
	}
	return &principal.Key{KeyRef: k.KeyRef, Public: public}
}

// as returns the key under another id.
func (k forgeKey) as(id string) forgeKey {
	k.ID = id
	return k
}

// chain is a list of signed blocks. Its methods return other chains.
type chain []*principalv1.Block

func (c chain) transcript() [32]byte {
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

const (
	tagAuthority = "onbehalf/v1 authority\x00"
	tagLink      = "onbehalf/v1 link\x00"
)

// message is what a block at the end of c is signed over.
func (c chain) message(tag string, key forgeKey, payload []byte) []byte {
	t := c.transcript()
	return slices.Concat([]byte(tag), t[:], []byte{byte(len(key.ID))}, []byte(key.ID), payload)
}

// with appends a block: the authority first, links after.
func (c chain) with(key forgeKey, payload []byte) chain {
	tag := tagLink
	if len(c) == 0 {
		tag = tagAuthority
	}
	return c.signed(key, payload, ed25519.Sign(key.private, c.message(tag, key, payload)))
}

func (c chain) signed(key forgeKey, payload, signature []byte) chain {
	return append(slices.Clip(c), &principalv1.Block{Payload: payload, KeyId: key.ID, Signature: signature})
}

// header returns the chain with the opening of that name, decoded; "" has none.
func (c chain) header(opening string) string {
	signed := &principalv1.SignedPrincipal{Authority: c[0], Links: c[1:]}
	if opening != "" {
		signed.TailOpening = openingOf(opening)
	}
	return string(canonical(signed))
}

func openingOf(name string) []byte {
	sum := sha256.Sum256([]byte("opening " + name))
	return sum[:16]
}

func commitmentTo(name string) []byte {
	sum := sha256.Sum256(slices.Concat([]byte("onbehalf/v1 opening\x00"), openingOf(name)))
	return sum[:16]
}

func canonical(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}
