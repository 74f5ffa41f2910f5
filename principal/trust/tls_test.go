package trust_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal/revocation"
	"github.com/onbehalf-dev/onbehalf/principal/trust"
)

func insecure() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// authority is a certificate authority for clients.
type authority struct {
	pool *x509.CertPool
	cert *x509.Certificate
	key  any
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mesh"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{pool: x509.NewCertPool(), cert: cert, key: key}
	a.pool.AddCert(cert)
	return a
}

func (a *authority) client(t testing.TB, name string, server *httptest.Server) *tls.Config {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func newTLSEdge(t testing.TB, clients *authority, conf *tls.Config) *edge {
	t.Helper()
	return newEdgeOn(t, func(s *httptest.Server) {
		s.EnableHTTP2 = true
		s.TLS = conf
		if clients != nil {
			s.TLS.ClientAuth, s.TLS.ClientCAs = tls.RequireAndVerifyClientCert, clients.pool
		}
		s.StartTLS()
	})
}

// By its certificate a service enrols without a token, and again after its key was
// revoked (C02: only with the key that the edge has accepted does it sign).
func TestEnrolByCertificate(t *testing.T) {
	t.Parallel()
	clients := newAuthority(t)
	e := newTLSEdge(t, clients, &tls.Config{})
	conf := clients.client(t, "orders", e.server)
	node := join(t, e.server.URL, trust.WithTLSConfig(conf))
	first, ok := node.Propagator().Key()
	if !ok || e.enrolled[0].GetCredential() != nil {
		t.Fatalf("%v %v", first, e.enrolled)
	}
	sequence := e.revoke(revocation.Key(first.KeyRef))
	await(t, "another key is enrolled", func() bool {
		second, ok := node.Propagator().Key()
		return ok && second.ID != first.ID
	})
	if err := node.Health(); err != nil {
		t.Error(err)
	}
	await(t, "the edge knows that the revocation holds", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.reports) > 0 && e.reports[len(e.reports)-1] >= sequence
	})
}

// The certificate of another service does not enrol, and a client's transport
// lends its settings.
func TestTLS(t *testing.T) {
	t.Parallel()
	clients := newAuthority(t)
	e := newTLSEdge(t, clients, &tls.Config{})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: clients.client(t, "orders", e.server)}}
	node := join(t, e.server.URL, trust.WithHTTPClient(client))
	if _, ok := node.Propagator().Key(); !ok {
		t.Error("no key")
	}
	client.Transport = &http.Transport{TLSClientConfig: clients.client(t, "ledger", e.server)}
	if err := tryJoin(t, e.server.URL, trust.WithHTTPClient(client)); err == nil {
		t.Error("enrolled with the certificate of another service")
	}
	client.Transport = &http.Transport{TLSClientConfig: &tls.Config{}}
	if err := tryJoin(t, e.server.URL, trust.WithHTTPClient(client), trust.WithoutLinkKey()); err == nil {
		t.Error("an edge of an unknown authority")
	}
	old := newTLSEdge(t, nil, &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	weak := clients.client(t, "orders", old.server)
	weak.MinVersion = tls.VersionTLS10
	if err := tryJoin(t, old.server.URL, trust.WithTLSConfig(weak), trust.WithoutLinkKey()); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
}

// The key that was revoked signs nothing from the moment on at which the service
// has heard of it, also where a link is held; without a certificate the service
// stays without one and says so (G06).
func TestOwnKeyRevoked(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	var out logs
	node := join(t, e.server.URL, trust.WithEnrollmentToken(token), out.option())
	ctx, err := node.Verifier().Context(t.Context(), e.header("orders", human(1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.Propagator().Header(ctx, "payments", ""); err != nil {
		t.Fatal(err)
	}
	key, _ := node.Propagator().Key()
	e.revoke(revocation.Key(key.KeyRef))
	await(t, "the key is gone", func() bool { _, ok := node.Propagator().Key(); return !ok })
	if h, err := node.Propagator().Header(ctx, "payments", ""); err == nil {
		t.Errorf("signed or held: %v", h)
	}
	await(t, "health says so", func() bool {
		err := node.Health()
		return err != nil && containsAll(err.Error(), "revoked", "start the service again")
	})
	if _, err := node.AsService(t.Context()); err == nil {
		t.Error("acts for itself with a revoked key")
	}
	if found, err := node.Find(t.Context(), key.KeyRef); found != nil || err != nil {
		t.Errorf("found %v %v", found, err)
	}
	e.do(func() { e.keys[key.KeyRef] = key })
	e.addKey(key) // by mistake
	if sequence := e.revoke(sessionOf(9)); !caughtUp(t, e, sequence) {
		t.Fatal("the feed is not followed")
	}
	if found, _ := node.Find(t.Context(), key.KeyRef); found != nil {
		t.Error("a revoked key came back")
	}
	if !containsAll(out.String(), "link key lost", "it was revoked") {
		t.Error(out.String())
	}
}
