package oidc_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
)

// Ten thousand tokens, one each 6 ms, each with a key id of its own, against a
// provider that takes 200 ms; and good tokens all the while. Not parallel: it
// measures the memory of the process.
//
//nolint:paralleltest // see above
func TestF05UnknownKeyStampede(t *testing.T) {
	const tokens, every = 10_000, 6 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		p := newLocalIDP(local)
		p.latency = 200 * time.Millisecond
		began := time.Now()
		a := start(t, []oidc.Issuer{p.config()}, oidc.WithHTTPClient(client(p)))
		good := p.token(began)
		segments := strings.Split(good, ".")
		stop := make(chan struct{})
		var senders sync.WaitGroup
		senders.Go(func() {
			for {
				sent := time.Now()
				if _, err := authenticate(t.Context(), a, good); err != nil {
					t.Error(err)
				}
				if waited := time.Since(sent); waited != 0 {
					t.Errorf("a good token waited %v", waited)
				}
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var flood sync.WaitGroup
		for i := range tokens {
			flood.Go(func() {
				head := `{"alg":"EdDSA","typ":"at+jwt","kid":"` + strconv.Itoa(i) + `"}`
				token := encode([]byte(head)) + "." + segments[1] + "." + segments[2]
				if _, err := authenticate(t.Context(), a, token); err == nil {
					t.Error("accepted a key that nobody has")
				}
			})
			<-time.After(every)
		}
		flood.Wait()
		close(stop)
		senders.Wait()
		runtime.GC()
		runtime.ReadMemStats(&after)
		t.Logf("%d fetches, %d B", p.fetches.Load(), int64(after.HeapAlloc)-int64(before.HeapAlloc))

		seconds := time.Since(began).Seconds()
		if got, limit := p.fetches.Load(), 1+int64(seconds/10); got > limit || got < limit-1 {
			t.Errorf("%d fetches in %.0f s, want about %d", got, seconds, limit)
		}
		if got := p.mostInFlight.Load(); got != 1 {
			t.Errorf("%d fetches at the same time, want 1", got)
		}
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 256<<10 {
			t.Errorf("memory has grown by %d B", grown)
		}
	})
}

// The same over real connections, by a clock that is moved: the provider does
// not answer until all of the first second's tokens are there.
func TestF05OverHTTP(t *testing.T) {
	t.Parallel()
	p, c := newIDP(t), newClock()
	a := start(t, []oidc.Issuer{p.config()}, oidc.WithClock(c.now))
	good := p.token(c.now())
	release := make(chan struct{})
	p.change(func() {
		p.jwks = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			<-release
			_ = json.NewEncoder(w).Encode(object{"keys": jwkSet(p.keys)})
		})
	})
	c.advance(10 * time.Second)
	reasons := make(chan authn.Reason, 500)
	var flood sync.WaitGroup
	for i := range cap(reasons) {
		flood.Go(func() {
			token := p.token(c.now(), header("kid", strconv.Itoa(i)))
			reasons <- reasonOf(authenticate(t.Context(), a, token))
		})
	}
	// All but those that may wait for the fetch are refused at once.
	for range cap(reasons) - 64 {
		if got := <-reasons; got != authn.ReasonUnavailable {
			t.Errorf("a token too many got %v, want unavailable", got)
		}
	}
	if _, err := authenticate(t.Context(), a, good); err != nil {
		t.Errorf("a good token during a fetch: %v", err)
	}
	close(release)
	flood.Wait()
	for range 64 {
		if got := <-reasons; got != authn.ReasonKey {
			t.Errorf("a token that waited got %v, want key", got)
		}
	}
	for range 29 {
		c.advance(time.Second)
		for range 20 {
			if got := reasonOf(authenticate(t.Context(), a, p.token(c.now(), header("kid", rand.Text())))); got != authn.ReasonKey {
				t.Errorf("got %v, want key", got)
			}
		}
	}
	if got := p.fetches.Load(); got != 4 {
		t.Errorf("%d fetches, want the first and one for each ten seconds after 10 s", got)
	}
}

func reasonOf(_ *authn.Result, err error) authn.Reason {
	if refusal, ok := errors.AsType[*authn.Error](err); ok {
		return refusal.Reason
	}
	return 0
}

// A new key is taken at the first token that is signed with it.
func TestF05NewKeyIsFetched(t *testing.T) {
	t.Parallel()
	p, c := newIDP(t), newClock()
	a := start(t, []oidc.Issuer{p.config()}, oidc.WithClock(c.now))
	c.advance(10 * time.Second)
	k2 := newKey("k2", "ES256")
	p.change(func() { p.keys = []*key{k2, p.keys[0]} })
	if _, err := authenticate(t.Context(), a, p.token(c.now())); err != nil {
		t.Error(err)
	}
	k3 := newKey("k3", "ES256")
	p.change(func() { p.keys = []*key{k3, k2} })
	c.advance(9 * time.Second)
	if got := reasonOf(authenticate(t.Context(), a, p.token(c.now()))); got != authn.ReasonKey {
		t.Errorf("9 s later: got %v, want key", got)
	}
	c.advance(time.Second)
	if _, err := authenticate(t.Context(), a, p.token(c.now())); err != nil {
		t.Errorf("10 s later: %v", err)
	}
}

func TestF05WaitEndsWithTheRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newLocalIDP(local)
		a := start(t, []oidc.Issuer{p.config()}, oidc.WithHTTPClient(client(p)))
		p.change(func() { p.latency = time.Second })
		<-time.After(time.Minute)
		ctx, cancel := contextWithTimeout(t, 100*time.Millisecond)
		defer cancel()
		sent := time.Now()
		got := reasonOf(authenticate(ctx, a, p.token(time.Now(), header("kid", "new"))))
		if waited := time.Since(sent); got != authn.ReasonUnavailable || waited != 100*time.Millisecond {
			t.Errorf("got %v after %v, want unavailable after 100 ms", got, waited)
		}
	})
}

func TestF05BackgroundRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newLocalIDP(local)
		a := start(t, []oidc.Issuer{p.config()}, oidc.WithHTTPClient(client(p)))
		old := p.token(time.Now(), set("exp", time.Now().Unix()+3600))
		p.change(func() { p.keys = []*key{newKey("k2", "EdDSA")} })
		<-time.After(5*time.Minute + time.Second)
		if got := p.fetches.Load(); got != 2 {
			t.Errorf("%d fetches, want 2", got)
		}
		if _, err := authenticate(t.Context(), a, p.token(time.Now())); err != nil {
			t.Error(err)
		}
		if got := reasonOf(authenticate(t.Context(), a, old)); got != authn.ReasonKey {
			t.Errorf("a key that was withdrawn: got %v, want key", got)
		}
		if p.discoveries.Load() != 1 {
			t.Errorf("%d discoveries, want 1", p.discoveries.Load())
		}
	})
}

func TestF05LastGoodSetServesADay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newLocalIDP(local)
		a := start(t, []oidc.Issuer{p.config()}, oidc.WithHTTPClient(client(p)))
		p.down.Store(true)
		fetched := time.Now()
		<-time.After(24 * time.Hour)
		if _, err := authenticate(t.Context(), a, p.token(time.Now())); err != nil {
			t.Errorf("after a day: %v", err)
		}
		if got := reasonOf(authenticate(t.Context(), a, p.token(time.Now(), header("kid", "new")))); got != authn.ReasonUnavailable {
			t.Errorf("a new key during an outage: got %v, want unavailable", got)
		}
		<-time.After(time.Second)
		if got := reasonOf(authenticate(t.Context(), a, p.token(time.Now()))); got != authn.ReasonUnavailable {
			t.Errorf("%v after the last fetch: got %v, want unavailable", time.Since(fetched), got)
		}
		p.down.Store(false)
		<-time.After(time.Minute)
		if _, err := authenticate(t.Context(), a, p.token(time.Now())); err != nil {
			t.Errorf("a minute after the outage: %v", err)
		}
	})
}

// A provider that is down at the start delays nobody else, is asked again at
// growing intervals, and is used as soon as it is there.
func TestF05IssuerDownAtStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down, up := newLocalIDP(local), newLocalIDP("https://up.example")
		down.down.Store(true)
		var asked atomic.Int64
		reach := client(down, up)
		counting := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "idp.example" {
				asked.Add(1)
			}
			return reach.Transport.RoundTrip(r)
		})}
		a := start(t, []oidc.Issuer{down.config(), up.config()}, oidc.WithHTTPClient(counting))
		if _, err := authenticate(t.Context(), a, up.token(time.Now())); err != nil {
			t.Error(err)
		}
		token := down.token(time.Now())
		result, err := authenticate(t.Context(), a, token)
		checkRefused(t, result, err, token, authn.ReasonUnavailable)
		<-time.After(10 * time.Minute)
		if n := asked.Load(); n < 10 || n > 16 { // 1, 2, 4, … 32 s, then each minute
			t.Errorf("asked %d times in ten minutes", n)
		}
		down.down.Store(false)
		// The first request after it is back does not have to wait for the minute to end.
		if got := reasonOf(authenticate(t.Context(), a, down.token(time.Now()))); got != authn.ReasonUnavailable {
			t.Errorf("got %v, want unavailable", got)
		}
		synctest.Wait()
		if _, err := authenticate(t.Context(), a, down.token(time.Now())); err != nil {
			t.Error(err)
		}
	})
}

// A new address of the keys is found after the old one has failed.
func TestKeysMoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, elsewhere := newLocalIDP(local), newLocalIDP("https://keys.example", newKey("k2", "EdDSA"))
		a := start(t, []oidc.Issuer{p.config()}, oidc.WithHTTPClient(client(p, elsewhere)))
		p.change(func() {
			p.metadata = object{"jwks_uri": elsewhere.url + "/keys"}
			p.jwks = http.NotFoundHandler()
			p.keys = elsewhere.keys
		})
		<-time.After(5*time.Minute + 2*time.Second)
		if _, err := authenticate(t.Context(), a, p.token(time.Now())); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left
		p := newLocalIDP(local)
		a := start(t, []oidc.Issuer{p.config()}, oidc.WithHTTPClient(client(p)))
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if err := a.Close(); err != nil {
			t.Errorf("a second time: %v", err)
		}
		if _, err := authenticate(t.Context(), a, p.token(time.Now())); err != nil {
			t.Errorf("with the keys that are there: %v", err)
		}
		<-time.After(time.Minute)
		for range 2 {
			if got := reasonOf(authenticate(t.Context(), a, p.token(time.Now(), header("kid", "new")))); got != authn.ReasonKey {
				t.Errorf("got %v, want key", got)
			}
		}
	})
}

func TestCloseClosesConnections(t *testing.T) {
	t.Parallel()
	p := newLocalIDP("")
	server := httptest.NewUnstartedServer(p)
	closed := make(chan struct{})
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			close(closed)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	p.url = server.URL
	a := start(t, []oidc.Issuer{p.config()})
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("the connection to the issuer is still open")
	}
}

// A context that ends early ends the wait of New, not the work.
func TestNewDoesNotOutwaitItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newLocalIDP(local)
		p.latency = 3 * time.Second
		ctx, cancel := contextWithTimeout(t, time.Second)
		defer cancel()
		began := time.Now()
		a, err := oidc.New(ctx, []oidc.Issuer{p.config()}, oidc.WithHTTPClient(client(p)))
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("waited %v", waited)
		}
		if got := reasonOf(authenticate(t.Context(), a, p.token(time.Now()))); got != authn.ReasonUnavailable {
			t.Errorf("got %v, want unavailable", got)
		}
		<-time.After(2*time.Second + time.Millisecond)
		if _, err := authenticate(t.Context(), a, p.token(time.Now())); err != nil {
			t.Error(err)
		}
	})
}

func TestF08IssuerMixUp(t *testing.T) {
	t.Parallel()
	good, evil, c := newIDP(t, newKey("k1", "ES256")), newIDP(t, newKey("k1", "ES256")), newClock()
	a := start(t, []oidc.Issuer{good.config(), evil.config()}, oidc.WithClock(c.now))
	c.advance(10 * time.Second)
	for name, token := range map[string]string{
		"evil's key for good's issuer, same kid":  resign(good.token(c.now()), evil.keys[0]),
		"good's key for evil's issuer, same kid":  resign(evil.token(c.now()), good.keys[0]),
		"an issuer that starts like good's":       good.token(c.now(), set("iss", good.url+".evil.example")),
		"good's token where evil signs its issue": resign(good.token(c.now(), set("sub", "evil")), evil.keys[0]),
	} {
		result, err := authenticate(t.Context(), a, token)
		want := authn.ReasonSignature
		if strings.HasPrefix(name, "an issuer") {
			want = authn.ReasonIssuer
		}
		checkRefused(t, result, err, token, want)
	}
	for _, p := range []*idp{good, evil} {
		if _, err := authenticate(t.Context(), a, p.token(c.now())); err != nil {
			t.Error(err)
		}
	}
	same, err := authenticate(t.Context(), a, good.token(c.now()))
	if err != nil {
		t.Fatal(err)
	}
	other, err := authenticate(t.Context(), a, evil.token(c.now()))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(same.Principal.GetSubject().GetHumanUuid(), other.Principal.GetSubject().GetHumanUuid()) {
		t.Error("one sub of two issuers is the same party")
	}
}

// An issuer whose metadata is another's is not used, and the log says so; the
// other works as ever.
func TestF08DiscoveryOfAnother(t *testing.T) {
	t.Parallel()
	good, c := newIDP(t), newClock()
	for name, metadata := range map[string]object{
		"issuer and keys of another": {"issuer": good.url, "jwks_uri": good.url + "/keys"},
		"issuer of another":          {"issuer": good.url},
		"no issuer":                  {"issuer": nil},
	} {
		evil := newIDP(t)
		evil.metadata = metadata
		var out buffer
		a := start(t, []oidc.Issuer{good.config(), evil.config()}, oidc.WithClock(c.now),
			oidc.WithLogger(slog.New(slog.NewTextHandler(&out, nil))))
		if _, err := authenticate(t.Context(), a, good.token(c.now())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, token := range []string{evil.token(c.now()), resign(evil.token(c.now()), good.keys[0])} {
			result, err := authenticate(t.Context(), a, token)
			checkRefused(t, result, err, token, authn.ReasonUnavailable)
		}
		if got := out.String(); !strings.Contains(got, "level=ERROR") || !strings.Contains(got, "issuer="+evil.url) ||
			!strings.Contains(got, "the document is that of issuer") {
			t.Errorf("%s: logged %s", name, got)
		}
	}
}

// Pointing at another's keys gains nothing: they verify tokens that name the
// one who points, which only the keys' owner can sign.
func TestF08KeysOfAnother(t *testing.T) {
	t.Parallel()
	good, evil, c := newIDP(t), newIDP(t), newClock()
	evil.metadata = object{"jwks_uri": good.url + "/keys"}
	a := start(t, []oidc.Issuer{good.config(), evil.config()}, oidc.WithClock(c.now))
	for _, token := range []string{evil.token(c.now()), resign(good.token(c.now()), evil.keys[0])} {
		result, err := authenticate(t.Context(), a, token)
		checkRefused(t, result, err, token, authn.ReasonSignature)
	}
}

// buffer may be written to while it is read.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// What a provider answers instead of what it should makes its tokens
// unavailable, and is not repeated in the log at length.
func TestBadAnswers(t *testing.T) {
	t.Parallel()
	elsewhere := newIDP(t)
	respond := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	redirect := func(path string) http.Handler { return http.RedirectHandler(elsewhere.url+path, http.StatusFound) }
	long := strings.Repeat("canary", 1<<20)
	for name, test := range map[string]struct {
		discovery, jwks http.Handler
		metadata        object
		logged          string
	}{
		"discovery not found":       {discovery: respond(404, long), logged: "status 404"},
		"discovery is no JSON":      {discovery: respond(200, "<html>canary"), logged: "not a metadata document"},
		"discovery too long":        {discovery: respond(200, `{"issuer":"`+long), logged: "not a metadata document"},
		"discovery redirects":       {discovery: redirect("/.well-known/openid-configuration"), logged: "status 302"},
		"discovery of a long name":  {metadata: object{"issuer": long[:100_000]}, logged: "the document is that of issuer"},
		"no jwks_uri":               {metadata: object{"jwks_uri": nil}, logged: "jwks_uri"},
		"jwks_uri is no string":     {metadata: object{"jwks_uri": 1}, logged: "not a metadata document"},
		"jwks_uri over plain HTTP":  {metadata: object{"jwks_uri": "http://192.0.2.1/keys"}, logged: "http is allowed to the loopback interface only"},
		"jwks_uri is a file":        {metadata: object{"jwks_uri": "file:///etc/passwd"}, logged: "is not https"},
		"jwks_uri with a user":      {metadata: object{"jwks_uri": "https://user@idp.example/"}, logged: "has a user"},
		"jwks_uri is long":          {metadata: object{"jwks_uri": "https://" + long[:100_000]}, logged: "longer than 2048"},
		"keys not found":            {jwks: respond(404, long), logged: "status 404"},
		"keys redirect":             {jwks: redirect("/keys"), logged: "status 302"},
		"keys are no JSON":          {jwks: respond(200, "canary"), logged: "not a JWK set"},
		"keys are too long":         {jwks: respond(200, `{"keys":["`+long), logged: "too large"},
		"keys are no object":        {jwks: respond(200, `[]`), logged: "not a JWK set"},
		"keys without keys":         {jwks: respond(200, `{}`), logged: "without the member keys"},
		"keys are null":             {jwks: respond(200, `{"keys":null}`), logged: "without the member keys"},
		"keys are something else":   {jwks: respond(200, `{"keys":{}}`), logged: "not a JWK set"},
		"keys with a server's pain": {jwks: respond(500, long), logged: "status 500"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, c := newIDP(t), newClock()
			p.discovery, p.jwks, p.metadata = test.discovery, test.jwks, test.metadata
			var out buffer
			a := start(t, []oidc.Issuer{p.config()}, oidc.WithClock(c.now), oidc.WithLogger(slog.New(slog.NewTextHandler(&out, nil))))
			token := p.token(c.now())
			result, err := authenticate(t.Context(), a, token)
			checkRefused(t, result, err, token, authn.ReasonUnavailable)
			first, _, _ := strings.Cut(out.String(), "\n")
			if !strings.Contains(first, test.logged) || len(first) > 1000 {
				t.Errorf("logged %.2000s\nwant %q", first, test.logged)
			}
		})
	}
	if n := elsewhere.discoveries.Load() + elsewhere.fetches.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// A provider that accepts the connection and then says nothing is given up.
func TestSilentIssuer(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}))
	t.Cleanup(func() { close(release); silent.Close() })
	p := newLocalIDP(silent.URL)
	a := start(t, []oidc.Issuer{p.config()}, oidc.WithHTTPClient(&http.Client{Timeout: 20 * time.Millisecond}))
	if got := reasonOf(authenticate(t.Context(), a, p.token(time.Now()))); got != authn.ReasonUnavailable {
		t.Errorf("got %v, want unavailable", got)
	}
}

// An issuer without OpenID discovery.
func TestConfiguredKeys(t *testing.T) {
	t.Parallel()
	p, c := newIDP(t), newClock()
	config := p.config()
	config.JWKSURI = p.url + "/keys"
	a := start(t, []oidc.Issuer{config}, oidc.WithClock(c.now))
	if _, err := authenticate(t.Context(), a, p.token(c.now())); err != nil {
		t.Error(err)
	}
	if n := p.discoveries.Load(); n != 0 {
		t.Errorf("%d discoveries", n)
	}
}

// One unusable key does not break the others, and keys for something else are
// not used.
func TestKeySets(t *testing.T) {
	t.Parallel()
	good := newKey("good", "EdDSA")
	with := func(k *key, id string, edits object) object {
		jwk := k.jwk()
		jwk["kid"] = id
		for name, value := range edits {
			if jwk[name] = value; value == nil {
				delete(jwk, name)
			}
		}
		return jwk
	}
	private := must(jose.JSONWebKey{Key: good.signer, KeyID: "bad"}.MarshalJSON())
	small := must(jose.JSONWebKey{Key: &must(rsa.GenerateKey(rand.Reader, 1024)).PublicKey, KeyID: "bad"}.MarshalJSON())
	p384 := elliptic.P384().Params().Name
	for name, test := range map[string]struct {
		bad    any
		logged bool
	}{
		"not a key":            {"canary", true},
		"null":                 {nil, true},
		"no kty":               {object{"kid": "bad"}, true},
		"unknown kty":          {object{"kid": "bad", "kty": "XYZ"}, false},
		"unknown curve":        {with(good, "bad", object{"crv": "Ed448"}), false},
		"short point":          {with(good, "bad", object{"x": "AAAA"}), true},
		"no point":             {with(good, "bad", object{"x": nil}), true},
		"point off its curve":  {with(newKey("", "ES256"), "bad", object{"crv": p384}), true},
		"kid no string":        {with(good, "bad", object{"kid": 1}), true},
		"broken certificate":   {with(good, "bad", object{"x5c": []string{"canary"}}), true},
		"symmetric":            {object{"kid": "bad", "kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}, false},
		"for encryption":       {with(good, "bad", object{"use": "enc"}), false},
		"for encryption by op": {with(good, "bad", object{"key_ops": []string{"encrypt"}, "use": nil}), false},
		"private":              {json.RawMessage(private), true},
		"RSA with 1024 bits":   {json.RawMessage(small), true},
		"without kid":          {with(good, "", object{"kid": nil}), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, c := newIDP(t, good), newClock()
			p.jwks = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_ = json.NewEncoder(w).Encode(object{"keys": []any{test.bad, good.jwk()}})
			})
			var out buffer
			a := start(t, []oidc.Issuer{p.config()}, oidc.WithClock(c.now), oidc.WithLogger(slog.New(slog.NewTextHandler(&out, nil))))
			if _, err := authenticate(t.Context(), a, p.token(c.now())); err != nil {
				t.Error(err)
			}
			token := p.token(c.now(), header("kid", "bad"))
			result, err := authenticate(t.Context(), a, token)
			checkRefused(t, result, err, token, authn.ReasonKey)
			if got := out.String(); strings.Contains(got, "level=WARN") != test.logged || strings.Contains(got, "canary") {
				t.Errorf("logged %q", got)
			}
		})
	}
}

// One key id may stand for keys of different types (RFC 7517, section 4.5).
func TestOneKeyIDForTwoTypes(t *testing.T) {
	t.Parallel()
	p, c := newIDP(t, newKey("k", "ES256"), newKey("k", "EdDSA")), newClock()
	a := start(t, []oidc.Issuer{p.config()}, oidc.WithClock(c.now))
	for _, k := range p.keys {
		if _, err := authenticate(t.Context(), a, resign(p.token(c.now(), header("alg", k.alg)), k)); err != nil {
			t.Errorf("%s: %v", k.alg, err)
		}
	}
}

// An empty set withdraws all keys.
func TestEmptyKeySet(t *testing.T) {
	t.Parallel()
	p, c := newIDP(t), newClock()
	p.jwks = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[]}`) })
	a := start(t, []oidc.Issuer{p.config()}, oidc.WithClock(c.now))
	token := p.token(c.now())
	result, err := authenticate(t.Context(), a, token)
	checkRefused(t, result, err, token, authn.ReasonKey)
}
