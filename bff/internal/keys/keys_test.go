package keys_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"

	"github.com/onbehalf-dev/onbehalf/bff/internal/keys"
)

const issuer = "https://edge.test"

func open(t *testing.T, place keys.Place) *keys.Authority {
	t.Helper()
	a, err := keys.Open(issuer, place)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestFirstStart(t *testing.T) {
	t.Parallel()
	place := keys.Place{Dir: filepath.Join(t.TempDir(), "a", "data")}
	if _, err := keys.Read(issuer, place); err == nil {
		t.Error("read before it was made")
	}
	first := open(t, place)
	for path, want := range map[string]os.FileMode{place.Dir: 0o700, place.Path(): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want %v", path, info.Mode(), err, want)
		}
	}
	entries, err := os.ReadDir(place.Dir)
	if err != nil || len(entries) != 1 {
		t.Error(entries, err)
	}
	if again := open(t, place); !again.Signer().Key().Public.Equal(first.Signer().Key().Public) {
		t.Error("another key after the second start")
	}
	if read, err := keys.Read(issuer, place); err != nil || !bytes.Equal(read.JWKS(), first.JWKS()) {
		t.Error(err)
	}
}

func TestConcurrentFirstStarts(t *testing.T) {
	t.Parallel()
	place := keys.Place{Dir: filepath.Join(t.TempDir(), "data")}
	all := make([]*keys.Authority, 8)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i] = open(t, place) })
	}
	wg.Wait()
	for _, a := range all {
		if !bytes.Equal(a.JWKS(), all[0].JWKS()) {
			t.Fatal("two keys")
		}
	}
}

// A data directory that cannot be written to is enough once the key is there.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	place := keys.Place{Dir: filepath.Join(t.TempDir(), "data")}
	open(t, place)
	if err := os.Chmod(place.Dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(place.Dir, 0o700) })
	open(t, place)
}

// G08: whatever happened to the file, it stops the start and is left as it is.
func TestDamagedKey(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(path string, data []byte) error{
		"empty":     func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
		"truncated": func(path string, data []byte) error { return os.WriteFile(path, data[:len(data)/2], 0o600) },
		"bit flipped": func(path string, data []byte) error {
			data[bytes.Index(data, []byte("MC4CAQ"))+30] ^= 1
			return os.WriteFile(path, data, 0o600)
		},
		"readable by others": func(path string, _ []byte) error { return os.Chmod(path, 0o644) },
		"dangling link": func(path string, _ []byte) error {
			return os.Rename(path, path+".old")
		},
		"directory": func(path string, _ []byte) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Mkdir(path, 0o700)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			place := keys.Place{Dir: filepath.Join(t.TempDir(), "data")}
			open(t, place)
			data, err := os.ReadFile(place.Path())
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(place.Path(), bytes.Clone(data)); err != nil {
				t.Fatal(err)
			}
			if name == "dangling link" {
				if err := os.Symlink(place.Path()+".gone", place.Path()); err != nil {
					t.Fatal(err)
				}
			}
			before, _ := os.ReadFile(place.Path())
			_, err = keys.Open(issuer, place)
			if err == nil {
				t.Fatal("started")
			}
			if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), place.Path()) {
				t.Errorf("not one line that names the file: %v", err)
			}
			if after, _ := os.ReadFile(place.Path()); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
			if bytes.Contains([]byte(err.Error()), data[60:80]) {
				t.Error("the error repeats the key")
			}
		})
	}
}

func TestNamedKeyIsNeverMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	place := keys.Place{File: filepath.Join(dir, "key.pem"), Dir: filepath.Join(dir, "data")}
	if _, err := keys.Open(issuer, place); err == nil {
		t.Error("made")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Error(entries, err)
	}
	if _, err := keyset.CreatePrivateKey(place.File); err != nil {
		t.Fatal(err)
	}
	open(t, place)
}

func TestDirectoryOfEverybody(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Open(issuer, keys.Place{Dir: dir}); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Error(err)
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := principal.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	link := principal.Key{
		KeyRef: principal.KeyRef{Role: principal.RoleLink, Owner: "orders", ID: "k1"}, Public: key,
		NotAfter: time.Unix(2_000_000_000, 0),
	}
	a, err := keys.Open(issuer, keys.Place{Dir: filepath.Join(t.TempDir(), "data")}, link)
	if err != nil {
		t.Fatal(err)
	}
	res := httptest.NewRecorder()
	a.ServeHTTP(res, httptest.NewRequest(http.MethodGet, keys.Path, nil))
	if h := res.Header(); h.Get("Cache-Control") != "public, max-age=300" || h.Get("Content-Type") != "application/jwk-set+json" {
		t.Error(h)
	}
	list, skipped, err := keyset.Parse(res.Body.Bytes())
	if err != nil || len(skipped) > 0 || len(list) != 2 {
		t.Fatal(list, skipped, err)
	}
	own := a.Signer().Key()
	if list[0].KeyRef != own.KeyRef || own.Owner != issuer || own.Role != principal.RoleAuthority || !list[0].Public.Equal(own.Public) {
		t.Error(list[0])
	}
	if list[1].KeyRef != link.KeyRef || !list[1].NotAfter.Equal(link.NotAfter) {
		t.Error(list[1])
	}
}

// Whoever may write the file of link keys must not become an issuer by it.
func TestReadLinks(t *testing.T) {
	t.Parallel()
	jwk := func(role, owner string) string {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`{"kid":"k","kty":"OKP","crv":"Ed25519","alg":"Ed25519","use":"sig","x":%q,"onb_role":%q,"onb_owner":%q}`,
			base64.RawURLEncoding.EncodeToString(public), role, owner)
	}
	for name, tt := range map[string]struct {
		file string
		want int
	}{
		"links":      {jwk("link", "orders") + "," + jwk("link", "payments"), 2},
		"none":       {"", 0},
		"authority":  {jwk("link", "orders") + "," + jwk("authority", issuer), -1},
		"no service": {jwk("link", "Not A Service"), -1},
		"broken":     {"{", -1},
	} {
		path := filepath.Join(t.TempDir(), "links.json")
		if err := os.WriteFile(path, []byte(`{"keys":[`+tt.file+`]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		list, err := keys.ReadLinks(path)
		if (err != nil) != (tt.want < 0) || err == nil && len(list) != tt.want {
			t.Errorf("%s: %v %v", name, list, err)
		}
	}
	if _, err := keys.ReadLinks("/none"); err == nil {
		t.Error("read what is not there")
	}
}
