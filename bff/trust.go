package bff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/internal/admin"
	"github.com/onbehalf-dev/onbehalf/bff/internal/feed"
	"github.com/onbehalf-dev/onbehalf/bff/internal/keys"
	"github.com/onbehalf-dev/onbehalf/bff/internal/state"
	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// openWithin is how long New waits for the store's content.
const openWithin = 30 * time.Second

// trust is what the edge has in common with its replicas and tells services:
// who may sign, and what is revoked.
type trust struct {
	store     *store.Store
	state     *state.State
	authority *keys.Authority
	feed      *feed.Server
	token     admin.Token
	outage    time.Duration
	held      held

	superseded atomic.Bool // somebody else has changed this replica's keys
	stop       func()
}

func (c *Config) storeSettings(o *options) store.Settings {
	settings := store.Settings{
		URL: c.Store.URL, Credentials: c.Store.Credentials,
		CA: c.Store.CA, Cert: c.Store.Cert, Key: c.Store.Key, Replicas: c.Store.Replicas,
		Logger: o.log, Now: o.now,
	}
	if settings.URL == "" {
		settings.Dir = filepath.Join(c.DataDir, "store")
	}
	return settings
}

// RestoreStore replaces what is in the store of cfg by a backup. All edges must
// be stopped. Principals that were issued before are refused afterwards: what was
// revoked since the backup is not known any more.
func RestoreStore(ctx context.Context, cfg *Config, backup io.Reader) error {
	o := newOptions(nil)
	c, err := cfg.checked(o)
	if err != nil {
		return err
	}
	if err := keys.OpenDir(c.DataDir); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	return store.Restore(ctx, c.storeSettings(o), backup)
}

// staticKey returns the signer of a named key, or nil.
func (c *Config) staticKey() (*principal.Signer, error) {
	if c.SigningKey == "" {
		return nil, nil
	}
	key, err := keyset.ReadPrivateKey(c.SigningKey)
	if err != nil {
		return nil, err
	}
	return principal.NewSigner(c.Issuer, key, "")
}

// checkData looks at what is in the data directory, and changes nothing.
func (c *Config) checkData() error {
	if _, err := os.Stat(c.DataDir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := keys.CheckFiles(c.DataDir)
	if _, e := admin.ReadToken(c.DataDir); !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	if err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	return nil
}

// openTrust opens the store, waits for its content, and begins to follow it.
func (s *Server) openTrust(c *Config, o *options) (err error) {
	t := &trust{outage: c.Store.Outage, stop: func() {}}
	s.trust = t
	if err := keys.OpenDir(c.DataDir); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	if t.token, err = admin.OpenToken(c.DataDir); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	opening, cancel := context.WithTimeout(context.Background(), openWithin)
	defer cancel()
	if t.store, err = store.Open(opening, c.storeSettings(o)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	t.state = state.New(t.store, state.Options{
		Issuer: c.Issuer, Static: s.staticKeys(), Memory: c.Limits.RevocationMemory, Logger: o.log, Now: o.now,
	})
	t.feed = feed.New(t.state, s.feedOptions(c, o))

	life, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	t.stop = func() {
		stop()
		work.Wait()
	}
	work.Go(func() { _ = t.state.Run(life) })
	if err := t.state.Ready(opening); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	changed := make(chan struct{}, 1)
	t.state.OnChange(func() {
		t.held.review(t.state)
		select {
		case changed <- struct{}{}:
		default: // it has been said
		}
	})
	if t.authority, err = s.openAuthority(opening, c, o); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	work.Go(func() { t.superseded.Store(t.authority.Run(life) != nil) })
	work.Go(func() { t.giveUpKeys(life, changed) })
	select {
	case changed <- struct{}{}: // a key may have been revoked while this edge was down
	default:
	}
	return nil
}

// giveUpKeys has the edge sign with another key when the one that it signs with
// is revoked.
func (t *trust) giveUpKeys(ctx context.Context, changed <-chan struct{}) {
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		record := t.authority.Record()
		for _, k := range record.GetKeys() {
			ref := principal.KeyRef{Role: principal.RoleAuthority, Owner: record.GetIssuer(), ID: k.GetId()}
			if t.state.Revoked(revocation.Key(ref), time.Time{}) {
				_ = t.authority.Revoked(ctx, ref.ID) // it logs what goes wrong, and tries again
			}
		}
	}
}

func (s *Server) feedOptions(c *Config, o *options) feed.Options {
	return feed.Options{
		Identify: s.peers.identify, RequireCert: s.peers != nil, TrustDomain: c.TrustDomain,
		Issue: s.issue, Renew: s.renew, Enrolled: s.enrolled, Name: c.Presenter,
		MaxAge: c.Store.Outage, LinkKeyLife: c.Limits.LinkKeyLife, MaxWatchers: c.Limits.Watchers,
		Logger: o.log, Now: o.now,
	}
}

// openAuthority opens the keys with which the edge signs.
func (s *Server) openAuthority(ctx context.Context, c *Config, o *options) (*keys.Authority, error) {
	replica, err := keys.Replica(c.DataDir)
	if err != nil {
		return nil, err
	}
	vault := o.vault
	if vault == nil {
		if vault, err = keys.NewFiles(c.DataDir); err != nil {
			return nil, err
		}
	}
	return keys.Open(ctx, s.store, vault, keys.Options{
		Issuer: c.Issuer, Replica: replica, Life: c.Keys.Life, Lead: c.Keys.Lead, PrincipalLife: c.Limits.PrincipalLife,
		Static: s.static, Missing: s.feed.Missing, Logger: o.log, Now: o.now,
	})
}

// staticKeys are the public keys that come from the configuration.
func (s *Server) staticKeys() []principal.Key {
	static := s.links
	if s.static != nil {
		static = append(slices.Clip(static), s.static.Key())
	}
	return static
}

// close ends what New has begun, and then closes the store.
func (t *trust) close() error {
	t.stop()
	if t.store == nil {
		return nil
	}
	return t.store.Close()
}

// sorted returns s with its lists as principals carry them.
func (s Service) sorted() Service {
	s.Scopes, s.Roles = slices.Sorted(slices.Values(s.Scopes)), slices.Sorted(slices.Values(s.Roles))
	return s
}
