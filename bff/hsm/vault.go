package hsm

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// retryAfter is the time between two logins.
const retryAfter = time.Second

// Vault makes and holds P-256 keys in a token, under the label
// "onbehalf-authority" and with their ids as CKA_ID. It is safe for concurrent
// use; up to 15 calls use the token at a time.
//
// PKCS#11 has no way to end a call: a context that ends keeps one from starting.
type Vault struct {
	config Config
	now    func() time.Time

	mu      sync.RWMutex // whoever reads uses conn, whoever writes exchanges it
	conn    *conn        // nil while there is no login
	closed  bool
	tried   time.Time // when the last login began
	failure error     // of that login
}

// Open logs in to the token. Its errors say what to change and never hold the
// PIN. Call [Vault.Close] in the end.
func Open(config Config) (*Vault, error) {
	c, err := connect(&config)
	if err != nil {
		return nil, err
	}
	return &Vault{config: config, now: time.Now, conn: c}, nil
}

// Format keeps every verb of fmt from showing how the PIN is found.
func (v *Vault) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "hsm.Vault{"+v.config.TokenLabel+"}")
}

// Close logs out, when calls under way have ended. Afterwards every call fails,
// also of keys from this vault. It can be called again.
func (v *Vault) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	if v.conn != nil {
		v.conn.close()
		v.conn = nil
	}
	return nil
}

// Create makes a key and returns its default id, see
// [github.com/onbehalf-dev/onbehalf/principal.PublicKey.ID], and a signer for
// SHA-256 digests that is safe for concurrent use and works for as long as the
// vault. After an error or a crash the token may hold a key that nobody knows.
func (v *Vault) Create(ctx context.Context) (id string, signer crypto.Signer, err error) {
	var made *key
	err = v.admin(ctx, "no key made", func(c *conn) error {
		p, err := c.create()
		if err == nil {
			made = newKey(v, c, p)
		}
		return err
	})
	if err != nil {
		return "", nil, err
	}
	return made.public.ID(), made, nil
}

// Open returns the key with this id, as Create does. The error matches
// [io/fs.ErrNotExist] if there is none, and only then: a key that is damaged, or
// that could be read out of the token, is another error.
func (v *Vault) Open(ctx context.Context, id string) (crypto.Signer, error) {
	var found *key
	err := v.admin(ctx, fmt.Sprintf("key %q", id), func(c *conn) error {
		p, err := c.find(id)
		if err == nil {
			found = newKey(v, c, p)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// Delete removes both halves of a key. It is no error if there is none. It does
// not remove one that Open would call damaged.
func (v *Vault) Delete(ctx context.Context, id string) error {
	return v.admin(ctx, fmt.Sprintf("key %q not deleted", id), func(c *conn) error {
		return c.remove(id)
	})
}

// List returns the ids of the keys under our label, in ascending order. Edges
// that share a token see each other's.
func (v *Vault) List(ctx context.Context) ([]string, error) {
	var ids []string
	err := v.admin(ctx, "keys not listed", func(c *conn) (err error) {
		ids, err = c.list()
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

func (v *Vault) admin(ctx context.Context, what string, f func(*conn) error) error {
	err := ctx.Err()
	if err == nil {
		err = v.do(f)
	}
	if err != nil {
		return fmt.Errorf("hsm: token %q: %s: %w", v.config.TokenLabel, what, err)
	}
	return nil
}

// do runs f in a login, and once more if that was lost and could be replaced.
func (v *Vault) do(f func(*conn) error) error {
	used, err := v.try(f)
	if !isLost(err) {
		return err
	}
	if err := v.reconnect(used, err); err != nil {
		return err
	}
	_, err = v.try(f)
	return err
}

func (v *Vault) try(f func(*conn) error) (*conn, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	switch {
	case v.closed:
		return nil, errClosed
	case v.conn == nil:
		return nil, errLost
	}
	err := f(v.conn)
	if isStale(err) {
		if err = v.conn.check(); err == nil { // so somebody else has deleted it
			err = f(v.conn)
		}
	}
	return v.conn, err
}

// reconnect replaces the login in which f found that it is lost, unless another
// call has. It waits for the calls under way, which may still come to an end.
func (v *Vault) reconnect(used *conn, lost error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.closed:
		return errClosed
	case v.conn != nil && v.conn != used:
		return nil
	case errors.Is(v.failure, errRefused):
		return v.failure
	case v.now().Sub(v.tried) < retryAfter:
		if v.failure != nil {
			return v.failure
		}
		return lost
	}
	v.tried = v.now()
	if v.conn != nil {
		v.conn.close()
	}
	v.conn, v.failure = connect(&v.config)
	if v.failure != nil && !errors.Is(v.failure, errRefused) {
		// A file that is not there must not look like a key that is not there.
		v.failure = errors.New("the login was lost, and a new one failed: " + strings.TrimPrefix(v.failure.Error(), "hsm: "))
	}
	return v.failure
}
