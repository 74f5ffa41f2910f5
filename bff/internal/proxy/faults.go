package proxy

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// repeatAfter is how often the log says again that an upstream still fails.
const repeatAfter = 10 * time.Second

// faults tells the operator that an upstream fails, and that it does no more:
// a line when it begins, not one per request.
type faults struct {
	log      *slog.Logger
	now      func() time.Time
	upstream string

	mu     sync.Mutex
	failed int // requests since the last one that was answered
	logged time.Time
}

func (f *faults) report(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed++
	now := f.now()
	if f.failed > 1 && now.Sub(f.logged) < repeatAfter {
		return
	}
	f.logged = now
	cause, check := diagnose(err)
	f.log.Error("upstream fails", "upstream", f.upstream, "cause", cause, "check", check, "requests", f.failed)
}

func (f *faults) recovered() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed > 0 {
		f.log.Info("upstream answers again", "upstream", f.upstream, "requests", f.failed)
		f.failed = 0
	}
}

// diagnose returns what happened, and what to look at. Only errors whose texts
// are of addresses and certificates are quoted: others repeat what the upstream
// sent, which may be a principal (Z01).
func diagnose(err error) (cause, check string) {
	var (
		dns     *net.DNSError
		op      *net.OpError
		timeout net.Error
		name    x509.HostnameError
		ca      x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.Is(err, errNoAnswer):
		return "no answer in time", "what the upstream is waiting for, or give it more time"
	case errors.Is(err, errHTTP1):
		return err.Error(), "upstream: write h2c:// or https:// where it serves gRPC"
	case errors.Is(err, errUpgrade):
		return err.Error(), "the upstream: it answered 101 to a request without an upgrade"
	case errors.As(err, &name):
		return name.Error(), "server_name: the certificate is for another name"
	case errors.As(err, &ca):
		return ca.Error(), "that the configured CA is the one that signed the upstream's certificate"
	case errors.As(err, &invalid):
		return invalid.Error(), "the upstream's certificate"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "the upstream does not speak TLS", "the scheme of its URL: http and h2c are without TLS"
	case errors.As(err, &dns):
		return dns.Error(), "the host name of its URL, and the resolver"
	case errors.As(err, &op) && op.Op == "dial":
		return op.Error(), "that the service runs and listens on this address"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no connection in time", "that the service is not overloaded, and that nothing between drops packets"
	case errors.As(err, &op) && op.Op == "remote error":
		return op.Err.Error(), "that the upstream accepts the edge's certificate and TLS version"
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error(), "why the service closed the connection; for https, whether it accepts the edge's certificate"
	}
	return fmt.Sprintf("broken response (%T)", err),
		"the scheme of its URL (http is HTTP/1.1, h2c is HTTP/2 without TLS), and for https that the upstream accepts the edge's certificate"
}
