package bff_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// certificate writes a certificate of its own authority for a name and the
// loopback address, and returns its files.
func certificate(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	plantKey(pkcs8[len(pkcs8)-100:])
	write := func(suffix, kind string, data []byte) string {
		path := filepath.Join(dir, name+suffix)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write(".pem", "CERTIFICATE", der), write(".key", "PRIVATE KEY", pkcs8)
}

func pool(t *testing.T, certFile string) *x509.CertPool {
	t.Helper()
	data, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(data) {
		t.Fatal("no certificate")
	}
	return p
}

// TLS to the edge and from it on: the public and the mesh listener have
// certificates, and the upstream asks for that of the edge.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	edgeCert, edgeKey := certificate(t, dir, "edge")
	upCert, upKey := certificate(t, dir, "orders.internal")
	pair, err := tls.LoadX509KeyPair(upCert, upKey)
	if err != nil {
		t.Fatal(err)
	}
	var peer string
	var service http.Header
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		peer, service = r.TLS.PeerCertificates[0].Subject.CommonName, r.Header
	}))
	up.TLS = &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool(t, edgeCert), MinVersion: tls.VersionTLS13,
	}
	up.StartTLS()
	t.Cleanup(up.Close)

	e := start(t, setup{extra: strings.NewReplacer("EDGE.pem", edgeCert, "EDGE.key", edgeKey, "UP.pem", upCert, "UP", up.URL).Replace(`
  - path_prefix: /tls
    upstream: UP
    ca: UP.pem
    server_name: orders.internal
    client_cert: EDGE.pem
    client_key: EDGE.key
    audience: orders
tls: {cert: EDGE.pem, key: EDGE.key}
mesh_tls: {cert: EDGE.pem, key: EDGE.key}
`)})
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool(t, edgeCert), MinVersion: tls.VersionTLS12}}
	e.client = &http.Client{Transport: transport}
	e.public, e.mesh = strings.Replace(e.public, "http", "https", 1), strings.Replace(e.mesh, "http", "https", 1)

	res := e.do(http.MethodGet, "/tls", e.provider.token("alice", nil), http.Header{"X-Principal-Bin": {"forged"}})
	if res.StatusCode != http.StatusOK || res.Proto != "HTTP/2.0" {
		t.Fatal(res.Status, res.Proto, e.log)
	}
	if peer != "edge" {
		t.Error("the upstream saw", peer)
	}
	e.principal("orders", service)
	if service.Get("X-Forwarded-Proto") != "https" {
		t.Error(service)
	}
}

// Without TLS, HTTP/2 works by prior knowledge.
func TestUnencryptedHTTP2(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	e.client = &http.Client{Transport: transport}
	res := e.do(http.MethodGet, "/relay", e.provider.token("alice", nil), http.Header{"X-Principal-Bin": {"forged", "forged"}})
	if res.StatusCode != http.StatusOK || res.Proto != "HTTP/2.0" {
		t.Fatal(res.Status, res.Proto)
	}
	if got := e.principal("orders", e.upstream.last()); got.Kind() != principal.KindHuman {
		t.Error(got)
	}
}
