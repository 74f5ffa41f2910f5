package provider_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/examples/provider"
)

func Example() {
	p, err := provider.Start(context.Background(), provider.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	token, err := p.Token(provider.TokenRequest{
		User: "alice", Client: "shopping-agent", Actors: []string{"shopping-agent"}, Scopes: []string{"orders:read"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		fmt.Println(err)
		return
	}
	var claims struct {
		Subject string `json:"sub"`
		Scope   string `json:"scope"`
		Act     struct {
			Subject string `json:"sub"`
		} `json:"act"`
	}
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(parsed.Headers[0].ExtraHeaders[jose.HeaderType], claims.Act.Subject, "for", claims.Subject, "may", claims.Scope)
	// Output: at+jwt shopping-agent for alice may orders:read
}

// clock is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// start runs a provider with a cheap key unless o says otherwise.
func start(t *testing.T, o provider.Options) *provider.Provider {
	t.Helper()
	if o.Algorithms == nil {
		o.Algorithms = []jose.SignatureAlgorithm{jose.EdDSA}
	}
	p, err := provider.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// answer is a response that was read to its end.
type answer struct {
	*http.Response

	body string
}

// do sends a request as the user's browser, which stops at the client's callback.
func do(t *testing.T, r *http.Request) answer {
	t.Helper()
	browser := &http.Client{CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/callback" {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	response, err := browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response, string(body)}
}

func get(t *testing.T, target string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, r)
}

func postRequest(t *testing.T, target string, form url.Values) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func post(t *testing.T, target string, form url.Values) answer {
	t.Helper()
	return do(t, postRequest(t, target, form))
}

func unmarshal[T any](t *testing.T, a answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%s %q: %v", a.Status, a.body, err)
	}
	return v
}

// verify checks a token as a relying party does, with keys that it fetched, and
// answers its header and claims.
func verify(t *testing.T, p *provider.Provider, token string) (jose.Header, map[string]any) {
	t.Helper()
	set := unmarshal[jose.JSONWebKeySet](t, get(t, discover(t, p).JwksURI))
	var algorithms []jose.SignatureAlgorithm
	for _, k := range set.Keys {
		algorithms = append(algorithms, jose.SignatureAlgorithm(k.Algorithm))
	}
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		t.Fatalf("%q: %v", token, err)
	}
	var claims map[string]any
	if err := parsed.Claims(set, &claims); err != nil {
		t.Fatal(err)
	}
	header := parsed.Headers[0]
	if keys := set.Key(header.KeyID); len(keys) != 1 || keys[0].Algorithm != header.Algorithm {
		t.Fatalf("key %q is for %v, the token for %s", header.KeyID, keys, header.Algorithm)
	}
	return header, claims
}

type discovery struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	JwksURI               string   `json:"jwks_uri"`
	Grants                []string `json:"grant_types_supported"`
	Responses             []string `json:"response_types_supported"`
	Methods               []string `json:"code_challenge_methods_supported"`
	Algorithms            []string `json:"id_token_signing_alg_values_supported"`
}

func discover(t *testing.T, p *provider.Provider) discovery {
	t.Helper()
	return unmarshal[discovery](t, get(t, p.URL()+"/.well-known/openid-configuration"))
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	p := start(t, provider.Options{Algorithms: []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}})
	want := discovery{
		Issuer:                p.URL(),
		AuthorizationEndpoint: p.URL() + "/authorize",
		TokenEndpoint:         p.URL() + "/oauth/token",
		JwksURI:               p.URL() + "/keys",
		Grants:                []string{"authorization_code", "client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"},
		Responses:             []string{"code"},
		Methods:               []string{"S256"},
		Algorithms:            []string{"RS256", "ES256", "EdDSA"},
	}
	if diff := cmp.Diff(want, discover(t, p)); diff != "" {
		t.Error(diff)
	}
	set := unmarshal[jose.JSONWebKeySet](t, get(t, want.JwksURI))
	if len(set.Keys) != 3 {
		t.Fatalf("%d keys", len(set.Keys))
	}
	for _, k := range set.Keys {
		if !k.IsPublic() || k.Use != "sig" || k.KeyID == "" {
			t.Errorf("%+v", k)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]provider.Options{
		"every interface":   {Listen: ":0"},
		"another interface": {Listen: "192.0.2.1:0"},
		"a host name":       {Listen: "provider.example:0"},
		"algorithm":         {Algorithms: []jose.SignatureAlgorithm{"HS256"}},
		"issuer's path":     {Issuer: "http://localhost/idp", Algorithms: []jose.SignatureAlgorithm{jose.EdDSA}},
		"issuer's scheme":   {Issuer: "ftp://localhost", Algorithms: []jose.SignatureAlgorithm{jose.EdDSA}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := provider.Start(t.Context(), o); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestLocalOnly(t *testing.T) {
	t.Parallel()
	p := start(t, provider.Options{})
	for name, test := range map[string]struct {
		host, site string
		want       int
	}{
		"script":              {want: http.StatusOK},
		"localhost":           {host: "localhost:1", want: http.StatusOK},
		"rebound name":        {host: "evil.example:80", want: http.StatusMisdirectedRequest},
		"cross-site form":     {site: "cross-site", want: http.StatusForbidden},
		"own page":            {site: "same-origin", want: http.StatusOK},
		"loopback look-alike": {host: "127.0.0.1.evil.example", want: http.StatusMisdirectedRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := postRequest(t, p.URL()+"/dev/token", url.Values{"user": {"alice"}})
			r.Host = test.host
			if test.site != "" {
				r.Header.Set("Sec-Fetch-Site", test.site)
			}
			if got := do(t, r); got.StatusCode != test.want {
				t.Errorf("%s, want %d: %s", got.Status, test.want, got.body)
			}
		})
	}
}

func TestCloseWaitsForRequestsOnly(t *testing.T) {
	t.Parallel()
	p := start(t, provider.Options{})
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(p.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	get(t, p.URL()+"/keys") // connections are accepted in order: conn was, too
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*provider.Provider, context.CancelFunc) error{
		"Close":   func(p *provider.Provider, _ context.CancelFunc) error { return p.Close() },
		"context": func(p *provider.Provider, cancel context.CancelFunc) error { cancel(); return p.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p, err := provider.Start(ctx, provider.Options{Algorithms: []jose.SignatureAlgorithm{jose.EdDSA}})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := end(p, cancel); err != nil {
					t.Error(err)
				}
			}
			address := strings.TrimPrefix(p.URL(), "http://")
			if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address); err == nil {
				conn.Close()
				t.Error("still listening")
			}
		})
	}
}
