package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	dialTimeout         = 5 * time.Second
	handshakeTimeout    = 5 * time.Second
	defaultAnswerWithin = time.Minute
	maxResponseHeader   = 64 << 10
	// The default of 2 closes and opens connections under load, which costs a
	// third of the throughput.
	idleConnsPerHost = 256
	idleConnTimeout  = 90 * time.Second
	// What a slow client leaves with the edge of one HTTP/2 stream. The default
	// is 4 MiB, and an attacker can have many streams.
	streamWindow = 512 << 10
)

// Upstream is one place that requests are sent to.
type Upstream struct {
	// URL has a scheme, a host and perhaps a port, nothing else: the path is the
	// client's. The scheme says what the upstream speaks: http is HTTP/1.1, h2c
	// is HTTP/2 without TLS, https is whatever it chooses by ALPN. gRPC needs
	// h2c or https.
	URL *url.URL
	// Endpoints are the addresses that it is reached at, each a host and a port,
	// in place of the URL's own. One that cannot be reached, or fails one request
	// after the other, is left out for a while.
	Endpoints []string
	// HealthCheck says how they are looked after. The zero value is not at all.
	HealthCheck HealthCheck
	// RootCAs are the authorities that may vouch for an https upstream. Nil
	// means those of the system. Verification cannot be switched off.
	RootCAs *x509.CertPool
	// ServerName is the name that the certificate must be for. Empty means the
	// URL's host.
	ServerName string
	// ClientCertificate is what the edge shows to an https upstream that asks
	// for a certificate. Nil means none. It is called for each connection, so a
	// rotated certificate needs no restart.
	ClientCertificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	// WebSocket lets the upgrade to WebSocket through, for http and https. No
	// other upgrade ever is.
	WebSocket bool
	// AnswerWithin is how long the upstream may take from the end of a request
	// to the header of its response. It does not apply to gRPC and to streams,
	// which bring their own deadline. Zero means a minute.
	AnswerWithin time.Duration
}

func (u Upstream) check() error {
	if u.URL == nil || u.URL.Host == "" || u.URL.Hostname() == "" {
		return errors.New("proxy: an upstream needs a URL with a host")
	}
	switch u.URL.Scheme {
	case "http", "h2c", "https":
	default:
		return fmt.Errorf("proxy: scheme %q of an upstream is not http, h2c or https", u.URL.Scheme)
	}
	plain := url.URL{Scheme: u.URL.Scheme, Host: u.URL.Host}
	if *u.URL != plain && *u.URL != *plain.JoinPath("/") {
		plain.Path = u.URL.Path // the rest may hold a password
		return fmt.Errorf("proxy: upstream %s has more than a scheme, a host and a port", &plain)
	}
	if tls := u.RootCAs != nil || u.ServerName != "" || u.ClientCertificate != nil; tls && u.URL.Scheme != "https" {
		return fmt.Errorf("proxy: upstream %s has settings for TLS but is not https", u.URL)
	}
	if u.WebSocket && u.URL.Scheme == "h2c" {
		return fmt.Errorf("proxy: upstream %s cannot have WebSocket, which needs HTTP/1.1", u.URL)
	}
	if err := u.HealthCheck.check(u.URL.Scheme); err != nil {
		return err
	}
	if u.AnswerWithin < 0 {
		return fmt.Errorf("proxy: upstream %s must answer within a negative time", u.URL)
	}
	return nil
}

// transport returns a transport for exactly the protocol of the URL. It reads
// no proxy from the environment and follows no redirect (no RoundTripper
// does), so a principal goes to the configured host or nowhere.
//
// HTTP/2 pings are left off: grpc-go ends a connection that is pinged more
// often than every five minutes. TCP keep-alive finds a dead peer.
func (u Upstream) transport() *http.Transport {
	t := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout:    handshakeTimeout,
		DisableCompression:     true, // what passes through is not ours to unpack
		MaxIdleConnsPerHost:    idleConnsPerHost,
		IdleConnTimeout:        idleConnTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxResponseHeader,
		Protocols:              new(http.Protocols),
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerStream: streamWindow},
	}
	switch u.URL.Scheme {
	case "http":
		t.Protocols.SetHTTP1(true)
	case "h2c":
		t.Protocols.SetUnencryptedHTTP2(true)
	case "https":
		t.Protocols.SetHTTP1(true)
		t.Protocols.SetHTTP2(true)
		t.TLSClientConfig = u.tls()
	}
	return t
}

func (u Upstream) tls() *tls.Config {
	return &tls.Config{
		RootCAs:              u.RootCAs,
		ServerName:           cmp.Or(u.ServerName, u.URL.Hostname()),
		GetClientCertificate: u.ClientCertificate,
		MinVersion:           tls.VersionTLS12,
	}
}

// onlyHTTP1 marks the context of a request that asks for an upgrade, which HTTP/2
// has not. net/http dials for it with its context, and shares that connection with
// no request of another kind.
type onlyHTTP1 struct{}

// dialer returns what connects to address and, if u has TLS, shakes hands: who
// takes connections and closes them can no more be reached than who takes none.
func (u Upstream) dialer(address string) func(ctx context.Context, network string) (net.Conn, error) {
	plain := &net.Dialer{Timeout: dialTimeout}
	if u.URL.Scheme != "https" {
		return func(ctx context.Context, network string) (net.Conn, error) {
			return plain.DialContext(ctx, network, address)
		}
	}
	conf := u.tls()
	conf.NextProtos = []string{"h2", "http/1.1"}
	forUpgrades := conf.Clone()
	forUpgrades.NextProtos = []string{"http/1.1"}
	return func(ctx context.Context, network string) (net.Conn, error) {
		conf := conf
		if ctx.Value(onlyHTTP1{}) != nil {
			conf = forUpgrades
		}
		raw, err := plain.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		conn := tls.Client(raw, conf)
		ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
		defer cancel()
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, err
		}
		return conn, nil
	}
}

// name is how the log calls u.
func (u Upstream) name() string { return u.URL.Scheme + "://" + u.URL.Host }

// Address is where u is reached if it has no endpoints: a host and a port.
func (u Upstream) Address() string {
	port := "80"
	if u.URL.Scheme == "https" {
		port = "443"
	}
	return net.JoinHostPort(u.URL.Hostname(), cmp.Or(u.URL.Port(), port))
}
