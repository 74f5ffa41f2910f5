package keys_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal/keyset"

	"github.com/onbehalf-dev/onbehalf/bff/internal/keys"
)

// damages are what can happen to a key's file (G08).
var damages = map[string]func(path string, data []byte) error{
	"empty":     func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
	"truncated": func(path string, data []byte) error { return os.WriteFile(path, data[:len(data)/2], 0o600) },
	"bit flipped": func(path string, data []byte) error {
		data = bytes.Clone(data)
		data[bytes.Index(data, []byte("MC4CAQ"))+30] ^= 1
		return os.WriteFile(path, data, 0o600)
	},
	"readable by others":    func(path string, _ []byte) error { return os.Chmod(path, 0o644) },
	"readable by the group": func(path string, _ []byte) error { return os.Chmod(path, 0o640) },
	"symlink": func(path string, _ []byte) error {
		if err := os.Rename(path, path+".old"); err != nil {
			return err
		}
		return os.Symlink(path+".old", path)
	},
	"dangling link": func(path string, _ []byte) error {
		if err := os.Remove(path); err != nil {
			return err
		}
		return os.Symlink(path+".gone", path)
	},
	"directory": func(path string, _ []byte) error {
		if err := os.Remove(path); err != nil {
			return err
		}
		return os.Mkdir(path, 0o700)
	},
	"of another key": func(path string, _ []byte) error {
		if err := os.Remove(path); err != nil {
			return err
		}
		_, err := keyset.CreatePrivateKey(path)
		return err
	},
}

// refused checks that a start fails with one line that names the file and does
// not repeat the key, and that it changes nothing.
func (e *edge) refused(path string, data []byte) {
	e.t.Helper()
	before, files := contents(e.t, e.dir), e.files()
	for range 2 {
		err := e.start()
		if err == nil {
			e.t.Fatal("started")
		}
		if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), path) {
			e.t.Errorf("not one line that names the file: %v", err)
		}
		if len(data) > 80 && bytes.Contains([]byte(err.Error()), data[60:80]) {
			e.t.Error("the error repeats the key")
		}
	}
	if after := contents(e.t, e.dir); !bytes.Equal(before, after) || len(e.files()) != len(files) {
		e.t.Error("the files were changed")
	}
	if err := keys.CheckFiles(e.dir); len(files) > 0 && err == nil {
		e.t.Error("a check finds nothing")
	}
}

// contents returns the names and contents of all files of a directory.
func contents(t *testing.T, dir string) []byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, entry := range entries {
		data, _ := os.ReadFile(filepath.Join(dir, entry.Name())) // of a directory or a dangling link there is none
		all = append(append(append(all, entry.Name()...), 0), data...)
	}
	return all
}

// G08: whatever happened to the active key's file, it stops the start, and no
// other key takes its place.
func TestActiveKeyIsDamaged(t *testing.T) {
	t.Parallel()
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t).mustStart()
			if err := keys.CheckFiles(e.dir); err != nil {
				t.Error(err)
			}
			path := e.files()[0]
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(path, data); err != nil {
				t.Fatal(err)
			}
			e.refused(path, data)
		})
	}
	t.Run("gone", func(t *testing.T) {
		t.Parallel()
		e := newEdge(t).mustStart()
		path := e.files()[0]
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		e.refused(path, data)

		// What the error says to do works.
		if err := os.Remove(filepath.Join(e.dir, "replica")); err != nil {
			t.Fatal(err)
		}
		other := newReplica(t, e.store, e.dir).mustStart()
		other.want("0+1+0")
		other.sign()
	})
}

// G08: the same without a record in the store.
func TestOnlyKeyIsDamaged(t *testing.T) {
	t.Parallel()
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lost := newEdge(t).mustStart()
			path := lost.files()[0]
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(path, data); err != nil {
				t.Fatal(err)
			}
			newReplica(t, openStore(t, filepath.Join(t.TempDir(), "store")), lost.dir).refused(path, data)
		})
	}
}

// The store is lost or new: the youngest key that can be used is adopted.
func TestStoreIsLost(t *testing.T) {
	t.Parallel()
	for name, damaged := range map[string]bool{"": false, "and a key is damaged": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t).mustStart()
			_, first := e.sign()
			next, err := e.Rotate(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			// They were written at the same moment, as far as the file system can tell.
			for i, id := range []string{first, next} {
				at := time.Unix(int64(1000+i), 0)
				if err := os.Chtimes(e.file(id), at, at); err != nil {
					t.Fatal(err)
				}
			}
			want := next
			if damaged {
				want = first
				if err := os.Chmod(e.file(next), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			other := newReplica(t, openStore(t, filepath.Join(t.TempDir(), "store")), e.dir).mustStart()
			if _, id := other.sign(); id != want || other.logs.count("signs with the youngest one") != 1 {
				t.Error(id, "want", want)
			}
			other.want("0+1+0")
			if files := other.files(); len(files) != 2 {
				t.Error("a key is deleted although nothing is known of it:", files)
			}
		})
	}
}

// Keys that a dead process has not published are deleted; what cannot be read is
// left for somebody to look at.
func TestOrphans(t *testing.T) {
	t.Parallel()
	e := newEdge(t).mustStart()
	_, active := e.sign()
	var ids []string
	for range 2 {
		id, _, err := e.vault.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := os.Chmod(e.file(ids[1]), 0o644); err != nil {
		t.Fatal(err)
	}
	unfinished := filepath.Join(e.dir, "."+filepath.Base(e.file(active))+".new")
	write(t, unfinished, nil, 0o600)
	foreign := filepath.Join(e.dir, "authority-00000000-"+active+".pem")
	write(t, foreign, []byte("of another replica"), 0o600)
	e.mustStart()
	e.step()
	if files := e.files(); len(files) != 3 {
		t.Error(files)
	}
	for _, path := range []string{e.file(active), e.file(ids[1]), foreign} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(unfinished); err == nil {
		t.Error("what was not finished is there still")
	}
	if e.logs.count("never published") != 1 || e.logs.count("remove it") != 1 {
		t.Error(e.logs.text.String())
	}
}

// Replicas that share a vault, as a token of an HSM, leave each other's keys
// alone: at their first start, later ones, and when keys are revoked.
func TestSharedVault(t *testing.T) {
	t.Parallel()
	a := newEdge(t)
	files, err := keys.NewFiles(filepath.Join(t.TempDir(), "token"))
	if err != nil {
		t.Fatal(err)
	}
	b := newReplica(t, a.store, filepath.Join(t.TempDir(), "data"))
	for _, e := range []*edge{a, b} {
		e.vault = struct{ keys.Vault }{files}
		e.mustStart()
	}
	if a.Record().GetActive() == b.Record().GetActive() {
		t.Fatal("one key for two")
	}
	for range 2 {
		for _, e := range []*edge{a, b} {
			e.mustStart()
			e.pass(life/2 + lead + grace + 2*skew)
			e.want("0+1+0")
			if err := e.Revoked(t.Context(), e.Record().GetActive()); err != nil {
				t.Fatal(err)
			}
			a.legal()
			b.legal()
		}
	}
	if ids, err := files.List(t.Context()); err != nil || len(ids) != 2 {
		t.Error(ids, err)
	}
}

// An update from a version that did not rotate does not change the key.
func TestAdoptsLegacyKey(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(e.dir, "authority.pem")
	key, err := keyset.CreatePrivateKey(old)
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.CheckFiles(e.dir); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(e.dir); err != nil || len(entries) != 1 {
		t.Error("a check has changed something:", entries, err)
	}
	e.mustStart().want("0+1+0")
	_, id := e.sign()
	adopted, err := e.vault.Open(t.Context(), id)
	if err != nil || !key.Equal(adopted) {
		t.Error("another key:", err)
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("there twice")
	}
	if _, again := e.mustStart().sign(); again != id {
		t.Error(again)
	}
}

// G08: a damaged legacy key is not replaced by another.
func TestLegacyKeyIsDamaged(t *testing.T) {
	t.Parallel()
	for name, damage := range damages {
		if name == "of another key" {
			continue // it has no name that could be wrong
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t)
			if _, err := keys.Replica(e.dir); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(e.dir, "authority.pem")
			if _, err := keyset.CreatePrivateKey(path); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(path, data); err != nil {
				t.Fatal(err)
			}
			e.refused(path, data)
		})
	}
}

func TestDamagedRecord(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"no message": "\xff", "empty": "", "cut off": "cut"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEdge(t).mustStart()
			name := "authority." + e.Record().GetReplica()
			if value == "cut" {
				entry, err := e.store.Get(t.Context(), name)
				if err != nil {
					t.Fatal(err)
				}
				value = string(entry.Value[:len(entry.Value)-3])
			}
			if _, err := e.store.Put(t.Context(), name, []byte(value)); err != nil {
				t.Fatal(err)
			}
			if err := e.start(); err == nil || !strings.Contains(err.Error(), "restore the store from a backup") {
				t.Error(err)
			}
			if len(e.files()) != 1 {
				t.Error(e.files())
			}
		})
	}
}

func TestReplica(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "data")
	first, err := keys.Replica(dir)
	if again, e := keys.Replica(dir); err != nil || e != nil || len(first) != 32 || again != first {
		t.Fatal(first, again, err, e)
	}
	path := filepath.Join(dir, "replica")
	for _, damaged := range []string{"", first[:31], first + first, strings.ToUpper(first) + "x", "../" + first[3:]} {
		write(t, path, []byte(damaged), 0o600)
		if id, err := keys.Replica(dir); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q is taken for %q: %v", damaged, id, err)
		}
		if err := keys.CheckFiles(dir); err == nil {
			t.Error("a check finds nothing")
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.NewFiles(dir); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Error(err)
	}
}

// No private key shows in what is logged.
func TestKeysAreNotLogged(t *testing.T) {
	t.Parallel()
	e := newEdge(t).mustStart()
	var secrets []string
	remember := func() {
		for _, path := range e.files() {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(string(data), "\n")
			secrets = append(secrets, lines[2])
		}
	}
	remember()
	e.pass(life/2 + time.Minute)
	remember()
	if err := os.Chmod(e.file(nextOf(e.stored())), 0o644); err != nil {
		t.Fatal(err)
	}
	e.clock.advance(lead)
	err := e.Step(t.Context())
	if err == nil || len(secrets) != 3 {
		t.Fatal(err, len(secrets))
	}
	for _, secret := range secrets {
		if len(secret) < 60 || e.logs.count(secret) > 0 || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), secret[30:50]) {
			t.Error("a key was logged")
		}
	}
}
