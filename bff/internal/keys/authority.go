package keys

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

const (
	defaultLife          = 30 * 24 * time.Hour
	minLife              = time.Minute
	defaultLead          = 25 * time.Minute
	defaultPrincipalLife = 5 * time.Minute
	defaultSettle        = 10 * time.Second

	// spare is how much longer than the principals that it signed a key verifies.
	spare = 60 * time.Second
	// skew is how far a service's clock may be behind.
	skew = 30 * time.Second
	// suspension is how long a signature waits for the key after a revoked one.
	suspension = 2 * time.Second
)

var (
	// ErrSuperseded says that another process has changed the keys of this
	// replica. This one signs no more.
	ErrSuperseded = errors.New("keys: another process has changed the keys of this replica: two edges run on one data directory, or the store was restored; stop one, and start the other again")
	// ErrRevoked says that the key that signed was revoked, and that there is no
	// other yet.
	ErrRevoked = errors.New("keys: the signing key was revoked, and the next one is not published yet")
	// ErrStatic says that a key is not the edge's to rotate.
	ErrStatic = errors.New("keys: signing_key names the key: it is not rotated; name another file, and start the edge again")

	errBusy = errors.New("keys: the signing key changes all the time")

	storeKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// Store keeps the records of all replicas. A [store.Store] is one.
type Store interface {
	Get(ctx context.Context, key string) (store.Entry, error)
	Create(ctx context.Context, key string, value []byte) (sequence uint64, err error)
	Update(ctx context.Context, key string, value []byte, last uint64) (sequence uint64, err error)
}

// Options are those of an [Authority].
type Options struct {
	// Issuer is the name in which it signs. Required.
	Issuer string
	// Replica is whose keys they are; see [Replica]. Required.
	Replica string
	// Life is for how long a key is made: 30 days by default, at least a minute.
	Life time.Duration
	// Lead is how long the next key is published before it signs although
	// somebody has not got it: 25 minutes by default, at most half of Life. It
	// begins anew when the process does, so that a clock that jumps meanwhile does
	// not cut it short.
	Lead time.Duration
	// PrincipalLife is how long principals are valid at most: 5 minutes by default.
	PrincipalLife time.Duration
	// Static signs instead of the vault's keys. It is published as they are, and
	// not rotated.
	Static *principal.Signer
	// Missing returns how many of those who follow the feed have not got what the
	// store had at a sequence. Without it, nobody is known to have a key before
	// the lead has passed.
	Missing func(sequence uint64) int
	// Settle is how long after a start, but for the first one, Missing is not
	// believed: services have yet to connect again. Default: 10 seconds.
	Settle time.Duration
	// Logger is told of all changes. Default: nobody.
	Logger *slog.Logger
	// Now is the clock of the records, time.Now by default. It may jump.
	Now func() time.Time
	// Elapsed is a clock that does not jump, with any beginning. Default: the
	// difference between two results of Now, which for time.Now is monotonic.
	Elapsed func() time.Duration
	// After is time.After by default.
	After func(d time.Duration) <-chan time.Time
}

func (o *Options) complete() error {
	o.Life = or(o.Life, defaultLife)
	o.Lead = or(o.Lead, min(defaultLead, o.Life/2))
	o.PrincipalLife = or(o.PrincipalLife, defaultPrincipalLife)
	o.Settle = or(o.Settle, defaultSettle)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Elapsed == nil {
		now, start := o.Now, o.Now()
		o.Elapsed = func() time.Duration { return now().Sub(start) }
	}
	if o.After == nil {
		o.After = time.After
	}
	switch {
	case o.Issuer == "":
		return errors.New("keys: no issuer")
	case !storeKey.MatchString(o.Replica):
		return errors.New("keys: no replica")
	case o.Static != nil && o.Static.Key().Owner != o.Issuer:
		return errors.New("keys: signing_key signs in another name than the issuer's")
	case o.Life < minLife:
		return fmt.Errorf("keys: a life of %v is less than %v", o.Life, minLife)
	case o.Lead < 0 || o.Lead > o.Life/2:
		return fmt.Errorf("keys: a lead of %v is not between 0 and half of the life, %v", o.Lead, o.Life/2)
	case o.PrincipalLife < 0:
		return errors.New("keys: a negative life of principals")
	}
	return nil
}

func or(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// Authority is the keys of one replica. It is safe for concurrent use.
type Authority struct {
	Options

	store Store
	vault Vault
	key   string // of the record
	log   *slog.Logger

	signing atomic.Pointer[signing]
	shown   atomic.Pointer[bffv1.AuthorityRecord]
	awaited atomic.Uint64 // the sequence of the next key, or 0
	wake    chan struct{}
	started time.Duration

	// busy is held by whoever changes the record, and guards what follows.
	busy     chan struct{}
	record   *bffv1.AuthorityRecord
	sequence uint64
	// attempts are the hashes of records that may have been written although the
	// store did not say so.
	attempts map[[sha256.Size]byte]bool
	checked  time.Duration // when the store was last asked
	active   event
	next     event
	retired  map[string]time.Duration // when they leave the record
	revoked  map[string]bool          // those that have yet to leave it
	trash    map[string]bool          // what has yet to be deleted from the vault
	signers  map[string]*principal.Signer
	unused   *principal.Signer // made, and not published yet
	overdue  time.Duration     // when the last complaint was; 0 is never
}

// event says since when this process knows that a key is in its state.
type event struct {
	id       string
	at       time.Duration
	sequence uint64
}

// signing is who signs now.
type signing struct {
	signer *principal.Signer
	err    error
	until  chan struct{} // if not nil, it is worth waiting for its end
}

// Sign signs with the key that is active now; see [principal.Signer.Sign]. A call
// that comes while a revoked key is replaced waits, for 2 seconds at most.
func (a *Authority) Sign(p *principalv1.Principal) (header string, err error) {
	for range 8 {
		s := a.signing.Load()
		if s.until != nil {
			select {
			case <-s.until:
			case <-a.After(suspension):
			}
			if s == a.signing.Load() {
				return "", s.err
			}
			continue
		}
		if s.err != nil {
			return "", s.err
		}
		header, err := s.signer.Sign(p)
		// A key that has ceased to be the active one meanwhile has not signed.
		if s == a.signing.Load() {
			return header, err
		}
	}
	return "", errBusy
}

// Record returns a copy of what is published of this replica's keys.
func (a *Authority) Record() *bffv1.AuthorityRecord { return proto.CloneOf(a.shown.Load()) }

// MissingNext returns how many of those who follow the feed have not got the
// next key; 0 if there is none.
func (a *Authority) MissingNext() int {
	if sequence := a.awaited.Load(); sequence != 0 && a.Missing != nil {
		return a.Missing(sequence)
	}
	return 0
}

// lock waits for its turn to change the record, unless that is over.
func (a *Authority) lock(ctx context.Context) error {
	select {
	case a.busy <- struct{}{}:
		if errors.Is(a.signing.Load().err, ErrSuperseded) {
			a.unlock()
			return ErrSuperseded
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *Authority) unlock() { <-a.busy }

// sign makes s the one who signs, unless this process has been superseded.
func (a *Authority) sign(s *signing) {
	old := a.signing.Load()
	if old != nil && errors.Is(old.err, ErrSuperseded) {
		return
	}
	a.signing.Store(s)
	if old != nil && old.until != nil {
		close(old.until)
	}
}

// grace is how long a key verifies after it has signed for the last time.
func (a *Authority) grace() time.Duration { return a.PrincipalLife + spare }
