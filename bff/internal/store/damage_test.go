package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// filled returns a directory with entries in it, in use by nobody.
func filled(t *testing.T, entries int) string {
	t.Helper()
	dir := t.TempDir()
	s := open(t, store.Settings{Dir: dir})
	for n := range entries {
		if _, err := s.Put(t.Context(), fmt.Sprint("k.", n%(entries/2)), fmt.Append(nil, n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// find returns the files of a name, which may have wildcards, at any depth.
func find(t *testing.T, dir, name string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if ok, _ := filepath.Match(name, filepath.Base(path)); ok {
			found = append(found, path)
		}
		return err
	})
	if err != nil || len(found) == 0 {
		t.Fatal(name, found, err)
	}
	return found
}

func change(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, f(data), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func flip(at int) func([]byte) []byte {
	return func(data []byte) []byte {
		data[(at+len(data))%len(data)] ^= 1
		return data
	}
}

func cut(data []byte) []byte { return data[:len(data)/2] }

// kept reads what nothing may take away from: entries, and what is known of them.
func kept(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		name := filepath.Base(path)
		if err == nil && !entry.IsDir() && (strings.HasSuffix(name, ".blk") || strings.HasPrefix(name, "meta.") || name == "store.json") {
			var data []byte
			data, err = os.ReadFile(path)
			files[path] = string(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A store that is damaged does not open, and nothing is made in its place (G08).
func TestDamaged(t *testing.T) {
	t.Parallel()
	good := filled(t, 200)
	for name, test := range map[string]struct {
		damage func(t *testing.T, dir string)
		want   string
	}{
		"an entry flipped":     {func(t *testing.T, dir string) { change(t, find(t, dir, "*.blk")[0], flip(5000)) }, "restore from a backup; nothing was changed"},
		"the last one flipped": {func(t *testing.T, dir string) { change(t, find(t, dir, "*.blk")[0], flip(-1)) }, "was acknowledged"},
		"entries cut":          {func(t *testing.T, dir string) { change(t, find(t, dir, "*.blk")[0], cut) }, "was acknowledged"},
		"entries emptied":      {func(t *testing.T, dir string) { os.Truncate(find(t, dir, "*.blk")[0], 0) }, "was acknowledged"},
		"entries removed":      {func(t *testing.T, dir string) { os.Remove(find(t, dir, "*.blk")[0]) }, "was acknowledged"},
		"data removed":         {func(t *testing.T, dir string) { os.RemoveAll(find(t, dir, "jetstream")[0]) }, "restore from a backup"},
		"stream removed":       {func(t *testing.T, dir string) { os.RemoveAll(find(t, dir, "KV_*")[0]) }, "restore from a backup"},
		"settings flipped":     {func(t *testing.T, dir string) { change(t, find(t, dir, "meta.inf")[0], flip(40)) }, "restore from a backup"},
		"settings removed":     {func(t *testing.T, dir string) { os.Remove(find(t, dir, "meta.inf")[0]) }, "restore from a backup"},
		"state flipped":        {func(t *testing.T, dir string) { change(t, find(t, dir, "store.json")[0], flip(20)) }, "restore from a backup"},
		"state cut":            {func(t *testing.T, dir string) { change(t, find(t, dir, "store.json")[0], cut) }, "restore from a backup"},
		"state removed":        {func(t *testing.T, dir string) { os.Remove(find(t, dir, "store.json")[0]) }, "restore from a backup"},
		"for everybody":        {func(_ *testing.T, dir string) { os.Chmod(dir, 0o777) }, "chmod 700"},
		"a file": {func(_ *testing.T, dir string) {
			os.RemoveAll(dir)
			os.WriteFile(dir, nil, 0o600)
		}, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := killedCopy(t, good)
			test.damage(t, dir)
			before := kept(t, dir)
			for range 2 {
				s, err := store.Open(t.Context(), store.Settings{Dir: dir, Logger: testLogger(t)})
				if err == nil {
					t.Fatal("it was opened", s.Close())
				}
				if errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), test.want) {
					t.Error(err)
				}
				t.Log(err)
			}
			if diff := cmp.Diff(before, kept(t, dir)); diff != "" {
				t.Error("it was changed:", diff)
			}
		})
	}
}

// Any byte of the file that is another is seen.
func TestAnyByteFlipped(t *testing.T) {
	t.Parallel()
	dir := filled(t, 4)
	block := find(t, dir, "*.blk")[0]
	data, err := os.ReadFile(block)
	if err != nil {
		t.Fatal(err)
	}
	root, last := filepath.Dir(find(t, dir, "jetstream")[0]), uint64(4)
	if err := store.CheckBlocks(root, last); err != nil {
		t.Fatal(err)
	}
	for at := range data {
		bit := rand.IntN(8)
		changed := slices.Clone(data)
		changed[at] ^= 1 << bit
		if err := os.WriteFile(block, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if store.CheckBlocks(root, last) == nil {
			t.Fatalf("bit %d of byte %d of %d", bit, at, len(data))
		}
	}
	for size := range data {
		if err := os.WriteFile(block, data[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if store.CheckBlocks(root, last) == nil {
			t.Fatalf("%d of %d bytes", size, len(data))
		}
	}
}

// What can be made again from the entries may be lost, as may what was being
// written when the machine stopped.
func TestHarmless(t *testing.T) {
	t.Parallel()
	good := filled(t, 200)
	for name, damage := range map[string]func(t *testing.T, dir string){
		"index flipped": func(t *testing.T, dir string) { change(t, find(t, dir, "index.db")[0], flip(20)) },
		"index removed": func(t *testing.T, dir string) { os.Remove(find(t, dir, "index.db")[0]) },
		"half an entry": func(t *testing.T, dir string) {
			change(t, find(t, dir, "*.blk")[0], func(data []byte) []byte { return append(data, data[:100]...) })
		},
		"zeros": func(t *testing.T, dir string) {
			change(t, find(t, dir, "*.blk")[0], func(data []byte) []byte { return append(data, make([]byte, 4096)...) })
		},
		"half a state": func(t *testing.T, dir string) {
			os.WriteFile(find(t, dir, "store.json")[0]+".tmp", []byte("{"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := killedCopy(t, good)
			damage(t, dir)
			s := open(t, store.Settings{Dir: dir})
			if n := len(content(t, s)); n != 100 {
				t.Errorf("%d entries", n)
			}
			if sequence, err := s.Put(t.Context(), "k", nil); err != nil || sequence <= s.Base()+200 {
				t.Error(sequence, err)
			}
		})
	}
}

// A store that could not be made to its end is made again: nothing was in it.
func TestMadeHalf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := store.WriteState(dir, 77, false); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "77", "jetstream"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := open(t, store.Settings{Dir: dir})
	if _, err := s.Put(t.Context(), "k", nil); err != nil || s.Base() <= 77 {
		t.Error(s.Base(), err)
	}
}
