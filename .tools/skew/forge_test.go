package skew_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
)

// forger has the keys that an attacker has not: the edge's, and that of the
// service gateway. So each of its headers is wrong in one thing only.
type forger struct {
	t         *testing.T
	authority crypto.Signer
	signer    *principal.Signer
	gateway   ed25519.PrivateKey
	gatewayID string
	sequence  uint64 // of the feed
}

func newForger(p *platform) *forger {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "data", "authority-*.pem"))
	if err != nil || len(files) != 1 { // before a rotation
		p.t.Fatal(files, err)
	}
	f := &forger{t: p.t, gateway: p.gateway}
	if f.authority, err = keyset.ReadPrivateKey(files[0]); err != nil {
		p.t.Fatal(err)
	}
	if f.signer, err = principal.NewSigner(issuer, f.authority, ""); err != nil {
		p.t.Fatal(err)
	}
	public, err := principal.NewPublicKey(p.gateway.Public())
	if err != nil {
		p.t.Fatal(err)
	}
	f.gatewayID = public.ID()
	made := new(principalv1.Principal)
	header := captured(p.t, p.ask("capture", "/orders", p.provider.token(p.t, nil)))
	if err := proto.Unmarshal(f.parse(header).GetAuthority().GetPayload(), made); err != nil {
		p.t.Fatal(err)
	}
	f.sequence = made.GetRevocationSequence()
	return f
}

// sign returns the header of a human for an audience.
func (f *forger) sign(audience string, change func(*principalv1.Principal)) string {
	f.t.Helper()
	now := time.Now().Unix()
	p := &principalv1.Principal{
		Audience: audience, Presenter: "bff", MaxLinks: 6, IssuedAt: now, ExpiresAt: now + 300,
		Subject: &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: "alice"}},
		Scopes:  []string{"orders:read"}, RevocationSequence: f.sequence,
	}
	if change != nil {
		change(p)
	}
	header, err := f.signer.Sign(p)
	if err != nil {
		f.t.Fatal(err)
	}
	return header
}

// link has the gateway pass a header on as it may, or with one that is changed.
func (f *forger) link(header, to string, change func(*principalv1.Link)) string {
	f.t.Helper()
	h := f.parse(header)
	opening := make([]byte, 16)
	_, _ = rand.Read(opening)
	sum := sha256.Sum256(append([]byte("onbehalf/v1 opening\x00"), opening...))
	link := &principalv1.Link{Audience: to, ExpiresAt: time.Now().Unix() + 60, Commitment: sum[:16]}
	if change != nil {
		change(link)
	}
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(link)
	if err != nil {
		f.t.Fatal(err)
	}
	state := make([]byte, 32)
	for _, b := range append([]*principalv1.Block{h.GetAuthority()}, h.GetLinks()...) {
		state = next(state, b)
	}
	block := &principalv1.Block{Payload: payload, KeyId: f.gatewayID}
	block.Signature = ed25519.Sign(f.gateway, message("onbehalf/v1 link\x00", state, block))
	h.Links = append(h.Links, block)
	h.TailOpening = opening
	return f.write(h)
}

// message is what is signed of a block, see the package principal.
func message(tag string, state []byte, b *principalv1.Block) []byte {
	return slices.Concat([]byte(tag), state, []byte{byte(len(b.GetKeyId()))}, []byte(b.GetKeyId()), b.GetPayload())
}

func next(state []byte, b *principalv1.Block) []byte {
	size := binary.BigEndian.AppendUint32(nil, uint32(len(b.GetPayload())))
	sum := sha256.Sum256(slices.Concat(state, size, b.GetPayload(), []byte{byte(len(b.GetKeyId()))}, []byte(b.GetKeyId()),
		[]byte{byte(len(b.GetSignature()))}, b.GetSignature()))
	return sum[:]
}

func (f *forger) parse(header string) *principalv1.SignedPrincipal {
	f.t.Helper()
	h := new(principalv1.SignedPrincipal)
	if err := proto.Unmarshal([]byte(header), h); err != nil {
		f.t.Fatal(err)
	}
	return h
}

func (f *forger) write(h *principalv1.SignedPrincipal) string {
	f.t.Helper()
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(h)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(data)
}

// ofNext is a header as a later version of the format may have it: with a field
// that who does not know it must refuse, in the envelope or in what is signed.
func (f *forger) ofNext(audience string, signed bool) string {
	f.t.Helper()
	field := protowire.AppendVarint(protowire.AppendTag(nil, 1000, protowire.VarintType), 2)
	header := f.sign(audience, nil)
	if !signed {
		return header + string(field)
	}
	h := f.parse(header)
	b := h.GetAuthority()
	b.Payload = append(b.Payload, field...)
	b.Signature = ed25519.Sign(f.authority.(ed25519.PrivateKey), message("onbehalf/v1 authority\x00", make([]byte, 32), b))
	return f.write(h)
}

// captured returns a header that the edge has made.
func captured(t *testing.T, a answer) string {
	t.Helper()
	data, err := base64.RawStdEncoding.DecodeString(a.header.Get(shipped))
	if err != nil || len(data) == 0 {
		t.Fatal("no header in: ", a)
	}
	return string(data)
}

// keyOf returns the id of the key that signed a header of the edge.
func keyOf(t *testing.T, header string) string {
	t.Helper()
	inspected, err := principal.Inspect(header)
	if err != nil {
		t.Fatal(err)
	}
	return inspected.Blocks[0].Key.ID
}

// principalOf returns the id of the principal in a header.
func principalOf(t *testing.T, header string) string {
	t.Helper()
	inspected, err := principal.Inspect(header)
	if err != nil {
		t.Fatal(err)
	}
	return principal.ID(inspected.Stated.GetId()).String()
}
