package peers_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/onbehalf-dev/onbehalf/examples/provider"
	ledgerserver "github.com/onbehalf-dev/onbehalf/examples/shop/ledger"
	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// browserCall is one call of a page.
type browserCall struct {
	Page    string            `json:"page"`
	URL     string            `json:"url"`
	Method  string            `json:"method"`
	Headers map[string]string `json:"headers"`
	Body    []byte            `json:"body"`
}

// browserAnswer is what the page sees.
type browserAnswer struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    []byte            `json:"body"`
	Origin  string            `json:"origin"`
	Error   string            `json:"error"`
}

const ledgerRoutes = `routes:
  - {path_prefix: /app, upstream: "%[2]s", auth: none}
  - {service: shop.ledger.v1.LedgerService, upstream: "%[3]s", audience: ledger%[4]s}
`

// site is an edge with a page and the ledger, whose methods a page may call.
type site struct {
	*edge

	reached atomic.Int64 // calls to the ledger, with and without a right
}

// newSite starts a site. What the route to the ledger has more is in more.
func newSite(t *testing.T, more string) *site {
	t.Helper()
	s := &site{edge: &edge{t: t, dir: t.TempDir()}}
	var err error
	s.provider, err = provider.Start(t.Context(), provider.Options{Algorithms: []jose.SignatureAlgorithm{jose.ES256}})
	if err != nil {
		t.Fatal(err)
	}
	page := httptest.NewServer(http.HandlerFunc(servePage))
	t.Cleanup(page.Close)
	var handler http.Handler
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.reached.Add(1)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(service.Close)
	s.run(fmt.Sprintf(issuers+ledgerRoutes, s.provider.URL(), page.URL, service.URL, more))
	rules := new(principal.Rules).
		WithMethod("/"+ledger+"GetBalance", &principalv1.AccessRule{AllScopes: []string{"ledger:read"}}).
		WithMethod("/"+ledger+"AppendEntry", &principalv1.AccessRule{AllScopes: []string{"ledger:write"}})
	guard, err := principal.NewGuard(s.verifier("ledger"), rules)
	if err != nil {
		t.Fatal(err)
	}
	handler = ledgerserver.NewHTTPHandler(guard, 1000)
	return s
}

func servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, "<!doctype html><title>shop</title>")
}

// calls are a method of the ledger in Connect and in gRPC-Web, from one page.
func (s *site) calls(page, method, token string) []browserCall {
	url := "http://" + s.address + "/" + ledger + method
	connect := map[string]string{"content-type": "application/json", "connect-protocol-version": "1", "authorization": "Bearer " + token}
	web := map[string]string{"content-type": "application/grpc-web+proto", "x-grpc-web": "1", "authorization": "Bearer " + token}
	return []browserCall{
		{page, url, http.MethodPost, connect, []byte("{}")},
		{page, url, http.MethodPost, web, make([]byte, 5)}, // an empty message in its frame
	}
}

func browse(t *testing.T, chromium string, calls []browserCall) []browserAnswer {
	t.Helper()
	text, err := json.Marshal(calls)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node(t), "browser.mjs", chromium, string(text))
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	var answers []browserAnswer
	if err != nil || json.Unmarshal(out, &answers) != nil || len(answers) != len(calls) {
		t.Fatal(err, string(out))
	}
	return answers
}

// sight is what a page sees of a call; a status of 0 is nothing.
type sight struct {
	what   string
	status int
	text   string
}

func sees(t *testing.T, answers []browserAnswer, wants []sight) {
	t.Helper()
	for i, want := range wants {
		a := answers[i]
		if text := a.text(); a.Status != want.status || !strings.Contains(text, want.text) || (a.Error == "") != (want.status != 0) {
			t.Errorf("%s: %q %d %q %v, want %d %q", want.what, a.Error, a.Status, text, a.Headers, want.status, want.text)
		}
		if want.status != 0 && !strings.HasPrefix(a.Headers["x-request-id"], "req_") {
			t.Errorf("%s: no request id in %v", want.what, a.Headers)
		}
	}
}

// A page that comes through the edge calls services with fetch, and can read the
// answer as well as why it is refused.
func TestBrowser(t *testing.T) {
	t.Parallel()
	chromium := program(t, "chromium")
	s := newSite(t, "")
	page := "http://" + s.address + "/app/"
	good := s.token("alice")
	calls := s.calls(page, "GetBalance", good)
	calls = append(calls, s.calls(page, "AppendEntry", good)...)
	calls = append(calls, s.calls(page, "GetBalance", good+"x")...)
	sees(t, browse(t, chromium, calls), []sight{
		{"Connect", 200, `{"balanceCents":"1000"}`},
		{"gRPC-Web", 200, "\x08\xe8\x07 grpc-status: 0"},
		{"Connect, no right", 403, `"code":"permission_denied"`},
		{"gRPC-Web, no right", 200, "grpc-status: 7"},
		{"Connect, a bad credential", 401, `{"code":"unauthenticated","message":"a valid credential is required"}`},
		{"gRPC-Web, a bad credential", 200, "grpc-status: 16 grpc-message: a valid credential is required"},
	})
	if n := s.reached.Load(); n != 4 {
		t.Errorf("%d calls reached the service, want 4", n)
	}
}

// A page of another origin, which nobody has allowed, gets nothing done and reads
// nothing, though it has a good token: the browser asks first.
func TestBrowserOfAnotherOrigin(t *testing.T) {
	t.Parallel()
	chromium := program(t, "chromium")
	s := newSite(t, "")
	other := httptest.NewServer(http.HandlerFunc(servePage))
	t.Cleanup(other.Close)
	calls := s.calls(other.URL, "GetBalance", s.token("alice"))
	// Without what it has to ask for, the request is made, but its answer not shown.
	calls = append(calls, browserCall{Page: other.URL, URL: "http://" + s.address + "/app/", Method: http.MethodGet, Headers: map[string]string{}})
	for i, a := range browse(t, chromium, calls) {
		if a.Error != "TypeError: Failed to fetch" || a.Status != 0 || a.Origin != other.URL {
			t.Errorf("call %d: the page sees %+v", i, a)
		}
	}
	if n := s.reached.Load(); n != 0 {
		t.Errorf("%d calls reached the service", n)
	}
}

// A page of an origin that the route lists calls it as one of the site itself, and
// reads why it is refused; the page of another one is as before.
func TestBrowserOfAListedOrigin(t *testing.T) {
	t.Parallel()
	chromium := program(t, "chromium")
	listed, other := httptest.NewServer(http.HandlerFunc(servePage)), httptest.NewServer(http.HandlerFunc(servePage))
	t.Cleanup(listed.Close)
	t.Cleanup(other.Close)
	s := newSite(t, `, cors: {origins: ["`+listed.URL+`"]}`)
	good := s.token("alice")
	calls := s.calls(listed.URL, "GetBalance", good)
	calls = append(calls, s.calls(listed.URL, "GetBalance", good+"x")...)
	calls = append(calls, s.calls(other.URL, "GetBalance", good)...)
	// A form needs no preflight.
	calls = append(calls, browserCall{
		Page: other.URL, URL: calls[0].URL, Method: http.MethodPost, Headers: map[string]string{"content-type": "text/plain"}, Body: []byte("{}"),
	})
	sees(t, browse(t, chromium, calls), []sight{
		{"Connect", 200, `{"balanceCents":"1000"}`},
		{"gRPC-Web", 200, "\x08\xe8\x07 grpc-status: 0"},
		{"Connect, a bad credential", 401, `{"code":"unauthenticated","message":"a valid credential is required"}`},
		{"gRPC-Web, a bad credential", 200, "grpc-status: 16 grpc-message: a valid credential is required"},
		{"Connect, not listed", 0, ""},
		{"gRPC-Web, not listed", 0, ""},
		{"a form, not listed", 0, ""},
	})
	if n := s.reached.Load(); n != 2 {
		t.Errorf("%d calls reached the service, want 2", n)
	}
	reasons := make(map[any]int)
	for _, r := range s.records() {
		reasons[r["reason"]]++
	}
	if reasons["preflight"] == 0 || reasons["origin"] != 3 { // two preflights and the form
		t.Errorf("reasons %v", reasons)
	}
}

// text is a body with the frames of gRPC-Web taken apart, and the trailer of an
// answer that has no body.
func (a browserAnswer) text() string {
	if !strings.HasPrefix(a.Headers["content-type"], "application/grpc-web") {
		return string(a.Body)
	}
	var parts []string
	for rest := a.Body; len(rest) >= 5; {
		n := min(len(rest), 5+int(binary.BigEndian.Uint32(rest[1:5])))
		parts = append(parts, string(rest[5:n]))
		rest = rest[n:]
	}
	for _, name := range []string{"grpc-status", "grpc-message"} {
		if value := a.Headers[name]; value != "" {
			parts = append(parts, name+": "+value)
		}
	}
	return strings.Join(strings.Fields(strings.Join(parts, " ")), " ")
}
