package keyset_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/principal/keyset"

	"github.com/google/go-cmp/cmp"
)

func write(t testing.TB, data []byte, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}

func TestReadFile(t *testing.T) {
	t.Parallel()
	a, orders := authority(t, edgeA, "k1"), link(t, "orders", "k1")
	set, err := keyset.ReadFile(write(t, marshal(t, a, orders), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&orders, find(t, set, orders.KeyRef), sameKeys); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&a, find(t, set, a.KeyRef), sameKeys); diff != "" {
		t.Error(diff)
	}
}

func TestReadFileRefuses(t *testing.T) {
	t.Parallel()
	if _, err := keyset.ReadFile(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := keyset.ReadFile(t.TempDir()); err == nil {
		t.Error("a directory is read")
	}
	good := marshal(t, authority(t, edgeA, "k1"))
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"G08 cut off":                 {good[:len(good)/2], "not a JSON document"},
		"empty":                       {nil, "not a JSON document"},
		"no keys":                     {[]byte(`{"keys":[]}`), "at least one key"},
		"a key that cannot be used":   {bytes.Replace(marshal(t, authority(t, edgeA, "k1"), link(t, "orders", "k2")), []byte("OKP"), []byte("RSA"), 1), "key 1 (k1): kty is not OKP or EC"},
		"a private key":               {bytes.Replace(good, []byte(`"kid"`), []byte(`"d":"canary","kid"`), 1), "not only the public half"},
		"larger than a set should be": {bytes.Repeat([]byte(" "), 1<<20+1), "larger than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, tt.data, 0o644)
			set, err := keyset.ReadFile(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) || set != nil {
				t.Fatalf("ReadFile = %v, %v; want an error with %q", set, err, tt.want)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the file shows in %v", err)
			}
		})
	}
}
