package store_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// values are what is in a store, without what a restore may change.
func values(t *testing.T, s *store.Store) map[string]string {
	t.Helper()
	values := map[string]string{}
	for key, e := range content(t, s) {
		values[key] = string(e.Value)
	}
	return values
}

func backup(t *testing.T, s *store.Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Backup(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sequenceOf makes a write and returns what it was given.
func sequenceOf(t *testing.T, s *store.Store) uint64 {
	t.Helper()
	sequence, err := s.Put(t.Context(), "sequence", nil)
	if err != nil {
		t.Fatal(err)
	}
	return sequence
}

// write makes some entries of each kind.
func write(t *testing.T, s *store.Store) {
	t.Helper()
	for n := range 300 {
		key := fmt.Sprint("k.", n%200)
		sequence, err := s.Put(t.Context(), key, fmt.Append([]byte{0, 255}, n))
		if err == nil && n%7 == 0 {
			_, err = s.Delete(t.Context(), key, sequence)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for key, end := range map[string]time.Duration{"until.past": time.Nanosecond, "until.future": time.Hour} {
		if _, err := s.CreateUntil(t.Context(), key, []byte(key), time.Now().Add(end)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBackup(t *testing.T) {
	t.Parallel()
	settings := store.Settings{Dir: t.TempDir(), Logger: testLogger(t)}
	s := open(t, settings)
	write(t, s)
	saved, want := backup(t, s), values(t, s)
	if _, err := s.Put(t.Context(), "later", nil); err != nil {
		t.Fatal(err)
	}
	highest, base := sequenceOf(t, s), s.Base()
	s.Close()

	// The clock may have gone back, or is the same: sequences do not care.
	settings.Now = func() time.Time { return time.Unix(1, 0) }
	elsewhere := settings
	elsewhere.Dir = filepath.Join(t.TempDir(), "new")
	for range 2 {
		for _, settings := range []store.Settings{settings, elsewhere} {
			if err := store.Restore(t.Context(), settings, bytes.NewReader(saved)); err != nil {
				t.Fatal(err)
			}
		}
		s = open(t, settings)
		if diff := cmp.Diff(want, values(t, s)); diff != "" {
			t.Error(diff)
		}
		after := sequenceOf(t, s)
		if after <= highest || s.Base() <= highest || s.Base() <= base {
			t.Errorf("%d was given after %d, the base is %d after %d", after, highest, s.Base(), base)
		}
		highest, base = after, s.Base()
		s.Close()
	}
	s = open(t, elsewhere)
	delete(want, "sequence")
	if diff := cmp.Diff(want, values(t, s)); diff != "" {
		t.Error(diff)
	}
}

// A store that cannot be opened any more can be restored, and goes on above what
// it had given.
func TestRestoreDamaged(t *testing.T) {
	t.Parallel()
	settings := store.Settings{Dir: t.TempDir(), Logger: testLogger(t)}
	s := open(t, settings)
	write(t, s)
	saved := backup(t, s)
	highest := sequenceOf(t, s)
	s.Close()
	for _, damage := range []func(){
		func() { change(t, find(t, settings.Dir, "*.blk")[0], flip(5000)) },
		func() { change(t, find(t, settings.Dir, "store.json")[0], cut) },
		func() { os.Remove(filepath.Join(settings.Dir, "store.json")) },
	} {
		damage()
		if _, err := store.Open(t.Context(), settings); err == nil {
			t.Fatal("it was opened")
		}
		if err := store.Restore(t.Context(), settings, bytes.NewReader(saved)); err != nil {
			t.Fatal(err)
		}
		s = open(t, settings)
		if after := sequenceOf(t, s); after <= highest {
			t.Errorf("%d was given after %d", after, highest)
		} else {
			highest = after
		}
		s.Close()
	}
}

// A backup of which anything is missing or another is refused, and what is there
// stays.
func TestDamagedBackup(t *testing.T) {
	t.Parallel()
	settings := store.Settings{Dir: t.TempDir(), Logger: testLogger(t)}
	s := open(t, settings)
	for n := range 3 {
		if _, err := s.Put(t.Context(), fmt.Sprint("k.", n), []byte("value")); err != nil {
			t.Fatal(err)
		}
	}
	saved := backup(t, s)
	sequenceOf(t, s)
	s.Close()
	before := kept(t, settings.Dir)
	refused := func(what string, data []byte) {
		t.Helper()
		err := store.Restore(t.Context(), settings, bytes.NewReader(data))
		if err == nil || !strings.Contains(err.Error(), "nothing was changed") {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for at := range saved {
		refused(fmt.Sprint("cut at ", at), saved[:at])
		changed := bytes.Clone(saved)
		changed[at] ^= 1 << (at % 8)
		refused(fmt.Sprint("another byte at ", at), changed)
	}
	lines := bytes.SplitAfter(saved, []byte("\n"))
	refused("a line less", bytes.Join(append(lines[:2:2], lines[3:]...), nil))
	refused("a line twice", bytes.Join(append(lines[:2:2], lines[1:]...), nil))
	refused("twice", append(bytes.Clone(saved), saved...))
	refused("an endless line", bytes.Repeat([]byte("x"), 4<<20))
	if diff := cmp.Diff(before, kept(t, settings.Dir)); diff != "" {
		t.Error("it was changed:", diff)
	}
}

// A restore that is killed, or fails, leaves what was there.
func TestRestoreFails(t *testing.T) {
	t.Parallel()
	settings := store.Settings{Dir: t.TempDir(), Logger: testLogger(t)}
	s := open(t, settings)
	write(t, s)
	saved, want := backup(t, s), values(t, s)
	s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.Restore(ctx, settings, bytes.NewReader(saved)); err == nil {
		t.Error("it was restored")
	}
	if err := os.MkdirAll(filepath.Join(settings.Dir, "unfinished", "jetstream"), 0o700); err != nil {
		t.Fatal(err)
	}
	s = open(t, settings)
	if diff := cmp.Diff(want, values(t, s)); diff != "" {
		t.Error(diff)
	}
	s.Close()
	if err := store.Restore(t.Context(), settings, bytes.NewReader(saved)); err != nil {
		t.Error(err)
	}
}

func FuzzBackup(f *testing.F) {
	f.Add([]byte(`{"format":"onbehalf store backup","version":1,"base":1,"last":2,"created":"2026-01-01T00:00:00Z"}` + "\n" +
		`{"key":"k","value":"AA==","sequence":2,"time":"2026-01-01T00:00:00Z"}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		sealed := store.SealBackup(data)
		_, _ = store.ReadBackup(bytes.NewReader(data))
		if n, err := store.ReadBackup(bytes.NewReader(sealed)); err == nil && n > bytes.Count(data, []byte("\n")) {
			t.Errorf("%d entries in %q", n, data)
		}
	})
}
