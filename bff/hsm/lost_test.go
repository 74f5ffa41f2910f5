package hsm_test

import (
	"crypto"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/bff/hsm"
)

// clock is one that tests turn.
type clock struct{ ns atomic.Int64 }

func newClock(v *hsm.Vault) *clock {
	c := new(clock)
	c.ns.Store(time.Now().UnixNano())
	v.SetClock(func() time.Time { return time.Unix(0, c.ns.Load()) })
	return c
}

func (c *clock) forward(d time.Duration) { c.ns.Add(int64(d)) }

// use calls everything there is.
func use(t *testing.T, v *hsm.Vault, id string, key crypto.Signer) error {
	t.Helper()
	_, opened := v.Open(t.Context(), id)
	_, listed := v.List(t.Context())
	_, _, created := v.Create(t.Context())
	return errors.Join(sign(key), opened, listed, created)
}

// losses are what happens to the login of a process.
var losses = map[string]func(*raw) error{
	"the sessions are closed": func(r *raw) error { return r.CloseAllSessions(r.slot) },
	"the user is logged out":  func(r *raw) error { return r.Logout(r.session) },
}

func TestLoginIsRepeated(t *testing.T) {
	t.Parallel()
	for name, lose := range losses {
		for first, call := range map[string]func(*hsm.Vault, string, crypto.Signer) error{
			"signing": func(_ *hsm.Vault, _ string, key crypto.Signer) error { return sign(key) },
			"listing": func(v *hsm.Vault, id string, _ crypto.Signer) error {
				ids, err := v.List(t.Context())
				if diff := cmp.Diff([]string{id}, ids); diff != "" && err == nil {
					return errors.New(diff)
				}
				return err
			},
			"opening": func(v *hsm.Vault, id string, _ crypto.Signer) error {
				_, err := v.Open(t.Context(), id)
				return err
			},
			"deleting": func(v *hsm.Vault, _ string, _ crypto.Signer) error {
				return v.Delete(t.Context(), "none")
			},
		} {
			t.Run(name+", then "+first, func(t *testing.T) {
				t.Parallel()
				tk := newToken(t)
				v := tk.open(t)
				c := newClock(v)
				id, key := create(t, v)
				r := tk.raw(t)
				for range 3 {
					if err := lose(r); err != nil {
						t.Fatal(err)
					}
					if err := call(v, id, key); err != nil {
						t.Fatal(err)
					}
					mustSign(t, key)
					r = tk.raw(t)
					c.forward(time.Second)
				}
			})
		}
	}
}

// A token without a login hides its private keys. That must not look as if they
// were gone: an edge would make new ones.
func TestLostLoginIsNoMissingKey(t *testing.T) {
	t.Parallel()
	for name, lose := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tk := newToken(t)
			path := filepath.Join(t.TempDir(), "pin")
			if err := os.WriteFile(path, []byte(goodPIN), 0o600); err != nil {
				t.Fatal(err)
			}
			v := open(t, hsm.Config{Module: module, TokenLabel: tk.label, PINFile: path})
			c := newClock(v)
			id, key := create(t, v)
			if err := errors.Join(os.Remove(path), lose(tk.raw(t))); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				_, opened := v.Open(t.Context(), id)
				ids, listed := v.List(t.Context())
				for _, err := range []error{sign(key), opened, listed, v.Delete(t.Context(), id)} {
					if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
						t.Errorf("%v", err)
					}
				}
				if ids != nil {
					t.Errorf("listed %v", ids)
				}
				c.forward(time.Second)
			}
			if err := os.WriteFile(path, []byte(goodPIN), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := use(t, v, id, key); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLoginsAreSpaced(t *testing.T) {
	t.Parallel()
	tk := newToken(t)
	config := tk.config()
	var asked atomic.Int32
	sealed := errors.New("sealed")
	config.PIN = func() (string, error) {
		if asked.Add(1) > 1 {
			return "", sealed
		}
		return goodPIN, nil
	}
	v := open(t, config)
	c := newClock(v)
	_, key := create(t, v)
	if err := losses["the user is logged out"](tk.raw(t)); err != nil {
		t.Fatal(err)
	}
	for want := range int32(3) {
		for range 10 {
			if err := sign(key); err == nil || !strings.Contains(err.Error(), "sealed") {
				t.Error(err)
			}
		}
		if got := asked.Load(); got != want+2 {
			t.Errorf("%d logins, want %d", got, want+2)
		}
		c.forward(999 * time.Millisecond)
		if err := sign(key); err == nil || asked.Load() != want+2 {
			t.Error(err, asked.Load())
		}
		c.forward(time.Millisecond)
	}
}

// A login that is lost at once is not repeated at once, and signing says why.
func TestLoginIsLostTwiceInASecond(t *testing.T) {
	t.Parallel()
	tk := newToken(t)
	v := tk.open(t)
	c := newClock(v)
	id, key := create(t, v)
	lose := func() {
		if r := tk.raw(t); r.CloseAllSessions(r.slot) != nil {
			t.Fatal("the sessions are still there")
		}
	}
	lose()
	mustSign(t, key)
	lose()
	for range 2 {
		_, opened := v.Open(t.Context(), id)
		for _, err := range []error{sign(key), opened} {
			if err == nil || !strings.Contains(err.Error(), "CKR_SESSION_HANDLE_INVALID") || errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		}
	}
	c.forward(time.Second)
	if err := use(t, v, id, key); err != nil {
		t.Error(err)
	}
}

// The PIN was changed while the vault was open, or the file is wrong.
func TestWrongPINIsNeverSentAgain(t *testing.T) {
	t.Parallel()
	tk := newToken(t)
	config := tk.config()
	var asked atomic.Int32
	config.PIN = func() (string, error) {
		if asked.Add(1) > 1 {
			return "wrong-" + goodPIN, nil
		}
		return goodPIN, nil
	}
	v := open(t, config)
	c := newClock(v)
	id, key := create(t, v)
	if err := losses["the user is logged out"](tk.raw(t)); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		_, opened := v.Open(t.Context(), id)
		for _, err := range []error{sign(key), opened} {
			if err == nil || !strings.Contains(err.Error(), "the PIN is wrong") || errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
			if strings.Contains(err.Error(), goodPIN) {
				t.Errorf("Z01: the error shows the PIN: %v", err)
			}
		}
		c.forward(time.Hour)
	}
	if asked.Load() != 2 {
		t.Errorf("%d logins", asked.Load())
	}
}

// Whoever signs meets the loss at the same time, and one of them logs in.
func TestManyMeetALostLogin(t *testing.T) {
	t.Parallel()
	tk := newToken(t)
	config := tk.config()
	var asked atomic.Int32
	config.PIN = func() (string, error) { asked.Add(1); return goodPIN, nil }
	v := open(t, config)
	c := newClock(v)
	_, key := create(t, v)
	for range 5 {
		// Not while they sign: SoftHSM would crash.
		if r := tk.raw(t); r.CloseAllSessions(r.slot) != nil {
			t.Fatal("the sessions are still there")
		}
		var group sync.WaitGroup
		start := make(chan struct{})
		for range 16 {
			group.Go(func() {
				<-start
				for range 10 {
					if err := sign(key); err != nil {
						t.Error(err)
					}
				}
			})
		}
		close(start)
		group.Wait()
		c.forward(time.Second)
	}
	if got := asked.Load(); got != 6 {
		t.Errorf("%d logins for 5 losses", got)
	}
}

// It ends the module for all of the process, so it runs alone.
//
//nolint:paralleltest // see above
func TestModuleIsFinalized(t *testing.T) {
	tk := newToken(t)
	v := tk.open(t)
	newClock(v)
	id, key := create(t, v)
	r := tk.raw(t)
	if err := r.Finalize(); err != nil {
		t.Fatal(err)
	}
	if err := use(t, v, id, key); err != nil {
		t.Error(err)
	}
}

// Only a module that is loaded anew sees that the token has gone or come back.
//
//nolint:paralleltest // see above
func TestTokenIsPulledOut(t *testing.T) {
	tk := newToken(t)
	v := tk.open(t)
	c := newClock(v)
	id, key := create(t, v)
	r := tk.raw(t)
	away := filepath.Join(t.TempDir(), "away")
	if err := errors.Join(r.CloseAllSessions(r.slot), os.Rename(tk.dir, away)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, opened := v.Open(t.Context(), id)
		_, listed := v.List(t.Context())
		for _, err := range []error{sign(key), opened, listed} {
			if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "none with this label") {
				t.Error(err)
			}
		}
		c.forward(time.Second)
	}
	if err := os.Rename(away, tk.dir); err != nil {
		t.Fatal(err)
	}
	if err := use(t, v, id, key); err != nil {
		t.Error(err)
	}
}
