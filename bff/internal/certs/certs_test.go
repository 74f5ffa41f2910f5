package certs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/certs"
)

// files are those of a certificate.
type files struct {
	t         *testing.T
	cert, key string
	renewals  int64
}

func newFiles(t *testing.T) *files {
	t.Helper()
	dir := t.TempDir()
	return &files{t: t, cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
}

// renew makes a certificate, and returns its two files' contents.
func (f *files) renew(name string) (cert, key []byte) {
	f.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		f.t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		f.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// write gives each version of a file a time of its own, however fast tests are.
func (f *files) write(path string, data []byte) {
	f.t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.renewals++
	at := time.Unix(1_800_000_000+f.renewals, 0)
	if err := os.Chtimes(path, at, at); err != nil {
		f.t.Fatal(err)
	}
}

func TestRenewal(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	cert, key := f.renew("first")
	f.write(f.cert, cert)
	f.write(f.key, key)
	now := time.Unix(1_800_000_000, 0)
	var log bytes.Buffer
	pair, err := certs.Load(f.cert, f.key, slog.New(slog.NewTextHandler(&log, nil)), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	serves := func(want string) {
		t.Helper()
		server, err := pair.Server(nil)
		if err != nil {
			t.Fatal(err)
		}
		client, err := pair.Client(nil)
		if err != nil || client != server {
			t.Fatal(err, client)
		}
		if server.Leaf.Subject.CommonName != want {
			t.Errorf("serves %s, want %s", server.Leaf.Subject.CommonName, want)
		}
	}
	serves("first")

	cert, key = f.renew("second")
	f.write(f.cert, cert)
	serves("first") // it is not time to look
	now = now.Add(10 * time.Second)
	serves("first") // its key is not there yet
	now = now.Add(10 * time.Second)
	serves("first")
	if n := strings.Count(log.String(), "cannot be used"); n != 1 {
		t.Errorf("%d complaints, want 1: %s", n, &log)
	}
	f.write(f.key, key)
	now = now.Add(10 * time.Second)
	serves("second")

	if err := os.Remove(f.cert); err != nil {
		t.Fatal(err)
	}
	now = now.Add(-time.Hour) // the clock was set back
	serves("second")
	if strings.Contains(log.String(), "PRIVATE") {
		t.Error(&log)
	}
}

func TestLoadFails(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	if _, err := certs.Load(f.cert, f.key, slog.New(slog.DiscardHandler), time.Now); err == nil {
		t.Error("loaded what is not there")
	}
}
