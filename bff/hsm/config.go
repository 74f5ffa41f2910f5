package hsm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxLabel is how much of a label a token stores.
	maxLabel = 32
	// maxPIN is more than tokens take.
	maxPIN = 255
)

// Config says where the keys are. Exactly one of PINFile and PIN is needed.
type Config struct {
	// Module is the absolute path of the HSM's PKCS#11 library. It is loaded into
	// the process.
	Module string
	// TokenLabel names the token in it, in 1 to 32 bytes.
	TokenLabel string
	// PINFile is a file with the user's PIN, and perhaps one line end after it.
	// As private keys it has to belong to the process's user, with a mode such as
	// 0600, and is no symbolic link. It is read at each login.
	PINFile string
	// PIN returns the user's PIN at each login. It is a function so that nothing
	// which prints or compares a Config can show it; nor may its error.
	PIN func() (string, error) `json:"-"`
}

// check says what is missing or cannot be right, before anything is loaded.
func (c *Config) check() error {
	switch {
	case !filepath.IsAbs(c.Module):
		return fmt.Errorf("hsm: module %q: give the absolute path of the HSM's PKCS#11 library, such as /usr/lib/softhsm/libsofthsm2.so", c.Module)
	case c.TokenLabel == "" || len(c.TokenLabel) > maxLabel || strings.TrimSpace(c.TokenLabel) != c.TokenLabel:
		return fmt.Errorf("hsm: token label %q: give 1 to %d bytes, without space around them", c.TokenLabel, maxLabel)
	case (c.PINFile == "") == (c.PIN == nil):
		return errors.New("hsm: give either a file with the PIN or the PIN itself")
	}
	info, err := os.Stat(c.Module)
	if err != nil {
		return fmt.Errorf("hsm: the PKCS#11 library is not there; install it, or correct its path: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("hsm: module %s: is not a file; give the path of the PKCS#11 library itself", c.Module)
	}
	return nil
}

// pin returns the PIN. Its errors never show it.
func (c *Config) pin() (string, error) {
	from, read := "PIN", c.PIN
	if c.PINFile != "" {
		from, read = "PIN file "+c.PINFile, func() (string, error) { return readPIN(c.PINFile) }
	}
	pin, err := read()
	if err == nil {
		err = checkPIN(pin)
	}
	if err != nil {
		return "", fmt.Errorf("hsm: %s: %w", from, err)
	}
	return pin, nil
}

// checkPIN refuses what is a mistake in all likelihood. The token would count it
// as an attempt.
func checkPIN(pin string) error {
	switch {
	case pin == "":
		return errors.New("it is empty")
	case len(pin) > maxPIN:
		return fmt.Errorf("it is longer than %d bytes", maxPIN)
	case !utf8.ValidString(pin) || strings.ContainsFunc(pin, unicode.IsControl):
		return errors.New("it is not one line of text")
	case strings.TrimSpace(pin) != pin:
		return errors.New("it begins or ends with a space")
	}
	return nil
}
