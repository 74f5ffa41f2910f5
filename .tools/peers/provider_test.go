package peers_test

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff"
)

// node returns the command, if there are the packages of package-lock.json too.
func node(t *testing.T) string {
	t.Helper()
	path := program(t, "node")
	if _, err := os.Stat("node_modules"); err != nil {
		t.Skip("there is no node_modules: run npm ci")
	}
	return path
}

// foreign is an OpenID provider in a process of its own.
type foreign struct {
	t      *testing.T
	issuer string
	stdin  io.Writer
	lines  *bufio.Scanner
}

func newForeign(t *testing.T) *foreign {
	t.Helper()
	l := listen(t)
	p := &foreign{t: t, issuer: "http://" + l.Addr().String()}
	_ = l.Close()
	cmd := exec.CommandContext(t.Context(), node(t), "provider.mjs", p.issuer)
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	p.stdin, p.lines = stdin, bufio.NewScanner(stdout)
	p.await("ready")
	return p
}

func (p *foreign) await(line string) {
	p.t.Helper()
	for p.lines.Scan() {
		if p.lines.Text() == line {
			return
		}
	}
	p.t.Fatal("the provider has ended:", p.lines.Err())
}

// rotate has the provider make new keys, and forget those that it had.
func (p *foreign) rotate() {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.stdin); err != nil {
		p.t.Fatal(err)
	}
	p.await("rotated")
}

// service returns an access token for a resource by client credentials.
func (p *foreign) service(resource string) string {
	p.t.Helper()
	return p.tokens(url.Values{
		"grant_type": {"client_credentials"}, "resource": {resource}, "scope": {"orders:read"},
		"client_id": {"billing"}, "client_secret": {"billing-secret"},
	}).AccessToken
}

type tokens struct {
	AccessToken string `json:"access_token"`
	IDToken     string `json:"id_token"`
}

func (p *foreign) tokens(form url.Values) (got tokens) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || json.Unmarshal(body, &got) != nil || got.AccessToken == "" {
		p.t.Fatal(res.Status, err, string(body))
	}
	return got
}

var form = regexp.MustCompile(`action="([^"]+)"`)

// login returns what a user gets who logs in with the authorization code flow,
// and PKCE, and consents.
func (p *foreign) login(user, resource string) tokens {
	p.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	var code string
	client := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if code = r.URL.Query().Get("code"); code != "" {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	verifier := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	const callback = "http://127.0.0.1/callback"
	_, page := get(p.t, client, p.issuer+"/auth?"+url.Values{
		"client_id": {"web"}, "response_type": {"code"}, "redirect_uri": {callback}, "scope": {"openid orders:read"}, "resource": {resource},
		"nonce": {"n"}, "code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}.Encode(), nil)
	for _, prompt := range []string{"login", "consent"} {
		found := form.FindStringSubmatch(page)
		if found == nil {
			p.t.Fatal("no form to ", prompt, ": ", page)
		}
		page = submit(p.t, client, found[1], url.Values{"prompt": {prompt}, "login": {user}, "password": {"any"}})
	}
	return p.tokens(url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"web"}, "code": {code}, "code_verifier": {verifier},
		"redirect_uri": {callback}, "resource": {resource},
	})
}

func submit(t *testing.T, client *http.Client, target string, values url.Values) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(values.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// The access tokens of another implementation are taken and refused as they are
// to be.
func TestForeignProvider(t *testing.T) {
	t.Parallel()
	p, other := newForeign(t), newForeign(t)
	e := &edge{t: t, upstream: newUpstream(t), dir: t.TempDir()}
	var ahead atomic.Int64 // of the edge's clock
	e.run(fmt.Sprintf(issuers+echoRoutes, p.issuer, e.upstream.address),
		bff.WithClock(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }))
	want := func(what, token string, status int) {
		t.Helper()
		res, body := get(t, http.DefaultClient, "http://"+e.address+"/orders/x", http.Header{"Authorization": {"Bearer " + token}})
		if res.StatusCode != status {
			t.Errorf("%s: status %d, want %d: %s", what, res.StatusCode, status, body)
		}
	}
	want("RS256", p.service("urn:shop:rs256"), http.StatusOK)
	want("ES256", p.service("urn:shop:es256"), http.StatusOK)
	user := p.login("alice", "urn:shop:es256")
	want("a user's", user.AccessToken, http.StatusOK)
	want("a user's ID token", user.IDToken, http.StatusUnauthorized)
	want("another audience's", p.service("urn:other"), http.StatusUnauthorized)
	want("another issuer's", other.service("urn:shop:rs256"), http.StatusUnauthorized)
	old := p.service("urn:shop:rs256")
	want("one with another signature", old[:len(old)-8]+"AAAAAAAA", http.StatusUnauthorized)

	gone := p.service("urn:shop:es256")
	p.rotate()
	ahead.Store(int64(30 * time.Second)) // keys are asked for again, but not more than every ten seconds
	want("RS256 with a new key", p.service("urn:shop:rs256"), http.StatusOK)
	want("ES256 with a new key", p.service("urn:shop:es256"), http.StatusOK)

	want("one with a key that is gone", gone, http.StatusUnauthorized)

	last := p.service("urn:shop:rs256")
	ahead.Store(int64(12 * time.Minute))
	want("an expired one", last, http.StatusUnauthorized)
	var reasons []string
	for _, r := range e.records() {
		if reason, ok := r["credential_reason"].(string); ok {
			reasons = append(reasons, reason)
		}
	}
	if got := strings.Join(reasons, " "); got != "type audience issuer signature key time" {
		t.Error("the audit says why:", got)
	}
}
