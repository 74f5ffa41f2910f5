package principal

import (
	"context"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// Inspection is what a header says, read and not verified: anybody can have
// written it. It is for tools that show a header to people; a program that
// decides by it can be told anything by anybody. It is no [Principal], cannot be
// turned into one, and nothing that needs a principal takes it.
type Inspection struct {
	// Stated is what the first block says. As on the wire, an identity names its
	// issuer only where that is another one than the principal's.
	Stated *principalv1.Principal
	// Links are the links, in the order in which they were appended. Whether they
	// only narrow has not been looked at.
	Links []*principalv1.Link
	// Blocks has one element for the first block, and one for each link.
	Blocks []InspectedBlock

	env *wire.Envelope // behind a pointer that fmt does not follow
}

// InspectedBlock is what the header says around a payload.
type InspectedBlock struct {
	// Key is the one that must have signed the block. A link's owner is not
	// written down: it is the audience of the block before.
	Key KeyRef
	// Bytes is how much of the decoded header the block takes, and Payload how
	// much of that is what was signed.
	Bytes, Payload int
}

// Inspect reads a header, decoded, and verifies nothing: no key, signature, time,
// audience or revocation. It accepts what a [Verifier] does not call malformed,
// and needs no key. The error is a [*Denial] whose reason is size, malformed,
// unsupported or, for a time that is absent or negative, time.
func Inspect(header string) (*Inspection, error) {
	i := &Inspection{env: new(wire.Envelope)}
	if err := wire.ParseEnvelope(header, i.env); err != nil {
		return nil, denyWire(err)
	}
	var stated wire.Principal
	if err := wire.ParsePrincipal(i.env.Authority.Payload, &stated); err != nil {
		return nil, denyWire(err)
	}
	i.Stated = new(principalv1.Principal)
	if err := proto.Unmarshal([]byte(i.env.Authority.Payload), i.Stated); err != nil {
		return nil, denyWire(err)
	}
	i.addBlock(RoleAuthority, stated.Issuer, i.env.Authority, wire.AppendHead)
	signer := stated.Audience
	for _, block := range i.env.Links() {
		var link wire.Link
		if err := wire.ParseLink(block.Payload, &link); err != nil {
			return nil, denyWire(err)
		}
		m := new(principalv1.Link)
		if err := proto.Unmarshal([]byte(block.Payload), m); err != nil {
			return nil, denyWire(err)
		}
		i.Links = append(i.Links, m)
		i.addBlock(RoleLink, signer, block, wire.AppendLink)
		signer = link.Audience
	}
	if err := wire.CheckMode(i.env, &stated); err != nil {
		return nil, denyWire(err)
	}
	return i, nil
}

func (i *Inspection) addBlock(role KeyRole, owner string, b wire.Block, encode func([]byte, wire.Block) []byte) {
	i.Blocks = append(i.Blocks, InspectedBlock{
		Key:     KeyRef{Role: role, Owner: owner, ID: b.KeyID},
		Bytes:   len(encode(nil, b)),
		Payload: len(b.Payload),
	})
}

// Signatures says of each block in [Inspection.Blocks] why its signature does not
// stand, or 0 if it does: unknown_key, signature, malformed or no_keys. That all
// stand says who wrote the header, not that it may be used: for whom, for how
// long, and whether the links only narrow, a [Verifier] decides. The windows of
// keys are not looked at.
func (i *Inspection) Signatures(ctx context.Context, keys KeySet) []Reason {
	found := make([]Reason, len(i.Blocks))
	var before wire.Transcript
	for n := range i.Blocks {
		block := i.env.Block(n)
		message := before.AppendSigned(nil, n > 0, block.KeyID, block.Payload)
		before = before.Extend(nil, block)
		ref := i.Blocks[n].Key
		key, err := keys.Find(ctx, ref)
		switch {
		case err != nil:
			found[n] = ReasonNoKeys
		case key == nil || key.Public == nil || key.KeyRef != ref:
			found[n] = ReasonUnknownKey
		default:
			found[n] = key.Public.verify(message, []byte(block.Signature))
		}
	}
	return found
}

// Format keeps every verb of fmt from printing the header.
func (*Inspection) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "principal.Inspection{not verified}")
}
