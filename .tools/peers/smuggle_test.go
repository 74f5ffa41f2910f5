package peers_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// hostile are headers that a client adds to a good request. STOLEN is a genuine
// principal of somebody else.
var hostile = map[string][]field{
	"A01 principal":           {{"x-principal-bin", "STOLEN"}},
	"A03 underscores":         {{"X_Principal_Bin", "STOLEN"}},
	"A03 one underscore":      {{"x_principal-bin", "STOLEN"}},
	"A03 dots":                {{"X.Principal.Bin", "STOLEN"}},
	"A03 case":                {{"x-PRINCIPAL-bin", "STOLEN"}},
	"A03 shorter":             {{"X-Principal", "STOLEN"}},
	"A03 longer":              {{"X-Principal-Bin-", "STOLEN"}},
	"A03 of a gateway":        {{"Grpc-Metadata-X-Principal-Bin", "STOLEN"}},
	"A03 announced trailer":   {{"Trailer", "x-principal-bin"}},
	"A05 with close":          {{"Connection", "close, X-Principal-Bin"}},
	"A05 lower case":          {{"connection", "x-principal-bin"}},
	"A05 the credential":      {{"Connection", "Authorization"}},
	"A05 two lines":           {{"Connection", "keep-alive"}, {"Connection", "X-Principal-Bin"}},
	"A05 padding":             {{"Connection", "\t close ,\t x-principal-bin \t"}},
	"A05 and a principal":     {{"Connection", "x-principal-bin"}, {"x-principal-bin", "STOLEN"}},
	"A08 two":                 {{"x-principal-bin", "STOLEN"}, {"x-principal-bin", "STOLEN"}},
	"A08 comma-joined":        {{"x-principal-bin", "QUFB,QkJC"}},
	"A08 two spellings":       {{"x-principal-bin", "STOLEN"}, {"X_Principal_Bin", "STOLEN"}, {"x.principal.bin", "STOLEN"}},
	"A10 certificate":         {{"X-Forwarded-Client-Cert", "evil"}},
	"A10 forwarded":           {{"Forwarded", "for=evil;host=evil"}, {"X-Real-IP", "evil"}},
	"A10 user":                {{"X-Forwarded-User", "evil"}, {"X-Forwarded-Email", "evil"}, {"X-Forwarded-Groups", "evil"}},
	"A10 host":                {{"X-Forwarded-Host", "evil"}, {"X-Forwarded-Proto", "evil"}, {"X-Forwarded-Prefix", "evil"}},
	"A10 target":              {{"X-Original-URL", "/evil"}, {"X-Rewrite-URL", "/evil"}, {"X-Forwarded-Uri", "/evil"}},
	"A10 underscores":         {{"X_Forwarded_User", "evil"}, {"X_Real.IP", "evil"}},
	"A11 upgrade":             {{"Connection", "Upgrade, HTTP2-Settings"}, {"Upgrade", "h2c"}, {"HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA"}},
	"A14 more of credentials": {{"Proxy-Authorization", "Basic evil"}, {"DPoP", "evil"}},
}

// A01 to A14: whatever a client sends through nginx or haproxy, over each version
// of HTTP, a service gets the one principal that the edge made for that client.
func TestHostileHeaders(t *testing.T) {
	t.Parallel()
	eachFront(t, func(t *testing.T, program, path string) {
		e := start(t)
		alice, stolen := e.token("alice"), e.principalOf("bob")
		verifier := e.verifier("orders")
		bob := verified(t, verifier, stolen)
		passed := make(map[string]int)
		for _, f := range e.fronts(program, path) {
			for name, fields := range hostile {
				for _, public := range []bool{false, true} {
					r := f.request(escaped(name), alice, public)
					for _, h := range fields {
						r.fields = append(r.fields, field{h.name, strings.ReplaceAll(h.value, "STOLEN", stolen)})
					}
					a := f.send(t, r)
					for _, seen := range e.upstream.take() {
						checkSeen(t, f.name+", "+name, seen, verifier, bob, public)
					}
					checkAnswer(t, f.name+", "+name, a, stolen)
					if a.ok() {
						passed[f.name]++
					}
				}
			}
		}
		// The proxies refuse some by themselves; if it were many, this would test little.
		for name, n := range passed {
			if n < len(hostile) {
				t.Errorf("%s: only %d requests were answered", name, n)
			}
		}
		stripped := 0
		for _, r := range e.records() {
			if r["smuggle_stripped"] != nil {
				stripped++
			}
		}
		if least := 10 * len(passed); len(passed) < 5 || stripped < least {
			t.Errorf("%d ways, the audit has %d requests with a principal, want %d", len(passed), stripped, least)
		}
		t.Log("answered", passed, "stripped", stripped)
	})
}

// request is a good one, in what the way carries: gRPC over HTTP/2, else HTTP.
func (f front) request(name, token string, public bool) request {
	r := request{method: http.MethodGet, path: "/orders/" + name}
	switch {
	case public:
		r.path = "/public/" + name
	case f.proto == 2:
		r = request{method: http.MethodPost, path: "/peers.v1.Echo/Talk", body: "\x00\x00\x00\x00\x00"}
		r.fields = []field{{"content-type", "application/grpc"}, {"te", "trailers"}}
	}
	r.fields = append(r.fields, field{"authorization", "Bearer " + token})
	return r
}

// principalOf returns a principal as it travels behind the edge.
func (e *edge) principalOf(user string) string {
	e.t.Helper()
	res, body := get(e.t, http.DefaultClient, "http://"+e.address+"/orders/x", http.Header{"Authorization": {"Bearer " + e.token(user)}})
	seen := e.upstream.take()
	if res.StatusCode != http.StatusOK || len(seen) != 1 {
		e.t.Fatal(res.Status, body, seen)
	}
	return seen[0].Header.Get(principal.HeaderName)
}

func verified(t *testing.T, v *principal.Verifier, text string) *principal.Principal {
	t.Helper()
	header, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := v.Verify(t.Context(), string(header))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// checkSeen looks at what reached a service as one of the CGI kind would.
func checkSeen(t *testing.T, what string, r *http.Request, v *principal.Verifier, stolen *principal.Principal, public bool) {
	t.Helper()
	var ours []string
	for name, values := range r.Header {
		switch folded := fold(name); {
		case strings.Contains(folded, "xprincipal"):
			ours = append(ours, values...)
		case strings.Contains(strings.Join(values, " "), "evil"), strings.Contains(strings.Join(values, " "), "Bearer"):
			t.Errorf("%s: %s came through", what, name)
		case folded == "upgrade", folded == "http2settings":
			t.Errorf("%s: %s came through", what, name)
		}
	}
	for name := range r.Trailer {
		if strings.Contains(fold(name), "xprincipal") {
			t.Errorf("%s: the trailer %s came through", what, name)
		}
	}
	if public {
		if len(ours) != 0 {
			t.Errorf("%s: %d principals reached a public route", what, len(ours))
		}
		return
	}
	if len(ours) != 1 {
		t.Errorf("%s: %d principals reached the service", what, len(ours))
		return
	}
	if p := verified(t, v, ours[0]); p.Subject() == stolen.Subject() || p.ID() == stolen.ID() {
		t.Errorf("%s: the service sees %v", what, p.Subject())
	}
}

// checkAnswer makes sure that no principal comes out, though the service sends
// its own back (A13), and no tunnel is opened (A11).
func checkAnswer(t *testing.T, what string, a answer, stolen string) {
	t.Helper()
	if a.code == http.StatusSwitchingProtocols {
		t.Errorf("%s: a tunnel was opened", what)
	}
	for name, values := range a.header {
		if strings.Contains(fold(name), "xprincipal") || strings.Contains(strings.Join(values, " "), stolen) {
			t.Errorf("%s: %s came out", what, name)
		}
	}
}

func fold(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(name))
}
