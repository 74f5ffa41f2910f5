package main_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/principal/keyset"
)

const notDevKey = "it is not a development key, and mint uses no other: make one with onbehalf mint --new-key FILE\n"

// refuse mints with a key that must not be used.
func refuse(t *testing.T, key, why string) {
	t.Helper()
	for _, args := range [][]string{{"--audience", "orders", "--human", "alice"}, {"--public"}} {
		code, stdout, stderr := run(t, append([]string{"mint", "--key", key}, args...)...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, why) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s %v: %d %q %q, want %q", key, args, code, stdout, stderr, why)
		}
	}
}

// An edge's keys sign nothing here, wherever they are, and a development key in
// its directory neither.
func TestMintRefusesEdgeKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serve(t, config(t, dir, routeTo("http://127.0.0.1:1")))
	p.signal(os.Interrupt)
	if code := p.wait(); code != 0 {
		t.Fatal(code)
	}
	data := filepath.Join(dir, "data")
	found, err := filepath.Glob(filepath.Join(data, "authority-*.pem"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	const inside = "the data directory of an edge"
	refuse(t, found[0], inside)
	link := filepath.Join(dir, "link.pem")
	if err := os.Symlink(found[0], link); err != nil {
		t.Fatal(err)
	}
	refuse(t, link, inside)
	if err := os.Symlink(data, filepath.Join(dir, "other")); err != nil {
		t.Fatal(err)
	}
	refuse(t, filepath.Join(dir, "other", filepath.Base(found[0])), inside)

	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	refuse(t, put(t, string(text)), notDevKey)
	// Nor with the line of a development key in front.
	_, block, _ := strings.Cut(string(text), "\n")
	refuse(t, put(t, "Onbehalf-Development-Key: dev-AAAAAAAAAAA\n"+block), notDevKey)

	key, _ := devKey(t, "dev:local")
	if text, err = os.ReadFile(key); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(data, "below")
	if err := os.Mkdir(below, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(data, "dev.pem"), filepath.Join(below, "dev.pem")} {
		if code, _, stderr := run(t, "mint", "--new-key", path); code != 1 || !strings.Contains(stderr, inside) {
			t.Error(code, stderr)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		refuse(t, path, inside)
	}
}

func put(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A key without the marker could be anybody's.
func TestMintRefusesOtherKeys(t *testing.T) {
	t.Parallel()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	refuse(t, put(t, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))), notDevKey)
	made := filepath.Join(t.TempDir(), "made.pem")
	if _, err := keyset.CreatePrivateKey(made); err != nil {
		t.Fatal(err)
	}
	refuse(t, made, notDevKey)
	refuse(t, put(t, ""), notDevKey)

	key, _ := devKey(t, "dev:local")
	text, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	refuse(t, put(t, string(text[:100])), "it is damaged")
	refuse(t, put(t, string(text)+string(text)), "it is damaged")
	if err := os.Chmod(key, 0o640); err != nil {
		t.Fatal(err)
	}
	refuse(t, key, "its mode 0640 lets others than its owner in: run chmod 600 "+key+"\n")
}

// The other way round: an edge takes no development key for its own.
func TestEdgeRefusesDevelopmentKey(t *testing.T) {
	t.Parallel()
	key, _ := devKey(t, "dev:local")
	path := config(t, t.TempDir(), routeTo("http://127.0.0.1:1")+"signing_key: '"+key+"'\n")
	for _, args := range [][]string{{"config", "check"}, {"serve"}} {
		if code, _, stderr := run(t, append(args, "-c", path)...); code != 1 || !strings.Contains(stderr, key) {
			t.Error(args, code, stderr)
		}
	}
}

func TestNewKey(t *testing.T) {
	t.Parallel()
	key, set := devKey(t, "dev:local")
	if info, err := os.Stat(key); err != nil || info.Mode() != 0o600 {
		t.Error(info, err)
	}
	before, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := run(t, "mint", "--new-key", key)
	if code != 1 || stdout != "" || !strings.HasSuffix(stderr, "no key is ever replaced; name another file\n") {
		t.Error(code, stdout, stderr)
	}
	if after, err := os.ReadFile(key); err != nil || string(after) != string(before) {
		t.Error("the key was replaced", err)
	}
	first, err := os.ReadFile(set)
	if err != nil {
		t.Fatal(err)
	}
	code, stdout, _ = run(t, "mint", "--public", "--key", key)
	if code != 0 || stdout != string(first) || !strings.Contains(stdout, `"kid":"dev-`) || !strings.Contains(stdout, `"onb_owner":"dev:local"`) {
		t.Error(code, stdout)
	}
	if _, err := keyset.ReadFile(set); err != nil {
		t.Error(err)
	}
}

func TestMintMistakes(t *testing.T) {
	t.Parallel()
	key, _ := devKey(t, "dev:local")
	for _, tt := range []struct {
		args   string
		code   int
		stderr string
	}{
		{"", 2, "onbehalf: mint: name the development key"},
		{"--key KEY --human a", 2, "onbehalf: mint: --audience is missing"},
		{"--key KEY --audience orders", 2, "onbehalf: mint: nobody is named"},
		{"--key KEY --audience orders --human a --service b", 2, "onbehalf: --human and --service can't be used together"},
		{"--key KEY --new-key x", 2, "onbehalf: --new-key and --key can't be used together"},
		{"--key KEY --audience orders --human a --life 301s", 2, "onbehalf: mint: --life is 1s to 5m"},
		{"--key KEY --audience orders --human a --life 0s", 2, "onbehalf: mint: --life is 1s to 5m"},
		{"--key KEY --audience mesh:dev --human a", 2, "onbehalf: mint: --audience is a trust domain"},
		{"--key KEY --audience orders --human a --mode relay", 2, "onbehalf: mint: --mode relay is for a trust domain"},
		{"--key KEY --audience mesh:dev --human a --mode relay --presenter bff", 2, "onbehalf: mint: --presenter does not belong"},
		{"--key KEY --audience Orders --human a", 1, "onbehalf: principal: audience: is neither a service name"},
		{"--key KEY --audience orders --human hm-am-a", 1, "onbehalf: principal: the identity starts with the prefix"},
		{"--key KEY --audience orders --human a --max-links 7", 1, "onbehalf: principal: max_links: "},
		{"--key /none/x --audience orders --human a", 1, "onbehalf: key /none/x: "},
	} {
		code, stdout, stderr := run(t, append([]string{"mint"}, strings.Fields(strings.ReplaceAll(tt.args, "KEY", key))...)...)
		if code != tt.code || stdout != "" || !strings.HasPrefix(stderr, tt.stderr) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: %d %q %q", tt.args, code, stdout, stderr)
		}
	}
	const why = "could be an edge's; use one that begins with dev:"
	for issuer, ok := range map[string]bool{
		"dev:me": true, "https://edge.localhost": true, "http://localhost:8080/x": true, "edge.test": true, "https://a.test./": true,
		"https://127.0.0.1:9": true, "http://[::1]": true, "dev:": false, "https://edge.example.com": false, "https://localhost.example.com": false,
		"https://test": true, "https://nottest": false, "https://a.test@edge.example.com": false, "https://edge.example.com/.test": false,
		"https://edge.example.com#.localhost": false, "edge": false, "": false, "https://10.0.0.1": false,
	} {
		code, _, stderr := run(t, "mint", "--public", "--key", key, "--issuer="+issuer)
		if (code == 0) != ok || !ok && (code != 2 || !strings.Contains(stderr, why)) {
			t.Errorf("%s: %d %s", issuer, code, stderr)
		}
	}
}
