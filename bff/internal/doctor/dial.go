package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// settle is how long a server may take to refuse a client after the handshake.
// One that speaks HTTP/1.1 says nothing if it does not.
const settle = time.Second

var (
	errRefused = errors.New("the server refuses the client")
	errClosed  = errors.New("the server ends the connection and does not say why")
)

// dialFunc is [net.Dialer.DialContext].
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

var anywhere = new(net.Dialer).DialContext

func (d *doctor) dial(ctx context.Context, by dialFunc, address string) (net.Conn, error) {
	conn, err := by(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline) // a connection that is closed tells that itself
	return conn, nil
}

// connects is the handshake of TCP.
func (d *doctor) connects(ctx context.Context, by dialFunc, address string) error {
	ctx, cancel := context.WithTimeout(ctx, d.Within)
	defer cancel()
	conn, err := d.dial(ctx, by, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// shakesHands is the handshake of TLS, with a certificate if client is not nil.
// Its error is errRefused if the server asks for a certificate and says that this
// client's, or none, will not do; it is errClosed if it asks, and hangs up.
func (d *doctor) shakesHands(ctx context.Context, by dialFunc, address string, conf *tls.Config, client *tls.Certificate) error {
	ctx, cancel := context.WithTimeout(ctx, d.Within+settle)
	defer cancel()
	raw, err := d.dial(ctx, by, address)
	if err != nil {
		return err
	}
	defer raw.Close()
	asked := false
	conf = conf.Clone()
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		if client == nil {
			return new(tls.Certificate), nil
		}
		return client, nil
	}
	conn := tls.Client(raw, conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		if asked && isAlert(err) {
			return errors.Join(errRefused, err)
		}
		return err
	}
	if !asked {
		return nil
	}
	return judged(ctx, conn)
}

// judged waits for what the server thinks of the client: in TLS 1.3 the client is
// done before the server has looked at its certificate.
func judged(ctx context.Context, conn *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	deadline, _ := ctx.Deadline()
	if err := conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	switch {
	case err == nil, errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case isAlert(err):
		return errors.Join(errRefused, err)
	default:
		return errors.Join(errClosed, err)
	}
}

func isAlert(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "remote error"
}

// prefaceHTTP2 is what a client of HTTP/2 begins with: RFC 9113, section 3.4,
// and empty settings.
const prefaceHTTP2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// speaksH2C is the handshake of HTTP/2 without TLS.
func (d *doctor) speaksH2C(ctx context.Context, address string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Within)
	defer cancel()
	conn, err := d.dial(ctx, anywhere, address)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, prefaceHTTP2); err != nil {
		return false, nil // it hung up: an answer too
	}
	var head [9]byte // of a frame: length, type, flags, stream
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return false, nil // it said nothing, or something shorter
	}
	const settings = 4
	return head[3] == settings && head[4] == 0 && [4]byte(head[5:]) == [4]byte{}, nil
}
