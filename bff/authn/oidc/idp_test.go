package oidc_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
)

const (
	audience = "https://api.example"
	subject  = "248289761001"
)

// object is a JSON object.
type object = map[string]any

// idp is a provider: discovery, a key set, and tokens with anything in them.
// Once it is in use, its fields are set with [idp.change].
type idp struct {
	url string

	mu   sync.RWMutex // guards what follows
	keys []*key

	metadata  object        // replaces members of the discovery document
	discovery http.Handler  // replaces discovery
	jwks      http.Handler  // replaces the key set
	latency   time.Duration // of the key set

	down atomic.Bool

	discoveries, fetches, inFlight, mostInFlight atomic.Int64
}

type key struct {
	id, alg string
	signer  crypto.Signer
}

// newRSA is slow and returns the same key each time.
var newRSA = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) })

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newKey(id, alg string) *key {
	switch alg {
	case "RS256":
		return &key{id, alg, newRSA()}
	case "ES256":
		return &key{id, alg, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	case "EdDSA":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return &key{id, alg, must(private, err)}
	default:
		panic("unknown algorithm " + alg)
	}
}

func (k *key) jwk() object {
	raw := must(jose.JSONWebKey{Key: k.signer.Public(), KeyID: k.id, Algorithm: k.alg, Use: "sig"}.MarshalJSON())
	var o object
	if err := json.Unmarshal(raw, &o); err != nil {
		panic(err)
	}
	return o
}

// newIDP is a provider on the loopback interface, with one EdDSA key.
func newIDP(tb testing.TB, keys ...*key) *idp {
	tb.Helper()
	p := newLocalIDP("", keys...)
	server := httptest.NewServer(p)
	tb.Cleanup(server.Close)
	p.url = server.URL
	return p
}

// newLocalIDP is a provider that is reached through [idp.client] only.
func newLocalIDP(url string, keys ...*key) *idp {
	if keys == nil {
		keys = []*key{newKey("k1", "EdDSA")}
	}
	return &idp{url: url, keys: keys}
}

func (p *idp) change(set func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	set()
}

func (p *idp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.RLock()
	metadata, discovery, jwks, latency, keys := p.metadata, p.discovery, p.jwks, p.latency, p.keys
	p.mu.RUnlock()
	if p.down.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		p.discoveries.Add(1)
		if discovery != nil {
			discovery.ServeHTTP(w, r)
			return
		}
		document := object{"issuer": p.url, "jwks_uri": p.url + "/keys"}
		maps.Copy(document, metadata)
		_ = json.NewEncoder(w).Encode(document)
	case "/keys":
		p.fetches.Add(1)
		n := p.inFlight.Add(1)
		defer p.inFlight.Add(-1)
		p.mostInFlight.Store(max(n, p.mostInFlight.Load()))
		if latency > 0 {
			<-time.After(latency)
		}
		if jwks != nil {
			jwks.ServeHTTP(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(object{"keys": jwkSet(keys)})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func jwkSet(keys []*key) []object {
	var set []object
	for _, k := range keys {
		set = append(set, k.jwk())
	}
	return set
}

// client reaches providers without a network, each under its URL.
func client(providers ...*idp) *http.Client {
	return &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		for _, p := range providers {
			if strings.HasPrefix(r.URL.String(), p.url+"/") {
				w := httptest.NewRecorder()
				p.ServeHTTP(w, r)
				return w.Result(), nil
			}
		}
		return nil, errors.New("no such host")
	})}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// config believes of a token's kind what the claim kind says.
func (p *idp) config() oidc.Issuer {
	return oidc.Issuer{
		Issuer:   p.url,
		Audience: []string{audience},
		Kinds: []oidc.KindRule{
			{Kind: oidc.KindHuman, When: oidc.Condition{Claim: "kind", Equals: "human"}},
			{Kind: oidc.KindAgent, When: oidc.Condition{Claim: "kind", Equals: "agent"}},
			{Kind: oidc.KindService, When: oidc.Condition{Claim: "kind", Equals: "service"}},
		},
		Service: oidc.Service{Claim: "client_id"},
	}
}

// token is signed by the first key, and good but for the edits.
func (p *idp) token(now time.Time, edits ...func(header, claims object)) string {
	k := p.keys[0]
	header := object{"alg": k.alg, "kid": k.id, "typ": "at+jwt"}
	claims := object{
		"iss": p.url, "sub": subject, "aud": audience, "iat": now.Unix(), "exp": now.Unix() + 300,
		"jti": "token-1", "client_id": "web", "scope": "orders:read", "kind": "human",
	}
	for _, edit := range edits {
		edit(header, claims)
	}
	return k.sign(string(must(json.Marshal(header))), string(must(json.Marshal(claims))))
}

func (k *key) sign(header, claims string) string {
	input := encode([]byte(header)) + "." + encode([]byte(claims))
	return input + "." + encode(k.signature([]byte(input)))
}

func (k *key) signature(input []byte) []byte {
	sum := sha256.Sum256(input)
	switch signer := k.signer.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, signer, sum[:])
		must(r, err)
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case ed25519.PrivateKey:
		return ed25519.Sign(signer, input)
	default:
		return must(signer.Sign(rand.Reader, sum[:], crypto.SHA256))
	}
}

func hmacSHA256(secret []byte, header, claims string) string {
	input := encode([]byte(header)) + "." + encode([]byte(claims))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + encode(mac.Sum(nil))
}

var rawURL = base64.RawURLEncoding

func encode(b []byte) string { return rawURL.EncodeToString(b) }

// set and without edit claims, header a header.
func set(name string, value any) func(header, claims object) {
	return func(_, claims object) { claims[name] = value }
}

func without(name string) func(header, claims object) {
	return func(_, claims object) { delete(claims, name) }
}

func header(name string, value any) func(header, claims object) {
	return func(header, _ object) { header[name] = value }
}

// clock stands still unless it is moved.
type clock struct{ seconds atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.seconds.Store(time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC).Unix())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(c.seconds.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.seconds.Add(int64(d / time.Second)) }

// start returns an authenticator that is closed when the test ends.
func start(tb testing.TB, issuers []oidc.Issuer, opts ...oidc.Option) *oidc.Authenticator {
	tb.Helper()
	a, err := oidc.New(tb.Context(), issuers, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := a.Close(); err != nil {
			tb.Error(err)
		}
	})
	return a
}

func authenticate(ctx context.Context, a authn.Authenticator, token string) (*authn.Result, error) {
	return a.Authenticate(ctx, http.Header{"Authorization": {"Bearer " + token}})
}

// checkRefused wants one reason, and nothing of the token in any way the error
// can be printed.
func checkRefused(tb testing.TB, result *authn.Result, err error, token string, want authn.Reason) {
	tb.Helper()
	refusal, ok := errors.AsType[*authn.Error](err)
	if !ok || result != nil || refusal.Reason != want {
		tb.Errorf("got %v and error %v, want reason %v", result, err, want)
		return
	}
	printed := fmt.Sprintf("%v %+v %#v %q", err, err, err, err)
	secrets := []string{subject, "canary", "evil"}
	for segment := range strings.SplitSeq(token, ".") {
		if len(segment) > 8 {
			secrets = append(secrets, segment[:8])
		}
	}
	for _, secret := range secrets {
		if strings.Contains(printed, secret) {
			tb.Errorf("the error %s repeats %q", printed, secret)
		}
	}
}

func contextWithTimeout(tb testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	tb.Helper()
	return context.WithTimeout(tb.Context(), d)
}
