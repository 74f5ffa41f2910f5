package doctor_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/doctor"
)

// run runs the checks as outside of any cluster, but for what o says.
func run(t *testing.T, o doctor.Options) map[string][]doctor.Finding {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "none.yaml")
	}
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	if o.Sidecar == nil {
		o.Sidecar = []string{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	found := make(map[string][]doctor.Finding)
	for _, f := range doctor.Run(t.Context(), o) {
		if strings.ContainsAny(f.Text, "\n\t") || f.Text == "" {
			t.Errorf("%q is not one line", f.Text)
		}
		found[f.Check] = append(found[f.Check], f)
	}
	return found
}

// want checks what is the first finding of a check.
func want(t *testing.T, found map[string][]doctor.Finding, check string, status doctor.Status, text string) {
	t.Helper()
	if len(found[check]) == 0 {
		t.Fatalf("nothing about %s; found %v", check, found)
	}
	f := found[check][0]
	if f.Status != status || !strings.Contains(f.Text, text) {
		t.Errorf("%s: got %s %q, want %s %q", check, f.Status, f.Text, status, text)
	}
}

// authority issues the certificates of a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = a.issue("ca", a.cert)
	return a
}

// issue writes NAME.pem and NAME.key.
func (a *authority) issue(name string, template *x509.Certificate) *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for suffix, block := range map[string]*pem.Block{
		".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(a.file(name+suffix), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return key
}

func (a *authority) leaf(name string, life time.Duration) tls.Certificate {
	a.t.Helper()
	a.issue(name, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	})
	pair, err := tls.LoadX509KeyPair(a.file(name+".pem"), a.file(name+".key"))
	if err != nil {
		a.t.Fatal(err)
	}
	return pair
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// server is one of Go's that asks clients for a certificate, or not. Version 0 is the newest.
func (a *authority) server(auth tls.ClientAuthType, version uint16, protocols ...string) string {
	a.t.Helper()
	cert := a.leaf("server", time.Hour*24*300)
	roots := x509.NewCertPool()
	if ca, err := os.ReadFile(a.file("ca.pem")); err != nil || !roots.AppendCertsFromPEM(ca) {
		a.t.Fatal("no authority:", err)
	}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.EnableHTTP2 = len(protocols) == 0
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.TLS = &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientCAs: roots, ClientAuth: auth,
		MinVersion: tls.VersionTLS12, MaxVersion: version, NextProtos: protocols,
	}
	s.StartTLS()
	a.t.Cleanup(s.Close)
	return s.URL
}

// plain is a server without TLS on this machine.
func plain(t *testing.T, http2 bool) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, http2)
	return l.Addr().String()
}

func serve(t *testing.T, l net.Listener, http2 bool) {
	t.Helper()
	s := &http.Server{Handler: http.NotFoundHandler(), Protocols: new(http.Protocols), ReadHeaderTimeout: time.Minute}
	s.Protocols.SetHTTP1(!http2)
	s.Protocols.SetUnencryptedHTTP2(http2)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
}

// closed is an address that nobody listens on.
func closed(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
