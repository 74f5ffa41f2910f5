package keyset

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/onbehalf-dev/onbehalf/principal"
)

const (
	pemType = "PRIVATE KEY"
	// keyIDLine comes before the block, where RFC 7468 lets a file explain
	// itself.
	keyIDLine = "Key-Id: "
	// maxPrivate is far more than one key takes.
	maxPrivate = 16 << 10
)

// ReadPrivateKey reads a private key: one PKCS#8 block in PEM, Ed25519 or ECDSA
// P-256. It refuses a file that is a symbolic link, belongs to another user
// than the process, or that anyone but its owner may read or write, and says
// what to change. It looks at the file that it has opened, so that exchanging
// it in between does not help.
//
// A file from [CreatePrivateKey] names its key's id, and a damaged one is
// refused. Without that line, as in a file from openssl genpkey, a flipped bit
// can turn an Ed25519 key into another valid one. It works on Unix only.
func ReadPrivateKey(path string) (crypto.Signer, error) {
	f, err := openPrivate(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := readUpTo(f, maxPrivate)
	if err != nil {
		return nil, fmt.Errorf("keyset: private key %s: %w", path, err)
	}
	key, err := parsePrivateKey(data)
	if err != nil {
		return nil, fmt.Errorf("keyset: private key %s: %w", path, err)
	}
	return key, nil
}

// parsePrivateKey never puts what it read into an error.
func parsePrivateKey(data []byte) (crypto.Signer, error) {
	id, named := bytes.CutPrefix(data, []byte(keyIDLine))
	if named {
		id, data, _ = bytes.Cut(id, []byte("\n"))
	}
	begin := []byte("-----BEGIN " + pemType + "-----")
	if !bytes.HasPrefix(data, begin) {
		return nil, errors.New("it does not begin with a PKCS#8 block in PEM; openssl pkcs8 -topk8 -nocrypt converts other formats")
	}
	// pem.Decode would pass over a damaged block and return the next one.
	if bytes.Count(data, []byte("-----BEGIN")) > 1 {
		return nil, errors.New("it holds more than one PEM block")
	}
	block, rest := pem.Decode(data)
	if block == nil || block.Type != pemType || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("its PEM block is damaged or followed by something else")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("its PEM block is not a PKCS#8 key that can be used; use Ed25519 or ECDSA P-256")
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot sign; use Ed25519 or ECDSA P-256", parsed)
	}
	public, err := principal.NewPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	if named && string(id) != public.ID() {
		return nil, errors.New("it is damaged: its key is not the one that its first line names")
	}
	return key, nil
}

// CreatePrivateKey makes an Ed25519 key and writes it to a new file, as
// [ReadPrivateKey] wants it. The file appears with all its content or not at
// all, is on disk when the function returns, and at no moment could anyone but
// its owner read it. A file that exists is left alone, also if it is damaged,
// and is an error that matches [io/fs.ErrExist]: who replaces a key decides that.
func CreatePrivateKey(path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("keyset: %w", err)
	}
	data, err := encodePrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := writeNew(path, data, (*os.File).Sync); err != nil {
		return nil, fmt.Errorf("keyset: private key not written: %w", err)
	}
	return key, nil
}

func encodePrivateKey(key crypto.Signer) ([]byte, error) {
	public, err := principal.NewPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("keyset: %w", err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})
	return append([]byte(keyIDLine+public.ID()+"\n"), block...), nil
}
