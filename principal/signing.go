package principal

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// blockSigner makes the signatures of one key, in memory or in an HSM.
type blockSigner struct {
	id     string
	signer crypto.Signer
	public *PublicKey
}

func newBlockSigner(key crypto.Signer, id string) (*blockSigner, error) {
	if key == nil {
		return nil, errors.New("principal: a signing key is needed")
	}
	public, err := NewPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	if id == "" {
		id = public.ID()
	}
	if !wire.IsKeyID(id) {
		return nil, fmt.Errorf("principal: key id %q: use 1 to 32 characters of [A-Za-z0-9_-]", id)
	}
	return &blockSigner{id: id, signer: key, public: public}, nil
}

// sign returns a signature of 64 bytes over message.
func (s *blockSigner) sign(message []byte) ([]byte, error) {
	if s.public.ed != nil {
		if key, ok := s.signer.(ed25519.PrivateKey); ok {
			return ed25519.Sign(key, message), nil
		}
		signature, err := s.signer.Sign(rand.Reader, message, crypto.Hash(0))
		if err != nil {
			return nil, fmt.Errorf("principal: signing: %w", err)
		}
		if len(signature) != wire.SignatureLen {
			return nil, errors.New("principal: signing: the key returned a signature of a wrong length")
		}
		return signature, nil
	}
	digest := sha256.Sum256(message)
	der, err := s.signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("principal: signing: %w", err)
	}
	return fixedP256(der)
}

// fixedP256 turns a DER signature into r and s of 32 bytes each, with the lower
// of the two values of s.
func fixedP256(der []byte) ([]byte, error) {
	var sig struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &sig); err != nil || len(rest) > 0 {
		return nil, errors.New("principal: signing: the key returned something else than a DER signature")
	}
	if sig.R.Sign() <= 0 || sig.R.Cmp(p256Order) >= 0 || sig.S.Sign() <= 0 || sig.S.Cmp(p256Order) >= 0 {
		return nil, errors.New("principal: signing: the key returned a signature out of range")
	}
	if sig.S.Cmp(p256HalfOrder) > 0 {
		sig.S.Sub(p256Order, sig.S)
	}
	out := make([]byte, wire.SignatureLen)
	sig.R.FillBytes(out[:32])
	sig.S.FillBytes(out[32:])
	return out, nil
}
