package hsm

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// key signs with a key in the token. It outlives logins: it is looked up anew in
// each.
type key struct {
	vault  *Vault
	public *principal.PublicKey
	bound  atomic.Pointer[bound]
}

type bound struct {
	conn *conn
	pair pair
}

func newKey(v *Vault, c *conn, p pair) *key {
	k := &key{vault: v, public: p.public}
	k.bound.Store(&bound{c, p})
	return k
}

// Public implements [crypto.Signer].
func (k *key) Public() crypto.PublicKey { return k.public.Crypto() }

// Format keeps every verb of fmt from walking into the vault.
func (k *key) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "hsm.key{"+k.public.ID()+"}")
}

// Sign implements [crypto.Signer] for SHA-256 digests; the signature is DER. The
// token has its own randomness.
func (k *key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts == nil || opts.HashFunc() != crypto.SHA256 || len(digest) != sha256.Size {
		return nil, errors.New("hsm: only digests of SHA-256 are signed")
	}
	var signature []byte
	err := k.vault.do(func(c *conn) error {
		p, err := k.in(c)
		if err == nil {
			signature, err = p.private.Sign(rand.Reader, digest, opts)
		}
		if err != nil {
			k.bound.Store(nil)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("hsm: token %q: key %s: %w", k.vault.config.TokenLabel, k.public.ID(), err)
	}
	return signature, nil
}

func (k *key) in(c *conn) (pair, error) {
	if b := k.bound.Load(); b != nil && b.conn == c {
		return b.pair, nil
	}
	p, err := c.find(k.public.ID())
	if err != nil {
		return pair{}, err
	}
	if !p.public.Equal(k.public) { // ids are short
		return pair{}, errors.New("the token has another key with this id")
	}
	k.bound.Store(&bound{c, p})
	return p, nil
}
