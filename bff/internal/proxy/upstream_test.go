package proxy_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	parse := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for name, up := range map[string]proxy.Upstream{
		"no URL":                {},
		"no host":               {URL: parse("http:///")},
		"only a port":           {URL: parse("http://:80")},
		"no scheme":             {URL: parse("//orders:80")},
		"another scheme":        {URL: parse("ftp://orders")},
		"a path":                {URL: parse("http://orders/base")},
		"a query":               {URL: parse("http://orders?x=canary")},
		"an empty query":        {URL: parse("http://orders?")},
		"a password":            {URL: parse("http://u:canary@orders")},
		"a fragment":            {URL: parse("http://orders#x")},
		"roots without TLS":     {URL: parse("h2c://orders"), RootCAs: x509.NewCertPool()},
		"a name without TLS":    {URL: parse("http://orders"), ServerName: "x"},
		"WebSocket over h2c":    {URL: parse("h2c://orders"), WebSocket: true},
		"a negative time":       {URL: parse("http://orders"), AnswerWithin: -1},
		"opaque":                {URL: parse("http:orders")},
		"an upper-case scheme?": {URL: &url.URL{Scheme: "HTTP", Host: "orders"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := proxy.New(up, proxy.Options{})
			if err == nil || strings.Contains(err.Error(), "canary") {
				t.Errorf("error is %v", err)
			}
		})
	}
	for _, s := range []string{"http://orders", "h2c://orders:1/", "https://[::1]:2"} {
		if _, err := proxy.New(proxy.Upstream{URL: parse(s)}, proxy.Options{}); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

// The upstream's certificate is verified, against the configured authority and
// for the configured name; without it nothing is sent.
func TestTLSUpstream(t *testing.T) {
	t.Parallel()
	ours, other := newPair(t, "orders.internal"), newPair(t, "orders.internal")
	reached := make(chan string, 100)
	addr := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			w.Header().Set("Peer", r.TLS.PeerCertificates[0].Subject.CommonName)
		}
		reached <- r.Proto
	}), func() *tls.Config {
		conf := ours.server()
		conf.ClientAuth, conf.ClientCAs = tls.VerifyClientCertIfGiven, other.pool
		return conf
	}())
	for _, c := range []struct {
		name, server string
		roots        *x509.CertPool
		shown        *tls.Certificate
		status       int
		log, check   string
	}{
		{"good", "orders.internal", ours.pool, nil, 200, "", ""},
		{"good, with a certificate of the edge", "orders.internal", ours.pool, &other.cert, 200, "", ""},
		{"another authority", "orders.internal", other.pool, nil, 503, "certificate signed by unknown authority", "configured CA"},
		{"the system's authorities", "orders.internal", nil, nil, 503, "certificate signed by unknown authority", "configured CA"},
		{"another name", "payments.internal", ours.pool, nil, 503, "not payments.internal", "server_name"},
		{"the URL's host as name", "", ours.pool, nil, 503, "", "server_name"},
		{"a refused certificate of the edge", "orders.internal", ours.pool, &ours.cert, 503, "", "edge's certificate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			up := upstreamAt("https", addr)
			up.RootCAs, up.ServerName = c.roots, c.server
			if c.shown != nil {
				up.ClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.shown, nil }
			}
			e := startEdge(t, up, proxy.Options{})
			res := get(t, clientFor(t, http1), e, "/api")
			equal(t, "status", res.StatusCode, c.status)
			if c.status == http.StatusOK {
				equal(t, "protocol", wait(t, reached, "request"), "HTTP/2.0")
				if c.shown != nil {
					equal(t, "peer", res.Header.Get("Peer"), "orders.internal")
				}
				return
			}
			if len(reached) > 0 {
				t.Error("a request was sent")
			}
			if line := e.log.String(); !strings.Contains(line, c.log) || !strings.Contains(line, c.check) || strings.Count(line, "\n") != 1 {
				t.Errorf("log: %s", line)
			}
		})
	}
}

// unused returns an address that nobody listens on, and that no other test is
// given.
func unused(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.77:0")
	if err != nil {
		t.Skip("the loopback network has one address only")
	}
	defer l.Close()
	return l.Addr().String()
}

// An upstream that is down: UNAVAILABLE for the caller, and for the operator
// one line that names it and says what to check.
func TestUpstreamDown(t *testing.T) {
	t.Parallel()
	clock := newClock()
	addr := unused(t)
	e := startEdge(t, upstreamAt("h2c", addr), clock.options())
	client := dialGRPC(t, e.addr)
	for range 3 {
		_, err := client.UnaryCall(testContext(t), &testpb.SimpleRequest{})
		equal(t, "gRPC", status.Convert(err).String(), status.New(codes.Unavailable, "the service is unavailable, try again later").String())
	}
	res := get(t, clientFor(t, http1), e, "/api?token=canary", "Authorization", "Bearer canary", "X-Kept", "canary")
	body, _ := io.ReadAll(res.Body)
	equal(t, "HTTP", [2]any{res.StatusCode, string(body)}, [2]any{503, `{"code":"unavailable","message":"the service is unavailable, try again later"}`})

	lines := strings.Split(strings.TrimSpace(e.log.String()), "\n")
	for _, want := range []string{"level=ERROR", "upstream=h2c://" + addr, "connection refused", "check=\"that the service runs and listens on this address\"", "requests=1"} {
		if len(lines) != 1 || !strings.Contains(lines[0], want) {
			t.Errorf("want one line with %q, got %q", want, lines)
		}
	}
	clock.Advance(10 * time.Second)
	get(t, clientFor(t, http1), e, "/api")
	if line := strings.TrimPrefix(e.log.String(), lines[0]+"\n"); !strings.Contains(line, "requests=5") || strings.Count(line, "\n") != 1 {
		t.Errorf("after ten seconds: %q", line)
	}

	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skip("the port was taken meanwhile")
	}
	defer l.Close()
	go serveOn(l)
	get(t, clientFor(t, http1), e, "/api")
	get(t, clientFor(t, http1), e, "/api")
	if log := e.log.String(); strings.Count(log, "upstream answers again") != 1 || strings.Contains(log, "canary") || strings.Contains(log, minted) {
		t.Errorf("log: %s", log)
	}
}

func serveOn(l net.Listener) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	_ = (&http.Server{Protocols: protocols, Handler: http.NotFoundHandler()}).Serve(l)
}

// Z01: what an upstream sends is not quoted, broken or not; the hint fits.
func TestUpstreamThatDoesNotSpeakTheProtocol(t *testing.T) {
	t.Parallel()
	only1 := new(http.Protocols)
	only1.SetHTTP1(true)
	plain := listenFor(t, http.NotFoundHandler(), nil, only1)
	for _, c := range []struct{ name, scheme, addr, check string }{
		{"garbage", "http", startCGI(t, "x-principal-bin: canary\r\n\r\n").addr, "scheme"},
		{"garbage in a header", "http", startCGI(t, "HTTP/1.1 200 OK\r\nx-principal-bin canary\r\n\r\n").addr, "scheme"},
		{"too large a header", "http", startCGI(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("canary", 1<<15)+"\r\n\r\n").addr, "scheme"},
		{"nothing", "http", startCGI(t, "").addr, ""},
		{"HTTP/1.1 for h2c", "h2c", plain, "h2c"},
		{"HTTP/1.1 for TLS", "https", plain, "without TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := startEdge(t, upstreamAt(c.scheme, c.addr), proxy.Options{})
			res := get(t, clientFor(t, http1), e, "/api", "X-Kept", "canary")
			equal(t, "status", res.StatusCode, http.StatusServiceUnavailable)
			line := e.log.String()
			if strings.Count(line, "\n") != 1 || !strings.Contains(line, c.check) || strings.Contains(line, "canary") {
				t.Errorf("log: %.300s", line)
			}
		})
	}
}

func TestUpstreamThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	clock := newClock()
	addr := listen(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}), nil)
	for _, scheme := range []string{"http", "h2c"} {
		up := upstreamAt(scheme, addr)
		up.AnswerWithin = 7 * time.Second
		e := startEdge(t, up, clock.options())
		done := make(chan *http.Response, 1)
		go func() { done <- post(t, clientFor(t, h2c), e, "/api", "application/json") }()
		equal(t, "timer", wait(t, clock.armed, "timer"), 7*time.Second)
		clock.Advance(7 * time.Second)
		equal(t, "status", wait(t, done, "response").StatusCode, http.StatusServiceUnavailable)
		if line := e.log.String(); !strings.Contains(line, "no answer in time") {
			t.Errorf("log: %s", line)
		}
	}
}

// I07: a redirect goes back to the client; the principal goes nowhere else.
func TestI07RedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	evil := make(chan string, 1)
	evilAddr := counting(t, evil)
	for _, code := range []int{301, 302, 303, 307, 308} {
		e := startEdge(t, upstreamAt("h2c", listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+evilAddr+"/x", code)
		}), nil)), proxy.Options{})
		res := post(t, clientFor(t, http1), e, "/api", "application/proto")
		equal(t, "status", res.StatusCode, code)
		equal(t, "location", res.Header.Get("Location"), "http://"+evilAddr+"/x")
	}
	if len(evil) > 0 {
		t.Error("the redirect was followed")
	}
}

// No proxy of the environment sees a principal.
func TestEnvironmentIsIgnored(t *testing.T) {
	got := make(chan string, 10)
	t.Setenv("HTTP_PROXY", "http://"+counting(t, got))
	t.Setenv("http_proxy", "http://"+counting(t, got))
	// Loopback is never proxied by environment; a name is.
	e := startEdge(t, upstreamAt("http", "upstream.invalid:80"), proxy.Options{})
	res := get(t, clientFor(t, http1), e, "/api")
	equal(t, "status", res.StatusCode, http.StatusServiceUnavailable)
	if len(got) > 0 {
		t.Errorf("the proxy was asked for %s", <-got)
	}
}

// A body that is too large, or broken, is the client's fault and not logged as
// the upstream's.
func TestClientsBody(t *testing.T) {
	t.Parallel()
	up := listen(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }), nil)
	for _, scheme := range []string{"http", "h2c"} {
		e := startEdge(t, upstreamAt(scheme, up), proxy.Options{})
		e.call = func(_ http.ResponseWriter, r *http.Request) (*http.Request, proxy.Call) {
			r.Body = http.MaxBytesReader(nil, r.Body, 4)
			return r, proxy.Call{}
		}
		res := post(t, clientFor(t, h2c), e, "/api", "application/octet-stream")
		equal(t, "too large", res.StatusCode, http.StatusRequestEntityTooLarge)
		wait(t, e.outcomes, "outcome")
		res = rawHTTP1(t, e.addr, "POST /api HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\nnot a chunk\r\n")
		equal(t, "broken", res.StatusCode, http.StatusBadRequest)
		equal(t, "canceled", wait(t, e.outcomes, "outcome").Canceled, true)
		equal(t, "log", e.log.String(), "")
	}
}

// An answer to a request that is still being sent arrives at once, and leaves
// nothing behind that waits for the client.
func TestEarlyAnswer(t *testing.T) {
	t.Parallel()
	up := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		_, _ = io.WriteString(w, "too much")
	}), nil)
	for _, scheme := range []string{"http", "h2c"} {
		t.Run("HTTP/1.1 to "+scheme, func(t *testing.T) {
			t.Parallel()
			e := startEdge(t, upstreamAt(scheme, up), proxy.Options{})
			conn := dial(t, e.addr)
			_, _ = io.WriteString(conn, "POST /api HTTP/1.1\r\nHost: e\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n")
			r := bufio.NewReader(conn)
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			checkTooMuch(t, e, res)
			// What follows is a broken body, not a request.
			_, _ = io.WriteString(conn, "zz\r\n"+request("/api"))
			if b, err := io.ReadAll(r); len(b) > 0 {
				t.Errorf("the rest of the body was answered: %q, %v", b, err)
			}
		})
		t.Run("h2c to "+scheme, func(t *testing.T) {
			t.Parallel()
			e := startEdge(t, upstreamAt(scheme, up), proxy.Options{})
			pr, pw := io.Pipe()
			defer pw.Close()
			req, err := http.NewRequestWithContext(testContext(t), http.MethodPost, "http://"+e.addr+"/api", pr)
			if err != nil {
				t.Fatal(err)
			}
			res, err := clientFor(t, h2c).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			checkTooMuch(t, e, res)
		})
	}
}

func checkTooMuch(t *testing.T, e *edge, res *http.Response) {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	equal(t, "body", string(body), "too much")
	equal(t, "error", err, nil)
	equal(t, "outcome", wait(t, e.outcomes, "end of the request").Status, http.StatusRequestEntityTooLarge)
}
