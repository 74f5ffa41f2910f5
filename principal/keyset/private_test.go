//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package keyset_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
)

func pemOf(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func equal(a, b crypto.Signer) bool {
	public, ok := a.Public().(interface{ Equal(x crypto.PublicKey) bool })
	return ok && public.Equal(b.Public())
}

func TestCreatePrivateKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "authority.pem")
	key, err := keyset.CreatePrivateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("its mode is %v", info.Mode())
	}
	read, err := keyset.ReadPrivateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if !key.Equal(read) {
		t.Error("another key is read than was written")
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	if data, _ := os.ReadFile(path); !bytes.HasPrefix(data, []byte("Key-Id: "+record(t, principal.RoleLink, "orders", "k1", key).Public.ID()+"\n-----BEGIN PRIVATE KEY-----\n")) {
		t.Error("the file does not name its key")
	}
}

func TestReadPrivateKeyFromElsewhere(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]crypto.Signer{"Ed25519": edKey("a"), "P-256": ecKey(t, "a")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, mode := range []fs.FileMode{0o600, 0o400} {
				read, err := keyset.ReadPrivateKey(write(t, append(pemOf(t, key), "\n \n"...), mode))
				if err != nil {
					t.Fatal(err)
				}
				if !equal(key, read) {
					t.Error("another key is read")
				}
			}
		})
	}
}

func TestG08CreatePrivateKeyLeavesWhatIsThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, create := range map[string]func(path string) error{
		"a damaged file":  func(path string) error { return os.WriteFile(path, []byte("-----BEGIN"), 0o600) },
		"an empty file":   func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"a dangling link": func(path string) error { return os.Symlink(filepath.Join(dir, "nowhere"), path) },
		"a directory":     func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		path := filepath.Join(dir, name)
		if err := create(path); err != nil {
			t.Fatal(err)
		}
		before, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		key, err := keyset.CreatePrivateKey(path)
		if !errors.Is(err, fs.ErrExist) || key != nil {
			t.Errorf("%s: %v", name, err)
		}
		after, err := os.Lstat(path)
		if err != nil || !os.SameFile(before, after) || before.Size() != after.Size() || !before.ModTime().Equal(after.ModTime()) {
			t.Errorf("%s was changed: %v", name, err)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 4 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	if _, err := keyset.CreatePrivateKey(filepath.Join(dir, "nowhere", "key.pem")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

func TestG08FailedSyncLeavesNothing(t *testing.T) {
	t.Parallel()
	for failing, wantCalls := range map[string]int{"file": 1, "directory": 2} {
		t.Run(failing, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "key.pem")
			calls := 0
			err := keyset.WriteNew(path, []byte("secret"), func(f *os.File) error {
				info, err := f.Stat()
				if err != nil {
					t.Fatal(err)
				}
				if !info.IsDir() && info.Mode() != 0o600 {
					t.Errorf("on its way the mode is %v", info.Mode())
				}
				if calls++; calls == wantCalls {
					return syscall.EIO
				}
				return nil
			})
			if !errors.Is(err, syscall.EIO) || calls != wantCalls {
				t.Errorf("after %d calls: %v", calls, err)
			}
			if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
				t.Errorf("left behind: %v, %v", files, err)
			}
		})
	}
}

func TestG08ReadPrivateKeyRefusesFiles(t *testing.T) {
	t.Parallel()
	good := pemOf(t, edKey("a"))
	modes := map[fs.FileMode]string{}
	for _, mode := range []fs.FileMode{0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o660, 0o666, 0o777, 0o440} {
		modes[mode] = fmt.Sprintf("%04o", mode)
	}
	for mode, text := range modes {
		path := write(t, good, mode)
		if _, err := keyset.ReadPrivateKey(path); err == nil || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %s: %v", text, err)
		}
	}

	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, tt := range map[string]struct {
		create func(path string) error
		want   string
	}{
		"symlink":          {func(path string) error { return os.Symlink(write(t, good, 0o600), path) }, "symbolic link"},
		"dangling symlink": {func(path string) error { return os.Symlink(at("nowhere"), path) }, "symbolic link"},
		"directory":        {func(path string) error { return os.Mkdir(path, 0o700) }, "not a regular file"},
		"pipe":             {func(path string) error { return syscall.Mkfifo(path, 0o600) }, "not a regular file"},
		"nothing":          {func(string) error { return nil }, "no such file"},
	} {
		if err := tt.create(at(name)); err != nil {
			t.Fatal(err)
		}
		key, err := keyset.ReadPrivateKey(at(name))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), at(name)) || key != nil {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestG08ReadPrivateKeyRefusesAnotherOwner(t *testing.T) {
	t.Parallel()
	path := write(t, pemOf(t, edKey("a")), 0o600)
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	if err := os.Chown(path, 12345, -1); err != nil {
		t.Fatal(err)
	}
	_, err := keyset.ReadPrivateKey(path)
	if err == nil || !strings.Contains(err.Error(), "belongs to user 12345") || !strings.Contains(err.Error(), "chown 0 "+path) {
		t.Error(err)
	}
}

func TestG08ReadPrivateKeyRefusesContent(t *testing.T) {
	t.Parallel()
	good := string(pemOf(t, edKey("a")))
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ecKey(t, "a"))
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(edKey("a").Public())
	if err != nil {
		t.Fatal(err)
	}
	id := record(t, principal.RoleLink, "orders", "k1", edKey("b")).Public.ID()
	for name, tt := range map[string]struct{ data, want string }{
		"empty":                   {"", "does not begin with"},
		"only zeros":              {strings.Repeat("\x00", 200), "does not begin with"},
		"cut off":                 {good[:len(good)-10], "damaged"},
		"cut off in the middle":   {good[:len(good)/2], "damaged"},
		"text before":             {"# my key\n" + good, "does not begin with"},
		"text after":              {good + "# my key\n", "damaged or followed"},
		"two keys":                {good + good, "more than one PEM block"},
		"a damaged and a good":    {strings.Replace(good, "MC4C", "!!!!", 1) + good, "more than one PEM block"},
		"a certificate after it":  {good + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "more than one PEM block"},
		"with headers":            {strings.Replace(good, "-----\n", "-----\nProc-Type: 4,ENCRYPTED\n\n", 1), "damaged"},
		"encrypted":               {strings.ReplaceAll(good, "PRIVATE", "ENCRYPTED PRIVATE"), "openssl pkcs8"},
		"SEC 1":                   {string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})), "openssl pkcs8"},
		"a public key":            {string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})), "does not begin with"},
		"a public key as private": {string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: spki})), "not a PKCS#8 key"},
		"no DER":                  {string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})), "not a PKCS#8 key"},
		"P-384":                   {string(pemOf(t, p384)), "P-256"},
		"RSA":                     {string(pemOf(t, rsaKey)), "use Ed25519 or ECDSA P-256"},
		"X25519":                  {string(pemOf(t, x25519)), "use Ed25519 or ECDSA P-256"},
		"another key's id":        {"Key-Id: " + id + "\n" + good, "damaged"},
		"a path of an id":         {"Key-Id: ../../etc/passwd\n" + good, "damaged"},
		"an empty id":             {"Key-Id: \n" + good, "damaged"},
		"only an id":              {"Key-Id: " + id, "does not begin with"},
		"larger than a key":       {good + strings.Repeat("\n", 16<<10), "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, []byte(tt.data), 0o600)
			key, err := keyset.ReadPrivateKey(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) || key != nil {
				t.Fatalf("ReadPrivateKey: %v; want %q", err, tt.want)
			}
			if s := err.Error(); strings.Contains(s, "passwd") || strings.Contains(s, "MC4C") || strings.Contains(s, "\n") {
				t.Errorf("not one line without content: %s", s)
			}
		})
	}
}

// Whatever bit of a file is flipped, it is refused or still the same key.
func TestG08FlippedBits(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key.pem")
	key, err := keyset.CreatePrivateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	refused := 0
	for i := range len(good) * 8 {
		flipped := bytes.Clone(good)
		flipped[i/8] ^= 1 << (i % 8)
		if _, err := f.WriteAt(flipped, 0); err != nil {
			t.Fatal(err)
		}
		read, err := keyset.ReadPrivateKey(path)
		if err != nil {
			refused++
		} else if !key.Equal(read) {
			t.Fatalf("bit %d: another key is read", i)
		}
	}
	if refused < len(good)*7 {
		t.Errorf("only %d of %d damaged files are refused", refused, len(good)*8)
	}
}
