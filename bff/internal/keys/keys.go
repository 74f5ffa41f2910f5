// Package keys keeps the key with which an edge signs principals, and publishes
// its public half, beside the link keys of services.
//
// [Open] makes the key when an edge starts for the first time. Afterwards it
// only reads: a key file that is damaged, or that others could read, stops the
// start. A new key in its place would lock every service out until it has
// fetched it, and would hide that the old one may be known to somebody.
package keys

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
)

const (
	// Path is where services find the public keys.
	Path = "/.well-known/onbehalf/jwks.json"

	fileName = "authority.pem"
	// maxAge is how long others may keep the document. Services ask again in the
	// same interval; a key is published long before it signs.
	maxAge = "public, max-age=300"
)

// Place says where the key is.
type Place struct {
	// File is a key that somebody else has made. Empty means the one in Dir.
	File string
	// Dir is the data directory.
	Dir string
}

// Path returns the name of the key's file.
func (p Place) Path() string {
	if p.File != "" {
		return p.File
	}
	return filepath.Join(p.Dir, fileName)
}

// Authority is the key of one issuer. It is safe for concurrent use.
type Authority struct {
	signer   *principal.Signer
	document []byte
}

// Open reads the key, or makes it if it is to be in the data directory and is
// not there. links are published besides.
func Open(issuer string, place Place, links ...principal.Key) (*Authority, error) {
	key, err := open(place)
	if err != nil {
		return nil, err
	}
	return newAuthority(issuer, key, links)
}

// Read is Open for a key that has to be there. It changes nothing.
func Read(issuer string, place Place, links ...principal.Key) (*Authority, error) {
	key, err := keyset.ReadPrivateKey(place.Path())
	if err != nil {
		return nil, err
	}
	return newAuthority(issuer, key, links)
}

func open(place Place) (crypto.Signer, error) {
	key, err := keyset.ReadPrivateKey(place.Path())
	if !errors.Is(err, fs.ErrNotExist) || place.File != "" {
		return key, err
	}
	if err := openDir(place.Dir); err != nil {
		return nil, err
	}
	// If another edge on this directory was faster, its key is the key.
	if _, err := keyset.CreatePrivateKey(place.Path()); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return keyset.ReadPrivateKey(place.Path())
}

// openDir makes the directory, for this user alone. One that is there may be
// shared with a group, as volumes of a cluster are: the key's file is checked
// on its own. Where everybody can write, anybody could take it away.
func openDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o002 != 0 {
		return fmt.Errorf("%s: its mode %04o lets everybody change it: run chmod 700 %s", dir, mode, dir)
	}
	return nil
}

func newAuthority(issuer string, key crypto.Signer, links []principal.Key) (*Authority, error) {
	signer, err := principal.NewSigner(issuer, key, "")
	if err != nil {
		return nil, err
	}
	document, err := keyset.Marshal(append([]principal.Key{signer.Key()}, links...))
	if err != nil {
		return nil, err
	}
	return &Authority{signer: signer, document: document}, nil
}

// ReadLinks reads the link keys of services, a JSON Web Key Set. A file that
// could add an authority would make whoever may write it an issuer, so it has
// link keys only.
func ReadLinks(path string) ([]principal.Key, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	links, skipped, err := keyset.Parse(data)
	if err = errors.Join(append(skipped, err)...); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, k := range links {
		if k.Role != principal.RoleLink {
			return nil, fmt.Errorf("%s: the key %s of %q is not a link key; publish only those of services", path, k.ID, k.Owner)
		}
	}
	return links, nil
}

// Signer signs in the name of the issuer.
func (a *Authority) Signer() *principal.Signer { return a.signer }

// JWKS returns the public keys as a JSON Web Key Set.
func (a *Authority) JWKS() []byte { return a.document }

// ServeHTTP answers with the JSON Web Key Set.
func (a *Authority) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", maxAge)
	_, _ = w.Write(a.document) // the client may have gone
}
