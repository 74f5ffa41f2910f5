package enrichment_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1/bffv1connect"

	"github.com/onbehalf-dev/onbehalf/bff/enrich"
	"github.com/onbehalf-dev/onbehalf/bff/internal/enrichment"
)

// service answers as its function says, to Connect and gRPC.
type service func(ctx context.Context, r *bffv1.EnrichRequest) (*bffv1.EnrichResponse, error)

func (f service) Enrich(ctx context.Context, r *bffv1.EnrichRequest) (*bffv1.EnrichResponse, error) {
	return f(ctx, r)
}

// jsonServer is somebody's program that knows nothing of us.
func (f service) jsonServer(t *testing.T) string {
	t.Helper()
	return server(t, func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || json.NewDecoder(r.Body).Decode(&in) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		out, err := f(r.Context(), &bffv1.EnrichRequest{
			Issuer: in["issuer"], Subject: in["subject"], Kind: in["kind"], Tenant: in["tenant"], Session: in["session"],
		})
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{ // who has read enough hangs up
			"workspace": out.GetWorkspace(), "roles": out.GetRoles(), "attributes": out.GetAttributes(),
		})
	})
}

func (f service) connectServer(t *testing.T) string {
	t.Helper()
	s := connect.NewServer()
	bffv1connect.RegisterEnrichmentServiceHandler(s, f)
	mux := http.NewServeMux()
	connecthttp.Mount(mux, s)
	return server(t, mux.ServeHTTP)
}

// grpcServer is one of grpc-go.
func (f service) grpcServer(t *testing.T) string {
	t.Helper()
	s := grpc.NewServer()
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: bffv1connect.EnrichmentServiceName, HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Enrich",
			Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				r := new(bffv1.EnrichRequest)
				if err := decode(r); err != nil {
					return nil, err
				}
				return f(ctx, r)
			},
		}},
	}, f)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return "http://" + l.Addr().String()
}

func server(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func caller(t *testing.T, r enrichment.Remote) *enrichment.Caller {
	t.Helper()
	c, err := enrichment.NewCaller(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// protocols are the servers of each protocol.
var protocols = map[string]struct {
	protocol enrichment.Protocol
	serve    func(f service, t *testing.T) string
}{
	"http":               {enrichment.HTTP, service.jsonServer},
	"connect":            {enrichment.Connect, service.connectServer},
	"grpc, from connect": {enrichment.GRPC, nil},
	"grpc, from grpc-go": {enrichment.GRPC, service.grpcServer},
}

func each(t *testing.T, f service, test func(t *testing.T, c *enrichment.Caller)) {
	t.Helper()
	for name, p := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if p.serve == nil {
				p.serve = service.cleartextHTTP2
			}
			test(t, caller(t, enrichment.Remote{URL: p.serve(f, t), Protocol: p.protocol}))
		})
	}
}

// cleartextHTTP2 is a Connect server for gRPC clients.
func (f service) cleartextHTTP2(t *testing.T) string {
	t.Helper()
	rpcs := connect.NewServer()
	bffv1connect.RegisterEnrichmentServiceHandler(rpcs, f)
	mux := http.NewServeMux()
	connecthttp.Mount(mux, rpcs)
	s := httptest.NewUnstartedServer(mux)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

func TestCall(t *testing.T) {
	t.Parallel()
	want := &enrich.Input{Issuer: provider, Subject: "hm-alice", Kind: "human", Tenant: "north", Session: "s"}
	f := func(_ context.Context, r *bffv1.EnrichRequest) (*bffv1.EnrichResponse, error) {
		got := &enrich.Input{Issuer: r.GetIssuer(), Subject: r.GetSubject(), Kind: r.GetKind(), Tenant: r.GetTenant(), Session: r.GetSession()}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		return &bffv1.EnrichResponse{Workspace: "acme", Roles: []string{"buyer", "auditor"}, Attributes: map[string]string{"plan": "gold"}}, nil
	}
	each(t, f, func(t *testing.T, c *enrichment.Caller) {
		t.Helper()
		for range 3 {
			got, err := c.Enrich(t.Context(), want)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(facts(), got); d != "" {
				t.Error(d)
			}
		}
	})
}

// Nothing of what a bad enricher answers comes through, and what is said about it
// are words of the edge.
func TestBadAnswers(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]service{
		"in time, status 504": func(ctx context.Context, _ *bffv1.EnrichRequest) (*bffv1.EnrichResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"status 503, status 500, the call ended with unavailable, unknown": func(context.Context, *bffv1.EnrichRequest) (*bffv1.EnrichResponse, error) {
			return nil, status.Error(codes.Unavailable, "secret")
		},
		"longer, resource_exhausted": func(context.Context, *bffv1.EnrichRequest) (*bffv1.EnrichResponse, error) {
			return &bffv1.EnrichResponse{Workspace: strings.Repeat("secret", 10<<20/6)}, nil
		},
		"workspace: 300 bytes, at most 256": func(context.Context, *bffv1.EnrichRequest) (*bffv1.EnrichResponse, error) {
			return &bffv1.EnrichResponse{Workspace: strings.Repeat("secret", 50)}, nil
		},
		"roles[0]: has a control character": func(context.Context, *bffv1.EnrichRequest) (*bffv1.EnrichResponse, error) {
			return &bffv1.EnrichResponse{Roles: []string{"secret\u202e"}}, nil
		},
		"workspace: has a control character": func(context.Context, *bffv1.EnrichRequest) (*bffv1.EnrichResponse, error) {
			return &bffv1.EnrichResponse{Workspace: "secret\x00"}, nil
		},
	} {
		each(t, f, func(t *testing.T, c *enrichment.Caller) {
			t.Helper()
			timeout := 30 * time.Second
			if strings.HasPrefix(want, "in time") {
				timeout = 200 * time.Millisecond
			}
			w := newWorld(t, func(s *enrichment.Settings) { s.Enricher, s.Timeout = c, timeout })
			f, _, err := w.Facts(t.Context(), provider, alice())
			if err == nil || len(f.Roles)+len(f.Attributes) > 0 || !anyOf(err.Error(), strings.Split(want, ", ")) {
				t.Errorf("%v %v, want %s", f, err, want)
			}
			if text := fmt.Sprint(err, w.log.String()); strings.Contains(text, "secret") {
				t.Error(text)
			}
		})
	}
}

func anyOf(s string, parts []string) bool {
	for _, part := range parts {
		if strings.Contains(s, part) {
			return true
		}
	}
	return false
}

// Whoever answers at the enricher's address must not have the edge call another
// one in its network.
func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	for name, p := range protocols {
		for _, code := range []int{301, 302, 303, 307, 308} {
			t.Run(fmt.Sprint(name, code), func(t *testing.T) {
				t.Parallel()
				var reached atomic.Bool
				internal := server(t, func(http.ResponseWriter, *http.Request) { reached.Store(true) })
				s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Location", internal+"/latest/meta-data")
					w.WriteHeader(code)
				}))
				s.Config.Protocols = new(http.Protocols)
				s.Config.Protocols.SetHTTP1(true)
				s.Config.Protocols.SetUnencryptedHTTP2(true)
				s.Start()
				t.Cleanup(s.Close)
				c := caller(t, enrichment.Remote{URL: s.URL, Protocol: p.protocol})
				out, err := c.Enrich(t.Context(), &enrich.Input{Subject: "hm-alice"})
				if want := fmt.Sprintf("status %d, not 200", code); err == nil || enrichment.Describe(err) != want || out != nil {
					t.Errorf("%v %v, want %s", out, err, want)
				}
				if reached.Load() {
					t.Error("the redirect was followed")
				}
			})
		}
	}
}

func TestJSONAnswers(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = io.WriteString(z, `{"workspace":"`+strings.Repeat("a", 10<<20)+`"}`)
	_ = z.Close()
	for body, ok := range map[string]bool{
		`{}`:                      true,
		` {"roles":null} ` + "\n": true,
		`{"workspace":"acme"}`:    true,
		``:                        false,
		`null x`:                  false,
		`[]`:                      false,
		`{"roles":"admin"}`:       false,
		`{"roles":["a"]}{}`:       false,
		`{"roles":["a"],"scopes":["orders:write"]}`: false,
		`{"subject":"hm-root"}`:                     false,
		`{"expires_at":99999999999}`:                false,
		`{"attributes":{"a":1}}`:                    false,
		`{"attributes":{"a":{"b":"c"}}}`:            false,
		strings.Repeat(`{"attributes":`, 5000):      false,
		strings.Repeat(" ", 70<<10) + `{}`:          false,
		bomb.String():                               false,
	} {
		url := server(t, func(w http.ResponseWriter, _ *http.Request) {
			if strings.HasPrefix(body, "\x1f\x8b") {
				w.Header().Set("Content-Encoding", "gzip")
			}
			_, _ = io.WriteString(w, body)
		})
		_, err := caller(t, enrichment.Remote{URL: url, Protocol: enrichment.HTTP}).Enrich(t.Context(), &enrich.Input{Subject: "hm-alice"})
		if (err == nil) != ok {
			t.Errorf("%.60q: %v", body, err)
		}
		if err != nil && !strings.HasPrefix(enrichment.Describe(err), "the answer is ") {
			t.Errorf("%.60q: %s", body, enrichment.Describe(err))
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"workspace":"%d"}`, len(r.TLS.PeerCertificates))
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	own := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &s.TLS.Certificates[0], nil }
	in := &enrich.Input{Subject: "hm-alice"}

	out, err := caller(t, enrichment.Remote{URL: s.URL, Protocol: enrichment.HTTP, RootCAs: roots, ClientCertificate: own}).Enrich(t.Context(), in)
	if err != nil || out.Workspace != "1" {
		t.Error(out, err)
	}
	out, err = caller(t, enrichment.Remote{URL: s.URL, Protocol: enrichment.HTTP}).Enrich(t.Context(), in)
	if err == nil {
		t.Error("a certificate of nobody known was taken", out)
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(nil)
	s.Close()
	for name, p := range protocols {
		c := caller(t, enrichment.Remote{URL: s.URL, Protocol: p.protocol})
		if _, err := c.Enrich(t.Context(), &enrich.Input{Subject: "hm-alice"}); err == nil || enrichment.Describe(err) != "no connection" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for url, ok := range map[string]bool{
		"https://facts.internal/enrich": true, "https://10.0.0.1:8443": true, "http://127.0.0.1:1": true, "http://[::1]:1": true, "http://localhost:1/x": true,
		"": false, "facts.internal": false, "https://": false, "http://facts.internal": false, "http://10.0.0.1": false, "http://127.0.0.1.evil.test": false,
		"http://localhost.evil.test": false, "ftp://127.0.0.1": false, "https://u:p@facts.internal": false, "https://facts.internal?x=1": false,
		"https://facts.internal#x": false, "https:facts": false, "file:///etc/passwd": false, "http://0.0.0.0": false,
	} {
		if err := enrichment.CheckURL(url); (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
		if _, err := enrichment.NewCaller(enrichment.Remote{URL: url, Protocol: enrichment.HTTP}); (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
	}
}
