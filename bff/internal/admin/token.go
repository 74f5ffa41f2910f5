package admin

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	tokenFile   = "admin.token"
	tokenPrefix = "oba_"
	tokenBytes  = 32
	tokenMost   = 128
)

// Token is what whoever runs the edge shows to it. Its text goes nowhere but
// into its file and its header.
type Token struct{ text string }

// Format keeps every verb of fmt from printing the token.
func (Token) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("admin.Token{withheld}")) }

// OpenToken reads the token of a data directory, or makes it, for this user
// alone, if it is not there.
func OpenToken(dir string) (Token, error) {
	path := filepath.Join(dir, tokenFile)
	t, err := ReadToken(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return t, err
	}
	secret := make([]byte, tokenBytes)
	rand.Read(secret)
	text := tokenPrefix + base64.RawURLEncoding.EncodeToString(secret)
	f, err := os.CreateTemp(dir, "."+tokenFile+".*") // 0600 from the start
	if err != nil {
		return Token{}, err
	}
	defer os.Remove(f.Name()) // it is gone if all went well
	_, err = f.WriteString(text + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return Token{}, fmt.Errorf("%s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return Token{}, err
	}
	return Token{text}, nil
}

// ReadToken reads the token of a data directory. One that others could have
// read is refused.
func ReadToken(dir string) (Token, error) {
	path := filepath.Join(dir, tokenFile)
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return Token{}, err
	case !info.Mode().IsRegular():
		return Token{}, fmt.Errorf("%s: is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return Token{}, fmt.Errorf("%s: its mode %04o lets others than its owner in: remove it, and restart the edge to have a new one", path, info.Mode().Perm())
	case info.Size() > tokenMost:
		return Token{}, fmt.Errorf("%s: is not a token: remove it, and restart the edge to have a new one", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Token{}, err
	}
	text := strings.TrimSpace(string(data))
	if raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(text, tokenPrefix)); err != nil || len(raw) != tokenBytes {
		return Token{}, fmt.Errorf("%s: is not a token: remove it, and restart the edge to have a new one", path)
	}
	return Token{text}, nil
}
