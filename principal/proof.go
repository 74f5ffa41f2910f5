package principal

import (
	"bytes"
	"crypto"
	"errors"

	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// SignProof signs a message that is not a block, such as the one with which a
// service shows that it has its link key: 64 bytes, made as signatures of blocks
// are (Ed25519, or ECDSA P-256 over SHA-256 with the lower s).
//
// One key signs blocks and proofs, so a message must never be able to pass for
// the other: it begins with a tag of its own that ends in NUL, such as
// "onbehalf/v1 enroll\0". One with the tag of a block is refused.
func SignProof(key crypto.Signer, message []byte) ([]byte, error) {
	if !isProof(message) {
		return nil, errors.New("principal: a proof begins with a tag of its own that ends in NUL")
	}
	signer, err := newBlockSigner(key, "")
	if err != nil {
		return nil, err
	}
	return signer.sign(message)
}

// VerifyProof reports whether signature is what [SignProof] makes of message
// with the private half of k.
func (k *PublicKey) VerifyProof(message, signature []byte) bool {
	return isProof(message) && len(signature) == wire.SignatureLen && k.verify(message, signature) == 0
}

func isProof(message []byte) bool {
	tag, _, found := bytes.Cut(message, []byte{0})
	switch string(tag) {
	case "onbehalf/v1 authority", "onbehalf/v1 link", "onbehalf/v1 opening":
		return false
	default:
		return found && bytes.HasPrefix(tag, []byte("onbehalf/v1 "))
	}
}
