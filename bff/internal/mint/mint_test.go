package mint_test

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/internal/mint"
)

var (
	relay  = mint.Spec{Audience: "mesh:test"}
	linked = mint.Spec{Audience: "orders", Linked: true, MaxLinks: 6}
	once   = mint.Spec{Audience: "orders", Linked: true, MaxLinks: 6, PerRequest: true}
)

// world is a minter, and all that it asks.
type world struct {
	*mint.Minter

	t     *testing.T
	start time.Time
	at    atomic.Int64

	revocations      revocations
	verified, signed atomic.Int32
	life             time.Duration // of credentials
	authenticate     func(ctx context.Context, h http.Header) (*authn.Result, error)
	sign             func(p *principalv1.Principal) (string, error)
}

func newWorld(t *testing.T, entries int) *world {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := principal.NewSigner("https://edge.test", key, "")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, start: time.Unix(1_800_000_000, 0), life: time.Hour, sign: signer.Sign}
	w.authenticate = w.believe
	w.Minter = mint.New(mint.Settings{
		Authenticator: w, Signer: signFunc(func(p *principalv1.Principal) (string, error) {
			w.signed.Add(1)
			return w.sign(p)
		}),
		Revocations: &w.revocations, Memory: 24 * time.Hour, Issuer: "https://edge.test",
		Presenter: "edge", Life: 5 * time.Minute, Window: time.Minute, Entries: entries, Now: w.now,
	})
	return w
}

type signFunc func(p *principalv1.Principal) (string, error)

func (f signFunc) Sign(p *principalv1.Principal) (string, error) { return f(p) }

func (w *world) now() time.Time          { return w.start.Add(time.Duration(w.at.Load())) }
func (w *world) advance(d time.Duration) { w.at.Add(int64(d)) }

func (w *world) CredentialHeaders() []string { return []string{"Authorization", "X-Api-Key"} }

func (w *world) Authenticate(ctx context.Context, h http.Header) (*authn.Result, error) {
	w.verified.Add(1)
	return w.authenticate(ctx, h)
}

// believe takes every credential for that of a human of its name.
func (w *world) believe(_ context.Context, h http.Header) (*authn.Result, error) {
	if len(h) == 0 {
		return nil, authn.ErrNoCredential
	}
	return &authn.Result{
		Principal: &principalv1.Principal{
			Subject: &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: cmp.Or(h.Get("Authorization"), h.Get("X-Api-Key"))}},
			Scopes:  []string{"orders:read"},
		},
		ExpiresAt: w.start.Add(w.life),
		IssuedAt:  w.start,
	}, nil
}

// revocations are those of a test.
type revocations struct {
	mu      sync.Mutex
	events  uint64
	revoked map[revocation.Target]time.Time
}

func (r *revocations) revoke(t revocation.Target, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.revoked == nil {
		r.revoked = make(map[revocation.Target]time.Time)
	}
	r.revoked[t] = at
	r.events++
}

func (r *revocations) Sequence() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return 100 + r.events
}

func (r *revocations) Generation() uint64 { return r.Sequence() }

func (r *revocations) Revoked(t revocation.Target, issued time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.revoked[t]
	return ok && !issued.After(at)
}

func (w *world) mint(name string, spec mint.Spec) *mint.Minted {
	w.t.Helper()
	m, err := w.Mint(w.t.Context(), credential(name), spec)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *world) counts(verified, signed int32) {
	w.t.Helper()
	if v, s := w.verified.Load(), w.signed.Load(); v != verified || s != signed {
		w.t.Errorf("%d verifications and %d signatures, want %d and %d", v, s, verified, signed)
	}
}

func credential(name string) http.Header { return http.Header{"Authorization": {name}} }

func TestWhatIsMinted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		spec mint.Spec
		life time.Duration
		want *principalv1.Principal
	}{
		{"relay", relay, time.Hour, &principalv1.Principal{Audience: "mesh:test", ExpiresAt: 300, StreamUntil: 3600}},
		{"linked", linked, time.Hour, &principalv1.Principal{Audience: "orders", Presenter: "edge", MaxLinks: 6, ExpiresAt: 300, StreamUntil: 3600}},
		{"no links", mint.Spec{Audience: "orders", Linked: true}, time.Hour, &principalv1.Principal{
			Audience: "orders", Presenter: "edge", ExpiresAt: 300, StreamUntil: 3600,
		}},
		{"short credential", relay, 90 * time.Second, &principalv1.Principal{Audience: "mesh:test", ExpiresAt: 90, StreamUntil: 90}},
		{"part of a second", relay, 1900 * time.Millisecond, &principalv1.Principal{Audience: "mesh:test", ExpiresAt: 1, StreamUntil: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 10)
			w.life = tt.life
			m := w.mint("alice", tt.spec)
			tt.want.Subject = &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: "alice"}}
			tt.want.Scopes = []string{"orders:read"}
			tt.want.IssuedAt = w.start.Unix()
			tt.want.ExpiresAt += w.start.Unix()
			tt.want.StreamUntil += w.start.Unix()
			tt.want.RevocationSequence = 100
			got := m.Principal
			if len(got.GetId()) != 16 {
				t.Error("no id")
			}
			if d := gocmp.Diff(tt.want, got, protocmp.Transform(), protocmp.IgnoreFields(got, "id")); d != "" {
				t.Error(d)
			}
			if !m.Until.Equal(w.start.Add(tt.life)) {
				t.Error("until", m.Until)
			}
		})
	}
}

// What an authenticator has no say in is not taken from it.
func TestFieldsOfTheMinter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.authenticate = func(ctx context.Context, h http.Header) (*authn.Result, error) {
		r, err := w.believe(ctx, h)
		p := r.Principal
		p.Id, p.Issuer, p.Audience, p.Presenter = make([]byte, 16), "https://evil.test", "payments", "evil"
		p.IssuedAt, p.ExpiresAt, p.StreamUntil, p.MaxLinks = 1, 1<<40, 1<<40, 5
		p.TransactionId, p.RevocationSequence, p.Commitment = make([]byte, 16), 9, make([]byte, 16)
		return r, err
	}
	p := w.mint("alice", relay).Principal
	if slices.Equal(p.GetId(), make([]byte, 16)) || p.GetIssuer() != "" || p.GetAudience() != "mesh:test" || p.GetPresenter() != "" ||
		p.GetExpiresAt() != w.start.Unix()+300 || p.GetMaxLinks() != 0 || p.GetTransactionId() != nil ||
		p.GetRevocationSequence() != 100 || p.GetCommitment() != nil {
		t.Error(p)
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	first := w.mint("alice", relay)
	w.advance(59 * time.Second)
	if w.mint("alice", relay) != first {
		t.Error("not shared within the window")
	}
	w.counts(1, 1)
	w.advance(time.Second)
	if w.mint("alice", relay).Header == first.Header {
		t.Error("shared after the window")
	}
	w.counts(2, 2)
}

// A header that is minted late in a window does not make the window longer.
func TestWindowIsOfTheCredential(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.mint("alice", relay)
	w.advance(59 * time.Second)
	late := w.mint("alice", linked)
	w.counts(1, 2)
	w.advance(time.Second)
	if w.mint("alice", linked) == late {
		t.Error("the credential was not verified again")
	}
	w.counts(2, 3)
}

func TestWhatIsShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	seen := make(map[string]string)
	for name, mint := range map[string]func() *mint.Minted{
		"alice, relay":            func() *mint.Minted { return w.mint("alice", relay) },
		"alice, linked":           func() *mint.Minted { return w.mint("alice", linked) },
		"alice, another service":  func() *mint.Minted { s := linked; s.Audience = "payments"; return w.mint("alice", s) },
		"alice, fewer links":      func() *mint.Minted { s := linked; s.MaxLinks = 1; return w.mint("alice", s) },
		"bob, relay":              func() *mint.Minted { return w.mint("bob", relay) },
		"alice, once":             func() *mint.Minted { return w.mint("alice", once) },
		"alice, another once":     func() *mint.Minted { return w.mint("alice", once) },
		"alice, in another place": func() *mint.Minted { return w.other(http.Header{"X-Api-Key": {"alice"}}) },
		"alice, twice":            func() *mint.Minted { return w.other(http.Header{"Authorization": {"alice", "alice"}}) },
		"alice, in two places":    func() *mint.Minted { return w.other(http.Header{"Authorization": {"alice"}, "X-Api-Key": {"alice"}}) },
	} {
		m := mint()
		if other, ok := seen[m.Header]; ok {
			t.Errorf("%s has the header of %s", name, other)
		}
		seen[m.Header] = name
	}
	w.counts(5, 10)
}

func (w *world) other(h http.Header) *mint.Minted {
	w.t.Helper()
	m, err := w.Mint(w.t.Context(), h, relay)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func TestPerRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	a, b := w.mint("alice", once).Principal, w.mint("alice", once).Principal
	if len(a.GetTransactionId()) != 16 || slices.Equal(a.GetTransactionId(), b.GetTransactionId()) || slices.Equal(a.GetId(), b.GetId()) {
		t.Error(a, b)
	}
	w.counts(1, 2)
}

// In its last minute, a principal is not shared: services pass it on.
func TestCredentialNearItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.life = 90 * time.Second
	first := w.mint("alice", relay)
	w.advance(29 * time.Second)
	if w.mint("alice", relay) != first {
		t.Error("not shared")
	}
	w.advance(time.Second)
	if w.mint("alice", relay) == first {
		t.Error("shared in its last minute")
	}
	w.counts(1, 2)
}

func TestExpiredCredential(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		life, advance time.Duration
	}{
		"before it came":               {life: -time.Second},
		"now":                          {life: 0},
		"within this second":           {life: 900 * time.Millisecond},
		"while it was remembered":      {life: 50 * time.Second, advance: 50 * time.Second},
		"without an end in the result": {life: -1 << 62},
	} {
		for _, spec := range []mint.Spec{relay, linked, once} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, 10)
				w.life = tt.life
				if tt.advance > 0 {
					w.mint("alice", spec)
				}
				w.advance(tt.advance)
				m, err := w.Mint(t.Context(), credential("alice"), spec)
				if refused, ok := errors.AsType[*authn.Error](err); m != nil || !ok || refused.Reason != authn.ReasonTime {
					t.Error(m, err)
				}
			})
		}
	}
}

// A clock that is set back must not keep what was made in its future.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	future := w.mint("alice", relay)
	w.advance(-time.Hour)
	if m := w.mint("alice", relay); m == future || m.Principal.GetIssuedAt() != w.now().Unix() {
		t.Error(m)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	refused := &authn.Error{Reason: authn.ReasonSignature}
	broken := errors.New("broken")
	for _, tt := range []struct {
		name         string
		authenticate func() (*authn.Result, error)
		want         error
	}{
		{"none", func() (*authn.Result, error) { return nil, authn.ErrNoCredential }, authn.ErrNoCredential},
		{"refused", func() (*authn.Result, error) { return nil, refused }, refused},
		{"unavailable", func() (*authn.Result, error) { return nil, broken }, mint.ErrVerifying},
		{"nothing", func() (*authn.Result, error) { return nil, nil }, mint.ErrVerifying},
		{"nobody", func() (*authn.Result, error) { return new(authn.Result), nil }, mint.ErrVerifying},
		{"panic", func() (*authn.Result, error) { panic("secret") }, mint.ErrVerifying},
	} {
		for _, h := range []http.Header{credential("alice"), {}} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, 10)
				w.authenticate = func(context.Context, http.Header) (*authn.Result, error) { return tt.authenticate() }
				for range 2 { // errors are not remembered
					m, err := w.Mint(t.Context(), h, relay)
					if m != nil || !errors.Is(err, tt.want) {
						t.Error(m, err)
					}
				}
				w.counts(2, 0)
			})
		}
	}
}

// A signature that fails is an error, and the next request tries again.
func TestSigningFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	works := w.sign
	w.sign = func(*principalv1.Principal) (string, error) { return "", errors.New("the HSM is gone") }
	for _, spec := range []mint.Spec{relay, once} {
		if m, err := w.Mint(t.Context(), credential("alice"), spec); m != nil || !errors.Is(err, mint.ErrSigning) {
			t.Error(m, err)
		}
	}
	w.sign = works
	w.mint("alice", relay)
	w.counts(1, 3)
}

// An authenticator sees no other headers than its own: what it says is shared
// by all requests with these.
func TestOtherHeadersAreNotShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.authenticate = func(ctx context.Context, h http.Header) (*authn.Result, error) {
		if len(h) != 1 {
			t.Error(h)
		}
		return w.believe(ctx, h)
	}
	if _, err := w.Mint(t.Context(), http.Header{"Authorization": {"alice"}, "X-Tenant": {"other"}}, relay); err != nil {
		t.Fatal(err)
	}
}

func TestBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	w.mint("alice", relay)
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		w.mint(name, relay)
		w.mint("alice", relay) // who is in use stays
	}
	w.counts(6, 6)
	for _, name := range []string{"v", "w", "x", "y", "z"} {
		w.mint(name, relay)
	}
	w.mint("alice", relay)
	w.counts(12, 12)
}

// Requests that come at the same time share one verification and one signature.
func TestConcurrentFirstRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10)
		verify := make(chan struct{})
		w.authenticate = func(ctx context.Context, h http.Header) (*authn.Result, error) {
			<-verify
			return w.believe(ctx, h)
		}
		minted := make([]*mint.Minted, 50)
		var wg sync.WaitGroup
		for i := range minted {
			wg.Go(func() { minted[i] = w.mint("alice", relay) })
		}
		synctest.Wait()
		close(verify)
		wg.Wait()
		for _, m := range minted {
			if m != minted[0] {
				t.Fatal("not shared")
			}
		}
		w.counts(1, 1)
	})
}

// The verification that a request began goes on for the others when its client
// leaves; who waits does not wait for ever.
func TestLeavingDuringVerification(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 10)
		w.authenticate = func(ctx context.Context, h http.Header) (*authn.Result, error) {
			select {
			case <-time.After(time.Second):
				return w.believe(ctx, h)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		ctx, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := w.Mint(ctx, credential("alice"), relay); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		synctest.Wait()
		wg.Go(func() { w.mint("alice", relay) })
		synctest.Wait()
		leave()
		wg.Wait()
		w.counts(1, 1)

		w.authenticate = func(ctx context.Context, _ http.Header) (*authn.Result, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		begun := time.Now()
		if _, err := w.Mint(t.Context(), credential("bob"), relay); !errors.Is(err, mint.ErrVerifying) || time.Since(begun) > time.Minute {
			t.Error(err, time.Since(begun))
		}
	})
}

func BenchmarkMint(b *testing.B) {
	w := newWorld(new(testing.T), 10)
	h := http.Header{"Authorization": {"Bearer " + string(make([]byte, 900))}}
	w.authenticate = func(ctx context.Context, _ http.Header) (*authn.Result, error) {
		return w.believe(ctx, credential("alice"))
	}
	for _, spec := range []struct {
		mint.Spec

		name string
	}{{relay, "window"}, {once, "request"}} {
		b.Run(spec.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Mint(b.Context(), h, spec.Spec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
