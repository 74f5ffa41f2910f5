package contract_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"sync"
	"testing"
	"time"
)

// authorityOfTLS issues the certificates of the trust domain.
type authorityOfTLS struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

var certificates = sync.OnceValue(func() *authorityOfTLS {
	a := &authorityOfTLS{pool: x509.NewCertPool()}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA of td.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		panic(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		panic(err)
	}
	a.pool.AddCert(a.cert)
	return a
})

// issue returns the certificate of a workload with these SPIFFE IDs.
func (a *authorityOfTLS) issue(t testing.TB, ids ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames:    []string{"server.test"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, id := range ids {
		uri, err := url.Parse(id)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = append(template.URIs, uri)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serverTLS verifies client certificates where they are given.
func serverTLS(t testing.TB) *tls.Config {
	t.Helper()
	a := certificates()
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{a.issue(t, "spiffe://td.example/server")},
		ClientAuth:   tls.VerifyClientCertIfGiven,
		ClientCAs:    a.pool,
		NextProtos:   []string{"h2"},
	}
}

// clientTLS shows the certificate of a service, or none for "".
func clientTLS(t testing.TB, ids ...string) *tls.Config {
	t.Helper()
	a := certificates()
	c := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: a.pool, ServerName: "server.test", NextProtos: []string{"h2"}}
	if len(ids) > 0 {
		c.Certificates = []tls.Certificate{a.issue(t, ids...)}
	}
	return c
}
