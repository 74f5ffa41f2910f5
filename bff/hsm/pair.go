package hsm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/ThalesGroup/crypto11"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// label marks our keys in a token that may hold others.
const label = "onbehalf-authority"

// pair is a key as one login sees it.
type pair struct {
	private crypto11.Signer
	public  *principal.PublicKey
}

// pairs returns our keys. What an object says of itself is not believed: its id
// is that of its public half.
func (c *conn) pairs() ([]pair, error) {
	found, err := c.token.FindKeyPairs(nil, []byte(label))
	if err == nil {
		err = c.check() // or some may have been hidden
	}
	if err != nil {
		return nil, err
	}
	pairs := make([]pair, 0, len(found))
	for _, private := range found {
		ec, ok := private.Public().(*ecdsa.PublicKey)
		if !ok {
			continue
		}
		if public, err := principal.NewPublicKey(ec); err == nil {
			pairs = append(pairs, pair{private, public})
		}
	}
	return pairs, nil
}

// list returns the ids of our keys.
func (c *conn) list() ([]string, error) {
	c.objects.Lock()
	defer c.objects.Unlock()
	pairs, err := c.pairs()
	ids := make([]string, 0, len(pairs))
	for _, p := range pairs {
		ids = append(ids, p.public.ID())
	}
	return ids, err
}

// find returns the key, or errMissing.
func (c *conn) find(id string) (pair, error) {
	c.objects.Lock()
	defer c.objects.Unlock()
	return c.lookUp(id)
}

func (c *conn) remove(id string) error {
	c.objects.Lock()
	defer c.objects.Unlock()
	p, err := c.lookUp(id)
	switch {
	case errors.Is(err, errMissing):
		return nil
	case err != nil:
		return err
	}
	return p.private.Delete()
}

// lookUp is find. A key of that name that cannot be used is another error than
// errMissing: nobody should think that there is none.
func (c *conn) lookUp(id string) (pair, error) {
	pairs, err := c.pairs()
	if err != nil {
		return pair{}, err
	}
	for _, p := range pairs {
		if p.public.ID() == id {
			return p, c.vet(p)
		}
	}
	if id == "" { // any, below
		return pair{}, errMissing
	}
	named, err := c.token.FindPrivateKeys([]byte(id), []byte(label))
	if err != nil {
		return pair{}, err
	}
	if len(named) > 0 {
		return pair{}, errors.New("it is damaged: its public half was deleted or exchanged")
	}
	if err := c.check(); err != nil {
		return pair{}, err
	}
	return pair{}, errMissing
}

// vet returns an error unless both halves belong together and the private one
// cannot leave the token. Without the PIN others can place a public half of
// their own, with which they would become the issuer.
func (c *conn) vet(p pair) error {
	public, ok := p.public.Crypto().(*ecdsa.PublicKey)
	if !ok {
		return errors.New("it is not on P-256")
	}
	digest := sha256.Sum256([]byte("onbehalf: do the halves of this key belong together?"))
	signature, err := p.private.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return err
	}
	if !ecdsa.VerifyASN1(public, digest[:], signature) {
		return errors.New("it is damaged: its halves do not belong together")
	}
	got, err := c.token.GetAttributes(p.private, []crypto11.AttributeType{crypto11.CkaSensitive, crypto11.CkaExtractable})
	if err != nil {
		return err
	}
	if !isSet(got[crypto11.CkaSensitive]) || isSet(got[crypto11.CkaExtractable]) {
		return errors.New("its private half could be read out of the token; let the vault make keys, and delete this one")
	}
	return nil
}

// isSet reads a CK_BBOOL.
func isSet(a *crypto11.Attribute) bool { return a != nil && len(a.Value) == 1 && a.Value[0] != 0 }

// create makes a key. Its id is known only when it is made, so it gets a random
// one first.
func (c *conn) create() (pair, error) {
	c.objects.Lock()
	defer c.objects.Unlock()
	temporary := make([]byte, 16)
	rand.Read(temporary)
	public, private, err := templates(temporary)
	if err != nil {
		return pair{}, err
	}
	made, err := c.token.GenerateECDSAKeyPairWithAttributes(public, private, elliptic.P256())
	if err != nil {
		return pair{}, fmt.Errorf("the token makes no key on P-256: %w", err)
	}
	p, err := c.finish(made, temporary)
	if err != nil {
		return pair{}, errors.Join(err, made.Delete())
	}
	return p, nil
}

func (c *conn) finish(made crypto11.Signer, temporary []byte) (pair, error) {
	public, err := principal.NewPublicKey(made.Public())
	if err != nil {
		return pair{}, err
	}
	p := pair{made, public}
	if err := c.vet(p); err != nil {
		return pair{}, err
	}
	if err := c.rename(temporary, []byte(public.ID())); err != nil {
		return pair{}, fmt.Errorf("the token does not let the key be named: %w", err)
	}
	return p, nil
}

// templates leave little to what tokens do by default.
func templates(id []byte) (public, private crypto11.AttributeSet, err error) {
	if public, err = crypto11.NewAttributeSetWithIDAndLabel(id, []byte(label)); err != nil {
		return nil, nil, err
	}
	private = public.Copy()
	for attribute, value := range map[crypto11.AttributeType]bool{
		crypto11.CkaToken:       true,
		crypto11.CkaPrivate:     true,
		crypto11.CkaSensitive:   true,
		crypto11.CkaExtractable: false,
		crypto11.CkaSign:        true,
		crypto11.CkaDerive:      false,
	} {
		if err := private.Set(attribute, value); err != nil {
			return nil, nil, err
		}
	}
	return public, private, nil
}
