package main

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/onbehalf-dev/onbehalf/principal"

	"github.com/onbehalf-dev/onbehalf/bff/internal/netaddr"
)

const (
	// devKeyLine is the first line of a file with a development key; the key's id
	// follows. An edge refuses a file that begins with it, and mint every other one.
	devKeyLine = "Onbehalf-Development-Key: "
	// devKeyPrefix is how the ids of development keys begin, in headers and in key
	// sets: whoever sees one knows what it is.
	devKeyPrefix = "dev-"

	maxDevKey = 16 << 10
)

var errNotDevKey = errors.New("it is not a development key, and mint uses no other: make one with onbehalf mint --new-key FILE")

// createDevKey makes a development key, in a new file that only its owner can
// read.
func createDevKey(path string) error {
	if err := outsideEdges(path); err != nil {
		return err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	id, err := devKeyID(public)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists, and no key is ever replaced; name another file", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(append([]byte(devKeyLine+id+"\n"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...))
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// devSigner returns a signer with the development key of a file. It refuses all
// that could be a key of production: a file that does not begin with
// [devKeyLine], one within the data directory of an edge, and an issuer whose
// name could be an edge's.
func devSigner(path, issuer string) (*principal.Signer, error) {
	if err := devIssuer(issuer); err != nil {
		return nil, err
	}
	key, id, err := readDevKey(path)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	return principal.NewSigner(issuer, key, id)
}

// readDevKey never puts what it read into an error.
func readDevKey(path string) (key crypto.Signer, id string, err error) {
	if err := outsideEdges(path); err != nil {
		return nil, "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, "", errors.Unwrap(err) // without the path
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, "", err
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return nil, "", fmt.Errorf("its mode %04o lets others than its owner in: run chmod 600 %s", info.Mode().Perm(), path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxDevKey))
	if err != nil {
		return nil, "", err
	}
	return parseDevKey(data)
}

func parseDevKey(data []byte) (key crypto.Signer, id string, err error) {
	marker, data, _ := bytes.Cut(data, []byte("\n"))
	id, marked := strings.CutPrefix(string(marker), devKeyLine)
	if !marked || !strings.HasPrefix(id, devKeyPrefix) {
		return nil, "", errNotDevKey
	}
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, "", errors.New("it is damaged; make another one with onbehalf mint --new-key FILE")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, "", errors.New("it is damaged; make another one with onbehalf mint --new-key FILE")
	}
	want, err := devKeyID(private.Public())
	if err != nil {
		return nil, "", err
	}
	if id != want { // also where the line was put before another key
		return nil, "", errNotDevKey
	}
	return private, id, nil
}

func devKeyID(key crypto.PublicKey) (string, error) {
	public, err := principal.NewPublicKey(key)
	if err != nil {
		return "", err
	}
	return devKeyPrefix + public.ID(), nil
}

// outsideEdges refuses a path within the data directory of an edge, whatever
// links lead there.
func outsideEdges(path string) error {
	dir, err := filepath.Abs(filepath.Dir(path))
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return err
	}
	if target, err := filepath.EvalSymlinks(path); err == nil { // the file itself may be a link
		if target, err = filepath.Abs(target); err != nil {
			return err
		}
		if err := outsideEdge(filepath.Dir(target)); err != nil {
			return err
		}
	}
	return outsideEdge(dir)
}

// outsideEdge knows a data directory by what every edge keeps there.
func outsideEdge(dir string) error {
	for {
		for _, name := range []string{"replica", "admin.token", "authority*.pem"} {
			found, err := filepath.Glob(filepath.Join(globEscape(dir), name))
			if err != nil {
				return err
			}
			for _, file := range found {
				if info, err := os.Lstat(file); err == nil && info.Mode().IsRegular() {
					return fmt.Errorf("it is in %s, the data directory of an edge; keys of development are kept elsewhere", dir)
				}
			}
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return nil
		}
		dir = parent
	}
}

func globEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s)
}

// devIssuer refuses a name that could be an edge's in production: a key set in
// which a development key stands under such a name would be believed by
// services that trust it.
func devIssuer(issuer string) error {
	if name, ok := strings.CutPrefix(issuer, "dev:"); ok && name != "" {
		return nil
	}
	host := issuer
	if u, err := url.Parse(issuer); err == nil && u.Host != "" {
		host = u.Hostname()
	}
	host = "." + strings.ToLower(strings.TrimSuffix(host, "."))
	for _, suffix := range []string{".localhost", ".test"} { // RFC 6761: nobody can own such a name
		if strings.HasSuffix(host, suffix) {
			return nil
		}
	}
	if netaddr.IsLoopback(host[1:]) {
		return nil
	}
	return fmt.Errorf("issuer %.64q could be an edge's; use one that begins with dev: or whose host is localhost or ends in .localhost or .test", issuer)
}
