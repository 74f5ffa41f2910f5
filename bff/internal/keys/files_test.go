package keys_test

import (
	"crypto"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/bff/internal/keys"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	f, err := keys.NewFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	var ids []string
	for i := range 3 {
		id, key, err := f.Create(ctx)
		if err != nil {
			t.Fatal(err)
		}
		read, err := f.Open(ctx, id)
		if public, ok := key.Public().(interface{ Equal(x crypto.PublicKey) bool }); err != nil || !ok || !public.Equal(read.Public()) {
			t.Error(err)
		}
		ids = append(ids, id)
		// They are written at the same moment, as far as the file system can tell.
		at := time.Unix(int64(1000+i), 0)
		if err := os.Chtimes(filepath.Join(dir, "authority-"+f.Replica()[:8]+"-"+id+".pem"), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := f.List(ctx); err != nil || !cmp.Equal(list, ids) {
		t.Error(list, err)
	}
	for range 2 {
		if err := f.Delete(ctx, ids[1]); err != nil {
			t.Error(err)
		}
	}
	if _, err := f.Open(ctx, ids[1]); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if list, err := f.List(ctx); err != nil || !cmp.Equal(list, []string{ids[0], ids[2]}) {
		t.Error(list, err)
	}
}

// An id from a store that somebody has changed names no file elsewhere.
func TestFilesStayInTheirDirectory(t *testing.T) {
	t.Parallel()
	f, err := keys.NewFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", "../x", "a/b", "/etc/passwd", "a\x00", "a.pem", string(make([]byte, 33))} {
		if _, err := f.Open(t.Context(), id); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open %q: %v", id, err)
		}
		if err := f.Delete(t.Context(), id); err == nil {
			t.Errorf("%q deleted", id)
		}
	}
}

// A directory that cannot be written to is enough until keys rotate.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	e := newEdge(t).mustStart()
	if err := os.Chmod(e.dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(e.dir, 0o700) })
	e.mustStart().sign()
}
