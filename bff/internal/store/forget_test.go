package store_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// killedCopy is a directory as a process leaves it that is killed now.
func killedCopy(t *testing.T, dir string) string {
	t.Helper()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return copied
}

// count is of all that the server has, with markers and pulses.
func count(t *testing.T, s *store.Store, n int) func() bool {
	t.Helper()
	return func() bool {
		r, err := s.Check(t.Context()) // makes a pulse, which is looked at the next time
		return err == nil && strings.Contains(r.Findings[0].Text, fmt.Sprintf(" %d entries", n))
	}
}

// What has an end is forgotten, pulses too; the sequences they had are not, even
// if they were the last ones. Nothing comes back when the process is killed
// (R09).
func TestForgotten(t *testing.T) {
	t.Parallel()
	settings := store.Settings{Dir: t.TempDir()}.Tuned(time.Second, time.Second, 1)
	s := open(t, settings)
	stays, err := s.Create(t.Context(), "stays", nil)
	if err != nil {
		t.Fatal(err)
	}
	gone, err := s.Create(t.Context(), "gone", nil)
	if err == nil {
		_, err = s.Delete(t.Context(), "gone", gone)
	}
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(2 * time.Second)
	var last uint64
	for n := range 200 {
		key := fmt.Sprint("goes.", n)
		last, err = s.CreateUntil(t.Context(), key, make([]byte, 2000), end)
		if err == nil && n%2 == 0 {
			last, err = s.UpdateUntil(t.Context(), key, nil, end.Add(-time.Hour), last)
		}
		if err == nil && n%3 == 0 {
			last, err = s.Delete(t.Context(), key, last)
		}
		if err == nil && n%6 == 0 {
			last, err = s.CreateUntil(t.Context(), key, make([]byte, 2000), end.Add(-time.Hour))
		}
		if err != nil {
			t.Fatal(n, err)
		}
	}
	// Here: one that stays, the marker of one that did, and the last pulse.
	eventually(t, 30*time.Second, "all is forgotten", count(t, s, 3))
	for range 3 {
		settings.Dir = killedCopy(t, settings.Dir)
		s = open(t, settings)
		entries := content(t, s)
		again, err := s.Create(t.Context(), fmt.Sprint("new.", last), nil)
		if err != nil || again <= last {
			t.Errorf("%d was given after %d: %v", again, last, err)
		}
		last = again
		if entries["stays"].Sequence != stays {
			t.Error("an entry is not there any more")
		}
		for key := range entries {
			if key == "gone" || strings.HasPrefix(key, "goes.") {
				t.Error("it is there again:", key)
			}
		}
	}
}

// An entry without an end before it makes one that has an end stay: the server
// could bring the other back.
func TestEndAfterNone(t *testing.T) {
	t.Parallel()
	settings := store.Settings{Dir: t.TempDir()}.Tuned(time.Second, time.Second, 1)
	s := open(t, settings)
	sequence, err := s.Create(t.Context(), "updated", []byte("old"))
	if err == nil {
		_, err = s.UpdateUntil(t.Context(), "updated", []byte("new"), time.Now(), sequence)
	}
	if err == nil {
		sequence, err = s.Create(t.Context(), "deleted", []byte("old"))
	}
	if err == nil {
		_, err = s.Delete(t.Context(), "deleted", sequence)
	}
	if err == nil {
		_, err = s.CreateUntil(t.Context(), "deleted", []byte("new"), time.Now())
	}
	if err == nil {
		_, err = s.CreateUntil(t.Context(), "ends", []byte("new"), time.Now())
	}
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "what has an end is forgotten", count(t, s, 3))
	for _, key := range []string{"updated", "deleted"} {
		if e, err := s.Get(t.Context(), key); err != nil || string(e.Value) != "new" {
			t.Error(key, e, err)
		}
	}
}
