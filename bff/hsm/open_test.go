package hsm_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/onbehalf-dev/onbehalf/bff/hsm"
)

func TestOpenSaysWhatToChange(t *testing.T) {
	t.Parallel()
	tk := newToken(t)
	dir := t.TempDir()
	text := filepath.Join(dir, "text.so")
	if err := os.WriteFile(text, []byte("not a library"), 0o600); err != nil {
		t.Fatal(err)
	}
	libc := "libc.so.6"
	for name, tt := range map[string]struct {
		change func(*hsm.Config)
		want   string
	}{
		"nothing said":          {func(c *hsm.Config) { *c = hsm.Config{} }, "give the absolute path"},
		"a relative module":     {func(c *hsm.Config) { c.Module = libc }, "give the absolute path"},
		"no module":             {func(c *hsm.Config) { c.Module = filepath.Join(dir, "none.so") }, "install it, or correct its path"},
		"a directory as module": {func(c *hsm.Config) { c.Module = dir }, "is not a file"},
		"a text as module":      {func(c *hsm.Config) { c.Module = text }, "is not a PKCS#11 library"},
		"no label":              {func(c *hsm.Config) { c.TokenLabel = "" }, "token label"},
		"a long label":          {func(c *hsm.Config) { c.TokenLabel = strings.Repeat("x", 33) }, "1 to 32 bytes"},
		"a label with a space":  {func(c *hsm.Config) { c.TokenLabel += " " }, "without space around"},
		"no token":              {func(c *hsm.Config) { c.TokenLabel = "nowhere" }, `token "nowhere": module ` + module + " has none with this label"},
		"a part of a label":     {func(c *hsm.Config) { c.TokenLabel = "edg" }, "none with this label"},
		"two tokens":            {func(c *hsm.Config) { c.TokenLabel = "twins" }, "has 2 with this label"},
		"no PIN":                {func(c *hsm.Config) { c.PIN = nil }, "either a file with the PIN or the PIN itself"},
		"two PINs":              {func(c *hsm.Config) { c.PINFile = text }, "either a file with the PIN or the PIN itself"},
		"no PIN file":           {func(c *hsm.Config) { c.PIN, c.PINFile = nil, filepath.Join(dir, "pin") }, "no such file"},
		"no PIN from outside":   {func(c *hsm.Config) { c.PIN = func() (string, error) { return "", errors.New("sealed") } }, "sealed"},
		"a PIN too short":       {func(c *hsm.Config) { c.PIN = func() (string, error) { return "1", nil } }, "the PIN is wrong; it is not tried again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := tk.config()
			tt.change(&config)
			v, err := hsm.Open(config)
			if v != nil || err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "hsm: ") {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestWrongPIN(t *testing.T) {
	t.Parallel()
	tk := newToken(t)
	config, asked := tk.config(), 0
	config.PIN = func() (string, error) { asked++; return "wrong-" + goodPIN, nil }
	v, err := hsm.Open(config)
	if v != nil || err == nil {
		t.Fatal("opened with a wrong PIN")
	}
	for _, want := range []string{"the PIN is wrong", "CKR_PIN_INCORRECT", tk.label} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if strings.Contains(err.Error(), goodPIN) {
		t.Errorf("Z01: the error shows the PIN: %v", err)
	}
	if asked != 1 {
		t.Errorf("asked for the PIN %d times", asked)
	}
	create(t, tk.open(t)) // one wrong PIN has locked nothing
}

// Whoever starts again and again with a wrong PIN must not lock the token.
func TestNoPINIsSentOnTheLastTry(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		flags uint
		want  string
	}{
		"fresh":          {0, ""},
		"initialized":    {pkcs11.CKF_TOKEN_INITIALIZED | pkcs11.CKF_USER_PIN_INITIALIZED | pkcs11.CKF_LOGIN_REQUIRED, ""},
		"some were bad":  {pkcs11.CKF_USER_PIN_COUNT_LOW, ""},
		"the last try":   {pkcs11.CKF_USER_PIN_COUNT_LOW | pkcs11.CKF_USER_PIN_FINAL_TRY, "none was sent"},
		"locked":         {pkcs11.CKF_USER_PIN_LOCKED, "the PIN is locked"},
		"an officer's":   {pkcs11.CKF_SO_PIN_FINAL_TRY | pkcs11.CKF_SO_PIN_LOCKED, ""},
		"locked for all": {pkcs11.CKF_SO_PIN_LOCKED | pkcs11.CKF_USER_PIN_LOCKED, "the PIN is locked"},
	} {
		err := hsm.MayLogIn(tt.flags)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestPINFile(t *testing.T) {
	t.Parallel()
	tk := newToken(t)
	write := func(text string, mode fs.FileMode) func(path string) error {
		return func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode))
		}
	}
	for name, tt := range map[string]struct {
		create func(path string) error
		want   string
	}{
		"a line":           {write(goodPIN+"\n", 0o600), ""},
		"no line end":      {write(goodPIN, 0o400), ""},
		"a DOS line":       {write(goodPIN+"\r\n", 0o600), ""},
		"for the group":    {write(goodPIN, 0o640), "chmod 600"},
		"for everybody":    {write(goodPIN, 0o644), "chmod 600"},
		"writable":         {write(goodPIN, 0o602), "chmod 600"},
		"empty":            {write("", 0o600), "it is empty"},
		"an empty line":    {write("\n", 0o600), "it is empty"},
		"two lines":        {write(goodPIN+"\n"+goodPIN+"\n", 0o600), "not one line of text"},
		"an empty line on": {write(goodPIN+"\n\n", 0o600), "not one line of text"},
		"a NUL":            {write(goodPIN+"\x00", 0o600), "not one line of text"},
		"not UTF-8":        {write(goodPIN+"\xff", 0o600), "not one line of text"},
		"a space":          {write(goodPIN+" \n", 0o600), "begins or ends with a space"},
		"256 bytes":        {write(strings.Repeat("1", 256)+"\n", 0o600), "longer than 255"},
		"a megabyte":       {write(strings.Repeat("1", 1<<20), 0o600), "longer than 255"},
		"a directory":      {func(path string) error { return os.Mkdir(path, 0o700) }, "not a regular file"},
		"a pipe":           {func(path string) error { return syscall.Mkfifo(path, 0o600) }, "not a regular file"},
		"a dangling link":  {func(path string) error { return os.Symlink("nowhere", path) }, "symbolic link"},
		"a link": {func(path string) error {
			return errors.Join(write(goodPIN, 0o600)(path+".target"), os.Symlink(path+".target", path))
		}, "symbolic link"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "pin")
			if err := tt.create(path); err != nil {
				t.Fatal(err)
			}
			config := tk.config()
			config.PIN, config.PINFile = nil, path
			v, err := hsm.Open(config)
			if err == nil {
				defer v.Close()
			}
			if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), goodPIN) {
				t.Errorf("Z01: the error shows the PIN: %v", err)
			}
		})
	}
}

func TestPINFileOfAnotherOwner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	path := filepath.Join(t.TempDir(), "pin")
	if err := errors.Join(os.WriteFile(path, []byte(goodPIN), 0o600), os.Chown(path, 12345, -1)); err != nil {
		t.Fatal(err)
	}
	_, err := hsm.Open(hsm.Config{Module: module, TokenLabel: newToken(t).label, PINFile: path})
	if err == nil || !strings.Contains(err.Error(), "belongs to user 12345") || !strings.Contains(err.Error(), "chown 0 "+path) {
		t.Error(err)
	}
}
