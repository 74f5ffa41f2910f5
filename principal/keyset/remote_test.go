package keyset_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"

	"github.com/google/go-cmp/cmp"
)

const jwksURL = "https://bff.internal:9443/.well-known/onbehalf/jwks.json"

var trust = keyset.Trust{Issuers: []string{edgeA}, Services: []string{"orders", "payments"}}

// server answers in the place of a network, in the time of a synctest bubble.
type server struct {
	mu      sync.Mutex
	body    []byte
	err     error
	latency time.Duration
	fetches int
	flying  int
	most    int // fetches at a time
}

func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.fetches++
	s.flying++
	s.most = max(s.most, s.flying)
	latency := s.latency
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.flying--
		s.mu.Unlock()
	}()
	if latency > 0 {
		timer := time.NewTimer(latency)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(s.body)), Request: req}, nil
}

func (s *server) serve(body []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body, s.err = body, err
}

func (s *server) slow(latency time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = latency
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches
}

// newRemote returns a set that fetches from s and is closed with the test.
func newRemote(t *testing.T, s *server, opts ...keyset.RemoteOption) *keyset.Remote {
	t.Helper()
	r, err := keyset.NewRemote(t.Context(), jwksURL, trust, append(opts, keyset.WithHTTPClient(&http.Client{Transport: s}))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// took returns how long f takes in the bubble's time.
func took(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

var errDown = errors.New("connection refused")

func TestRemoteFollowsTheServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k1, k2, orders := authority(t, edgeA, "k1"), authority(t, edgeA, "k2"), link(t, "orders", "k1")
		s := &server{body: marshal(t, k1, orders)}
		r := newRemote(t, s)
		if diff := cmp.Diff(&k1, find(t, r, k1.KeyRef), sameKeys); diff != "" {
			t.Error(diff)
		}
		version := r.Version()

		pass(time.Hour)
		if n := s.count(); n < 1+10 || n > 1+14 {
			t.Errorf("%d fetches in an hour", n)
		}
		s.serve(marshal(t, orders, k1), nil) // another order, the same content
		pass(10 * time.Minute)
		if r.Version() != version {
			t.Error("the version changed and the content did not")
		}

		s.serve(marshal(t, k2, k1, orders), nil)
		pass(10 * time.Minute)
		if find(t, r, k2.KeyRef) == nil || find(t, r, k1.KeyRef) == nil {
			t.Error("a new key is not found")
		}
		if r.Version() == version {
			t.Error("the content changed and the version did not")
		}

		version = r.Version()
		k1.NotAfter = time.Now().Add(time.Hour)
		s.serve(marshal(t, k2, k1, orders), nil)
		pass(10 * time.Minute)
		if r.Version() == version || find(t, r, k1.KeyRef).NotAfter.IsZero() {
			t.Error("a new window is not noticed")
		}

		s.serve(marshal(t, k2, orders), nil)
		pass(10 * time.Minute)
		if find(t, r, k1.KeyRef) != nil {
			t.Error("a removed key is found")
		}
	})
}

// C01, F05: made-up key ids cost the server one fetch in ten seconds, and those
// with good keys do not wait.
func TestC01UnknownKeysAreFetchedOncePerTenSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k1 := authority(t, edgeA, "k1")
		s := &server{body: marshal(t, k1), latency: 200 * time.Millisecond}
		r := newRemote(t, s)
		before := s.count()
		const seconds = 60
		var wg sync.WaitGroup
		for i := range 10_000 {
			wg.Go(func() {
				<-time.After(rand.N(seconds * time.Second))
				unknown := principal.KeyRef{Role: principal.RoleAuthority, Owner: edgeA, ID: "x" + strconv.Itoa(i)}
				if d := took(func() {
					if find(t, r, unknown) != nil {
						t.Error("found what is not there")
					}
				}); d > 200*time.Millisecond {
					t.Errorf("an unknown key waits for %v", d)
				}
				if d := took(func() { find(t, r, k1.KeyRef) }); d > 0 {
					t.Errorf("a known key waits for %v", d)
				}
			})
		}
		wg.Wait()
		if n := s.count() - before; n < seconds/11 || n > 1+seconds/10 {
			t.Errorf("%d fetches in %d s", n, seconds)
		}
		if s.most != 1 {
			t.Errorf("%d fetches at a time", s.most)
		}
	})
}

// G02: a key whose publication was missed is found when it is first used.
func TestRemoteFetchesAnUnknownKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k1, k2 := authority(t, edgeA, "k1"), authority(t, edgeA, "k2")
		s := &server{body: marshal(t, k1)}
		r := newRemote(t, s)
		s.serve(marshal(t, k1, k2), nil)
		s.slow(500 * time.Millisecond)
		before, version := s.count(), r.Version()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if find(t, r, k2.KeyRef) == nil {
					t.Error("not found")
				}
			})
		}
		wg.Wait()
		if n := s.count() - before; n != 1 {
			t.Errorf("%d fetches", n)
		}
		if r.Version() == version {
			t.Error("the version did not change")
		}
	})
}

func TestRemoteDoesNotWaitLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k1 := authority(t, edgeA, "k1")
		s := &server{body: marshal(t, k1)}
		r := newRemote(t, s)
		s.slow(time.Hour)
		unknown := principal.KeyRef{Role: principal.RoleAuthority, Owner: edgeA, ID: "x"}
		if d := took(func() { find(t, r, unknown) }); d != 2*time.Second {
			t.Errorf("waits for %v", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if d := took(func() {
			if key, err := r.Find(ctx, unknown); key != nil || err != nil {
				t.Error(key, err)
			}
		}); d != 300*time.Millisecond {
			t.Errorf("with a context of 300 ms waits for %v", d)
		}
		if d := took(func() { find(t, r, k1.KeyRef) }); d > 0 {
			t.Errorf("a known key waits for %v", d)
		}
	})
}

// C02, C06: the server cannot publish keys of names or roles that the
// configuration does not give it. A header that names them causes no fetch.
func TestC02C06RemoteAcceptsOnlyTrustedNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		untrusted := []principal.Key{
			authority(t, edgeB, "k1"),    // another issuer
			authority(t, "orders", "k1"), // a service as an issuer
			link(t, "ledger", "k1"),      // another service
		}
		s := &server{body: marshal(t, append(untrusted, authority(t, edgeA, "k1"), link(t, "orders", "k2"))...)}
		r := newRemote(t, s)
		before, version := s.count(), r.Version()
		refs := []principal.KeyRef{{}, {Role: principal.RoleLink, Owner: edgeA, ID: "k1"}, {Role: 3, Owner: edgeA, ID: "k1"}}
		for _, key := range untrusted {
			refs = append(refs, key.KeyRef)
		}
		for _, ref := range refs {
			if find(t, r, ref) != nil {
				t.Errorf("%v is accepted", ref)
			}
		}
		if find(t, r, authority(t, edgeA, "k1").KeyRef) == nil || find(t, r, link(t, "orders", "k2").KeyRef) == nil {
			t.Error("a trusted key is not accepted")
		}
		s.serve(marshal(t, authority(t, edgeA, "k1"), link(t, "orders", "k2")), nil)
		pass(10 * time.Minute)
		if n := s.count() - before; n > 3 {
			t.Errorf("%d fetches", n)
		}
		if r.Version() != version {
			t.Error("a key of another name changes the version")
		}
	})
}

func TestRemoteStartsBeforeItsServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		signer, err := principal.NewSigner(edgeA, edKey("authority "+edgeA+" k1"), "k1")
		if err != nil {
			t.Fatal(err)
		}
		s := &server{err: errDown}
		var r *keyset.Remote
		if d := took(func() { r = newRemote(t, s) }); d > 0 {
			t.Errorf("a refused connection holds NewRemote up for %v", d)
		}
		v, err := principal.NewVerifier("orders", r)
		if err != nil {
			t.Fatal(err)
		}
		p := principaltest.Human()
		p.Audience, p.Presenter = "orders", "bff"
		p.IssuedAt = time.Now().Unix()
		p.ExpiresAt = p.IssuedAt + 300
		header, err := signer.Sign(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), header); principal.ReasonOf(err) != principal.ReasonNoKeys || !errors.Is(err, errDown) {
			t.Errorf("before the server is there: %v", err)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errDown) {
			t.Errorf("Ready: %v", err)
		}
		if n := s.count(); n > 12 {
			t.Errorf("%d fetches in the first minute", n)
		}
		s.serve(marshal(t, authority(t, edgeA, "k1")), nil)
		if d := took(func() {
			if err := r.Ready(t.Context()); err != nil {
				t.Error(err)
			}
		}); d > 35*time.Second {
			t.Errorf("ready only after %v", d)
		}
		if _, err := v.Verify(t.Context(), header); err != nil {
			t.Error(err)
		}
	})
}

func TestNewRemoteDoesNotWaitLongForTheServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{latency: time.Hour}
		if d := took(func() { newRemote(t, s) }); d != 2*time.Second {
			t.Errorf("a server that hangs holds NewRemote up for %v", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s = &server{body: marshal(t, authority(t, edgeA, "k1")), latency: 5 * time.Second}
		r, err := keyset.NewRemote(ctx, jwksURL, trust, keyset.WithHTTPClient(&http.Client{Transport: s}))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if d := took(func() { // the context of NewRemote is over, the fetch is not
			if err := r.Ready(t.Context()); err != nil {
				t.Error(err)
			}
		}); d != 4*time.Second {
			t.Errorf("ready after %v more", d)
		}
	})
}

func TestRemoteKeepsTheLastGoodSet(t *testing.T) {
	t.Parallel()
	k1 := authority(t, edgeA, "k1")
	for name, tt := range map[string]struct {
		body   []byte
		err    error
		maxAge time.Duration
	}{
		"by default for a day": {nil, errDown, 24 * time.Hour},
		"no connection":        {nil, errDown, time.Hour},
		"no JSON":              {[]byte("<html>canary"), nil, time.Hour},
		"no set":               {[]byte(`{}`), nil, time.Hour},
		"a key twice":          {[]byte(`{"keys":[{"kid":"canary","kid":"b"}]}`), nil, time.Hour},
		"too large":            {bytes.Repeat([]byte(" "), 1<<20+1), nil, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				s := &server{body: marshal(t, k1)}
				opts := []keyset.RemoteOption{keyset.WithLogger(slog.New(slog.NewTextHandler(&log, nil)))}
				if tt.maxAge < 24*time.Hour {
					opts = append(opts, keyset.WithMaxAge(tt.maxAge))
				}
				r := newRemote(t, s, opts...)
				version := r.Version()
				s.serve(tt.body, tt.err)
				pass(tt.maxAge - time.Second)
				if find(t, r, k1.KeyRef) == nil || r.Version() != version {
					t.Error("the last good set does not serve")
				}
				pass(time.Second)
				if key, err := r.Find(t.Context(), k1.KeyRef); err == nil || key != nil {
					t.Errorf("when it is too old: %v, %v", key, err)
				}
				if r.Version() == version {
					t.Error("what was verified with keys that are too old stays in the cache")
				}
				if err := r.Ready(t.Context()); err == nil {
					t.Error("ready with keys that are too old")
				}

				s.serve(marshal(t, k1), nil)
				pass(time.Minute)
				if find(t, r, k1.KeyRef) == nil || r.Ready(t.Context()) != nil {
					t.Error("does not recover")
				}
				r.Close()
				if s := log.String(); !strings.Contains(s, "key set not fetched") || !strings.Contains(s, "too old") || strings.Contains(s, "canary") {
					t.Error(s)
				}
			})
		})
	}
}

func TestRemoteMaxAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k1 := authority(t, edgeA, "k1")
		s := &server{body: marshal(t, k1)}
		r := newRemote(t, s, keyset.WithRefresh(10*time.Second), keyset.WithMaxAge(time.Minute))
		pass(10 * time.Minute)
		if n := s.count(); n < 55 || n > 67 {
			t.Errorf("%d fetches in ten minutes", n)
		}
		s.serve(nil, errDown)
		pass(48 * time.Second)
		find(t, r, k1.KeyRef)
		version := r.Version()
		pass(13 * time.Second)
		if _, err := r.Find(t.Context(), k1.KeyRef); !errors.Is(err, errDown) || r.Version() == version {
			t.Errorf("after a minute: %v", err)
		}
	})
}

// The version of a set that is too old is not that of the set that follows it: a
// clock that goes forth and back must not make the two look the same.
func TestRemoteVersionOfOldSet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{body: marshal(t, authority(t, edgeA, "k1")), latency: 9 * time.Second}
		r := newRemote(t, s, keyset.WithRefresh(10*time.Second), keyset.WithMaxAge(20*time.Second))
		pass(10 * time.Second)
		s.serve(marshal(t, authority(t, edgeA, "k2")), nil)
		pass(12 * time.Second)
		if r.Ready(t.Context()) == nil {
			t.Fatal("the set is not too old yet")
		}
		old := r.Version()
		pass(8 * time.Second)
		if r.Ready(t.Context()) != nil || r.Version() == old {
			t.Error("the next set has the version of one that is too old")
		}
	})
}

// SPIFFE: an empty set means that all keys are revoked.
func TestRemoteEmptySetRevokesAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k1 := authority(t, edgeA, "k1")
		s := &server{body: marshal(t, k1)}
		r := newRemote(t, s)
		version := r.Version()
		s.serve([]byte(`{"keys":[]}`), nil)
		pass(10 * time.Minute)
		if find(t, r, k1.KeyRef) != nil || r.Version() == version || r.Ready(t.Context()) != nil {
			t.Error("an empty set is not taken over")
		}
	})
}

// One key that cannot be used does not break the others, also if it comes with
// its private half; and that is logged once.
func TestRemoteSkipsKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k1, k2 := authority(t, edgeA, "k1"), link(t, "orders", "k2")
		data := bytes.Replace(marshal(t, k1, k2), []byte(`"kid":"k2"`), []byte(`"kid":"k2","d":"canary"`), 1)
		var log bytes.Buffer
		s := &server{body: data}
		r := newRemote(t, s, keyset.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		pass(time.Hour)
		if find(t, r, k1.KeyRef) == nil || find(t, r, k2.KeyRef) != nil {
			t.Error("k1 is to be found, k2 is not")
		}
		r.Close()
		got := log.String()
		if strings.Count(got, "key 2 (k2): it is not only the public half") != 1 || strings.Contains(got, "canary") {
			t.Error(got)
		}
		if !strings.Contains(got, `names_without_key="[orders payments]"`) {
			t.Error(got)
		}
	})
}

func TestRemoteAfterClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k1 := authority(t, edgeA, "k1")
		s := &server{body: marshal(t, k1)}
		r := newRemote(t, s)
		unknown := principal.KeyRef{Role: principal.RoleAuthority, Owner: edgeA, ID: "x"}

		s.slow(time.Hour) // Close is not held up, nor is who waits
		done := make(chan time.Duration)
		go func() { done <- took(func() { find(t, r, unknown) }) }()
		synctest.Wait()
		if d := took(r.Close); d > 0 {
			t.Errorf("Close takes %v", d)
		}
		if d := <-done; d > 0 {
			t.Errorf("a caller waits for %v", d)
		}
		r.Close()

		before := s.count()
		pass(time.Hour)
		if d := took(func() { find(t, r, unknown) }); d > 0 || s.count() != before {
			t.Error("it fetches after Close")
		}
		if find(t, r, k1.KeyRef) == nil || r.Ready(t.Context()) != nil {
			t.Error("calls that are being finished are refused")
		}
		pass(24 * time.Hour)
		if _, err := r.Find(t.Context(), k1.KeyRef); err == nil {
			t.Error("after a day the keys still serve")
		}
	})
}

func TestRemoteClosedBeforeItWasLoaded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRemote(t, &server{latency: time.Hour})
		done := make(chan error)
		go func() { done <- r.Ready(t.Context()) }()
		synctest.Wait()
		r.Close()
		if err := <-done; err == nil {
			t.Error("ready without a set")
		}
		if _, err := r.Find(t.Context(), authority(t, edgeA, "k1").KeyRef); err == nil {
			t.Error("no error without a set")
		}
	})
}

func TestRemoteConcurrently(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k1, k2 := authority(t, edgeA, "k1"), authority(t, edgeA, "k2")
		s := &server{body: marshal(t, k1), latency: 10 * time.Millisecond}
		r := newRemote(t, s, keyset.WithRefresh(time.Second), keyset.WithMaxAge(time.Minute))
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 300 {
					switch i {
					case 0:
						s.serve(marshal(t, k1, []principal.Key{k2, link(t, "orders", "k1")}[j%2]), nil)
					case 1:
						r.Version()
						r.Ready(t.Context())
					default:
						if find(t, r, k1.KeyRef) == nil {
							t.Error("not found")
						}
						find(t, r, k2.KeyRef)
					}
					<-time.After(100 * time.Millisecond)
				}
			})
		}
		wg.Wait()
	})
}
