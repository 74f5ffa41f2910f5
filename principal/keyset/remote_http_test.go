package keyset_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal/keyset"
)

func handler(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.Write(data) }
}

// load returns what a set is like after its first fetch.
func load(t *testing.T, url string, client *http.Client) (*keyset.Remote, error) {
	t.Helper()
	var opts []keyset.RemoteOption
	if client != nil {
		opts = append(opts, keyset.WithHTTPClient(client))
	}
	r, err := keyset.NewRemote(t.Context(), url, trust, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	return r, r.Ready(ctx)
}

func TestRemoteOverHTTP(t *testing.T) {
	t.Parallel()
	k1 := authority(t, edgeA, "k1")
	data := marshal(t, k1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /jwks.json", func(w http.ResponseWriter, r *http.Request) {
		if accept := r.Header.Get("Accept"); !strings.Contains(accept, "application/jwk-set+json") {
			t.Errorf("Accept: %s", accept)
		}
		w.Write(data)
	})
	mux.Handle("GET /moved", http.RedirectHandler("/jwks.json", http.StatusFound))
	secure, plain := httptest.NewTLSServer(mux), httptest.NewServer(mux)
	t.Cleanup(secure.Close)
	t.Cleanup(plain.Close)
	for name, tt := range map[string]struct {
		url    string
		client *http.Client
	}{
		"https":                       {secure.URL + "/jwks.json", secure.Client()},
		"http on this machine":        {plain.URL + "/jwks.json", nil},
		"localhost":                   {strings.Replace(plain.URL, "127.0.0.1", "localhost", 1) + "/jwks.json", nil},
		"a redirect on the same host": {secure.URL + "/moved", secure.Client()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, err := load(t, tt.url, tt.client)
			if err != nil {
				t.Fatal(err)
			}
			if find(t, set, k1.KeyRef) == nil {
				t.Error("the key is not found")
			}
		})
	}
}

func TestRemoteRefusesAnswers(t *testing.T) {
	t.Parallel()
	data := marshal(t, authority(t, edgeA, "k1"))
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	zip.Write(append(bytes.Repeat([]byte(" "), 64<<20), data...))
	zip.Close()

	other := httptest.NewTLSServer(handler(data))
	t.Cleanup(other.Close)
	plain := httptest.NewServer(handler(data))
	t.Cleanup(plain.Close)
	redirect := func(url string) http.HandlerFunc { return http.RedirectHandler(url, http.StatusFound).ServeHTTP }
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"not found": {http.NotFound, "status 404"},
		"an error with a set": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			w.Write(data)
		}, "status 500"},
		"partial content":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusPartialContent); w.Write(data) }, "status 206"},
		"a redirect to a host":     {redirect(other.URL), "another scheme or host"},
		"a redirect to plain text": {redirect(plain.URL), "another scheme or host"},
		"a redirect to a file":     {redirect("file:///etc/passwd"), "another scheme or host"},
		"a redirect in circles":    {redirect("/"), "too many redirects"},
		"more than 1 MiB":          {handler(append(bytes.Repeat([]byte(" "), 1<<20), data...)), "larger than 1048576 bytes"},
		"more than 1 MiB unpacked": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb.Bytes())
		}, "larger than 1048576 bytes"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			w.Write(data)
		}, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewTLSServer(tt.answer)
			t.Cleanup(srv.Close)
			client := srv.Client()
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return nil } // is not asked
			if _, err := load(t, srv.URL, client); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestRemoteChecksTheCertificate(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(handler(marshal(t, authority(t, edgeA, "k1"))))
	srv.Config.ErrorLog = nil
	srv.StartTLS()
	t.Cleanup(srv.Close)
	if _, err := load(t, srv.URL, nil); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Error(err)
	}
}

func TestNewRemoteRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		url   string
		trust keyset.Trust
		opt   keyset.RemoteOption
		want  string
	}{
		"no URL":                 {"", trust, nil, "not the URL"},
		"F07 plain text":         {"http://bff.internal/jwks.json", trust, nil, "use https"},
		"F07 metadata service":   {"http://169.254.169.254/", trust, nil, "use https"},
		"F07 unspecified":        {"http://0.0.0.0/", trust, nil, "use https"},
		"F07 hexadecimal":        {"http://0x7f.1/", trust, nil, "use https"},
		"F07 decimal":            {"http://2130706433/", trust, nil, "use https"},
		"F07 name like loopback": {"http://127.0.0.1.example.com/", trust, nil, "use https"},
		"F07 name like local":    {"http://localhost.example.com/", trust, nil, "use https"},
		"F07 a file":             {"file:///etc/passwd", trust, nil, "not the URL"},
		"F07 a file on a host":   {"file://localhost/etc/passwd", trust, nil, "use https"},
		"F07 another scheme":     {"ftp://localhost/", trust, nil, "use https"},
		"F07 user":               {"https://user@bff.internal/", trust, nil, "password"},
		"F07 user like a host":   {"http://127.0.0.1@example.com/", trust, nil, "password"},
		"no host":                {"https:///jwks.json", trust, nil, "not the URL"},
		"opaque":                 {"https:bff.internal", trust, nil, "not the URL"},
		"only a path":            {"/jwks.json", trust, nil, "not the URL"},
		"malformed":              {"https://bff.internal/%zz", trust, nil, "malformed"},
		"a fragment":             {jwksURL + "#x", trust, nil, "not the URL"},
		"nobody is trusted":      {jwksURL, keyset.Trust{}, nil, "names of the issuers and services"},
		"an empty issuer":        {jwksURL, keyset.Trust{Issuers: []string{edgeA, ""}}, nil, "without a name"},
		"no service name":        {jwksURL, keyset.Trust{Services: []string{"Orders"}}, nil, `"Orders" is not a service name`},
		"a trust domain":         {jwksURL, keyset.Trust{Services: []string{"mesh:prod"}}, nil, "not a service name"},
		"no client":              {jwksURL, trust, keyset.WithHTTPClient(nil), "no HTTP client"},
		"no logger":              {jwksURL, trust, keyset.WithLogger(nil), "no logger"},
		"refresh too fast":       {jwksURL, trust, keyset.WithRefresh(time.Second - 1), "at most every second"},
		"refresh negative":       {jwksURL, trust, keyset.WithRefresh(-time.Hour), "at most every second"},
		"too old too soon":       {jwksURL, trust, keyset.WithMaxAge(10*time.Minute - 1), "less than two refreshes"},
		"age negative":           {jwksURL, trust, keyset.WithMaxAge(-1), "less than two refreshes"},
		"refresh too slow":       {jwksURL, trust, keyset.WithRefresh(13 * time.Hour), "less than two refreshes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var opts []keyset.RemoteOption
			if tt.opt != nil {
				opts = append(opts, tt.opt)
			}
			r, err := keyset.NewRemote(t.Context(), tt.url, tt.trust, opts...)
			if err == nil || !strings.Contains(err.Error(), tt.want) || r != nil {
				t.Errorf("NewRemote: %v, want %q", err, tt.want)
			}
		})
	}
}
