// Package certs serves a certificate that somebody else renews on disk.
//
// The files are looked at no more than once in ten seconds, when a connection
// is made. If what is there then cannot be used, as while it is being written,
// the certificate before goes on being served, and the log says so.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"
)

const lookAgain = 10 * time.Second

// Pair is a certificate and its private key. It is safe for concurrent use.
type Pair struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	mu     sync.Mutex
	cert   *tls.Certificate
	looked time.Time
	read   [2]stamp // of the files that cert, or the last failure, is from
}

// stamp tells whether a file has changed.
type stamp struct {
	modified time.Time
	size     int64
}

// Load reads a certificate and the key that belongs to it, both as PEM.
func Load(certFile, keyFile string, log *slog.Logger, now func() time.Time) (*Pair, error) {
	p := &Pair{certFile: certFile, keyFile: keyFile, log: log, now: now, looked: now()}
	p.read = p.stamps()
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	p.cert = &cert
	return p, nil
}

// Pool reads the authorities in a PEM file.
func Pool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New(file + " has no certificate in PEM")
	}
	return pool, nil
}

func (p *Pair) stamps() (s [2]stamp) {
	for i, name := range []string{p.certFile, p.keyFile} {
		if info, err := os.Stat(name); err == nil { // follows the links that clusters mount
			s[i] = stamp{modified: info.ModTime(), size: info.Size()}
		}
	}
	return s
}

// Current returns the certificate as it is now.
func (p *Pair) Current() *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.now(); now.Sub(p.looked).Abs() >= lookAgain {
		p.looked = now
		p.reload()
	}
	return p.cert
}

func (p *Pair) reload() {
	found := p.stamps()
	if found == p.read {
		return
	}
	p.read = found
	cert, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		p.log.Error("a renewed certificate cannot be used; the one before is", "file", p.certFile, "error", err)
		return
	}
	p.cert = &cert
	p.log.Info("a certificate was renewed", "file", p.certFile)
}

// Server is for [tls.Config].GetCertificate.
func (p *Pair) Server(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.Current(), nil }

// Client is for [tls.Config].GetClientCertificate.
func (p *Pair) Client(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.Current(), nil }
