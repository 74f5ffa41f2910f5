package trust

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1/trustv1connect"
)

const (
	dialTimeout = 5 * time.Second
	// maxMessage bounds one message of the feed; parts of a snapshot have 1 MiB.
	maxMessage = 8 << 20
)

// parseOrigin lets only those URLs pass over which nobody on the way can change
// what is trusted. Errors hold nothing of it: one wrong character makes a path of
// a password.
func parseOrigin(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("trust: the URL of the edge is malformed")
	case u.User != nil:
		return nil, errors.New("trust: the URL of the edge holds a password")
	case u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("trust: the URL of the edge is a scheme, a host and a port, such as https://bff.internal:9443")
	case u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()):
		return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
	default:
		return nil, errors.New("trust: the URL of the edge: use https, or http for this machine only")
	}
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// lines makes connections to the edge.
type lines struct {
	origin *url.URL
	base   *http.Transport
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

func newLines(origin *url.URL, c *config) (*lines, error) {
	base := c.transport
	if base == nil {
		base = &http.Transport{Proxy: http.ProxyFromEnvironment}
	}
	base = base.Clone()
	if c.tls != nil {
		base.TLSClientConfig = c.tls.Clone()
	}
	if base.TLSClientConfig == nil {
		base.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	conf := base.TLSClientConfig
	if conf.InsecureSkipVerify && conf.VerifyPeerCertificate == nil && conf.VerifyConnection == nil {
		return nil, errors.New("trust: the TLS configuration does not verify the edge")
	}
	conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	conf.NextProtos = nil // as the protocols below need them
	base.Protocols = new(http.Protocols)
	base.Protocols.SetHTTP2(origin.Scheme == "https")
	base.Protocols.SetUnencryptedHTTP2(origin.Scheme == "http")
	base.HTTP2 = &http.HTTP2Config{WriteByteTimeout: dialTimeout, MaxReceiveBufferPerStream: 1 << 20}
	base.TLSHandshakeTimeout = dialTimeout
	base.MaxResponseHeaderBytes = 64 << 10
	base.DisableKeepAlives = false
	base.DisableCompression = true
	l := &lines{origin: origin, base: base, dial: base.DialContext}
	if l.dial == nil {
		l.dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext
	}
	return l, nil
}

// certified reports whether the edge can see a client certificate.
func (l *lines) certified() bool {
	conf := l.base.TLSClientConfig
	return l.origin.Scheme == "https" && (len(conf.Certificates) > 0 || conf.GetClientCertificate != nil)
}

// line is one connection to the edge, with all that runs over it. It is closed
// for good: one that has fallen silent may look healthy to a connection pool.
type line struct {
	http *http.Client
	rpc  trustv1connect.TrustFeedServiceClient

	mu     sync.Mutex
	conns  []net.Conn
	closed bool
}

func (l *lines) open() *line {
	line := new(line)
	transport := l.base.Clone()
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := l.dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return line.keep(conn)
	}
	line.http = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	line.rpc = trustv1connect.NewTrustFeedServiceClient(connect.NewClient(connecthttp.NewTransport(line.http, l.origin.String(),
		connecthttp.WithCompressors(), connecthttp.WithReadMaxBytes(maxMessage))))
	return line
}

var errLineClosed = errors.New("trust: the connection was given up")

func (l *line) keep(conn net.Conn) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = conn.Close()
		return nil, errLineClosed
	}
	l.conns = append(l.conns, conn)
	return conn, nil
}

func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, conn := range l.conns {
		_ = conn.Close() // it is gone either way
	}
	l.conns = nil
	l.http.CloseIdleConnections()
}
