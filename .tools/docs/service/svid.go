package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// mesh is what a service has in a mesh: an own certificate, and whom to believe.
type mesh struct {
	own         tls.Certificate
	authorities *x509.CertPool
}

// newMesh reads the files of a service. Without a directory there is no mesh.
func newMesh(dir, name string) (*mesh, error) {
	if dir == "" {
		return nil, nil
	}
	own, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
	if err != nil {
		return nil, fmt.Errorf("the SVID: %w", err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("the authorities: %w", err)
	}
	m := &mesh{own, x509.NewCertPool()}
	m.authorities.AppendCertsFromPEM(ca)
	return m, nil
}

func (m *mesh) server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{m.own},
		ClientCAs: m.authorities, ClientAuth: tls.RequireAndVerifyClientCert,
	}
}

func (m *mesh) client() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{m.own}, RootCAs: m.authorities}
}

// makeSVIDs writes a certificate for each name, and the authority's: what SPIRE
// or a mesh gives to services.
func makeSVIDs(dir string, names []string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := template("authority")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	root, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		return err
	}
	if err := write(filepath.Join(dir, "ca.crt"), "CERTIFICATE", root); err != nil {
		return err
	}
	for _, name := range names {
		if err := makeSVID(filepath.Join(dir, name), name, ca, key); err != nil {
			return err
		}
	}
	return nil
}

func makeSVID(path, name string, ca *x509.Certificate, caKey *ecdsa.PrivateKey) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := template(name)
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	leaf.URIs = []*url.URL{{Scheme: "spiffe", Host: os.Getenv("TRUST_DOMAIN"), Path: "/" + name}}
	certificate, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := write(path+".crt", "CERTIFICATE", certificate); err != nil {
		return err
	}
	return write(path+".key", "PRIVATE KEY", private)
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}
}

func write(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
