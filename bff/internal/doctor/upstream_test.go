package doctor_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/doctor"
)

// outside is an address of this machine that is not loopback.
func outside(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address but loopback")
	return ""
}

func TestServiceWithTLS(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		auth      tls.ClientAuthType
		version   uint16
		protocols []string
		status    doctor.Status
		text      string
	}{
		{"insists, TLS 1.3", tls.RequireAndVerifyClientCert, 0, nil, doctor.OK, "refuses callers without a certificate"},
		{"insists, TLS 1.2", tls.RequireAndVerifyClientCert, tls.VersionTLS12, nil, doctor.OK, "refuses callers without a certificate"},
		{"insists, HTTP/1.1", tls.RequireAnyClientCert, 0, []string{"http/1.1"}, doctor.OK, "refuses callers without a certificate"},
		{"asks", tls.VerifyClientCertIfGiven, 0, nil, doctor.Warning, "takes callers without a certificate"},
		{"does not ask", tls.NoClientCert, 0, nil, doctor.Warning, "takes callers without a certificate"},
		{"does not ask, HTTP/1.1", tls.NoClientCert, 0, []string{"http/1.1"}, doctor.Warning, "takes callers without a certificate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			url := a.server(test.auth, test.version, test.protocols...)
			found := run(t, doctor.Options{Services: []string{url}, CA: a.file("ca.pem")})
			want(t, found, "service", test.status, test.text)
		})
	}
}

// A server that hangs up has not said that it wants a certificate: that must not
// look as if it did.
func TestServiceThatHangsUp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		auth   tls.ClientAuthType
		status doctor.Status
		text   string
	}{
		{tls.NoClientCert, doctor.Warning, "takes callers without a certificate"},
		{tls.RequestClientCert, doctor.Unknown, "ends the connection"},
	} {
		a := newAuthority(t)
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
			Certificates: []tls.Certificate{a.leaf("server", time.Hour)}, ClientAuth: test.auth, MinVersion: tls.VersionTLS13,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_ = conn.(*tls.Conn).Handshake()
				conn.Close()
			}
		}()
		found := run(t, doctor.Options{Services: []string{"https://" + l.Addr().String()}, CA: a.file("ca.pem")})
		want(t, found, "service", test.status, test.text)
	}
}

func TestServiceWithTLSThatIsNotTrusted(t *testing.T) {
	t.Parallel()
	url := newAuthority(t).server(tls.NoClientCert, 0)
	want(t, run(t, doctor.Options{Services: []string{url}}), "service", doctor.Problem, "not trusted")
}

func TestServiceWithoutTLS(t *testing.T) {
	t.Parallel()
	h2c, http1 := plain(t, true), plain(t, false)
	for _, test := range []struct {
		url    string
		status doctor.Status
		text   string
	}{
		{"h2c://" + h2c, doctor.OK, "on this machine"},
		{"http://" + http1, doctor.OK, "on this machine"},
		{"h2c://" + http1, doctor.Problem, "not in HTTP/2"},
		{"https://" + http1, doctor.Problem, "without TLS"},
		{"http://" + closed(t), doctor.Problem, "connection refused"},
		{"ftp://" + http1, doctor.Problem, "scheme"},
		{"http://user:word@" + http1, doctor.Problem, "is not a URL"},
	} {
		want(t, run(t, doctor.Options{Services: []string{test.url}}), "service", test.status, test.text)
	}
}

// A port of a service on the network that answers without TLS is open to whoever
// has got hold of a relayed principal.
func TestServiceThatTakesPlaintextFromElsewhere(t *testing.T) {
	t.Parallel()
	_, port, err := net.SplitHostPort(wide(t))
	if err != nil {
		t.Fatal(err)
	}
	url := "h2c://" + net.JoinHostPort(outside(t), port)
	want(t, run(t, doctor.Options{Services: []string{url}}), "service", doctor.Warning, "whoever reaches this port")
	sidecar := []string{plain(t, false)}
	want(t, run(t, doctor.Options{Services: []string{url}, Sidecar: sidecar}), "service", doctor.Unknown, "sidecar")
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.leaf("edge", time.Hour*24*300)
	insists, lenient, down := a.server(tls.RequireAndVerifyClientCert, 0), a.server(tls.NoClientCert, 0), "http://"+closed(t)
	ca := "ca: " + a.file("ca.pem")
	cert := ca + ", client_cert: " + a.file("edge.pem") + ", client_key: " + a.file("edge.key")
	path := filepath.Join(t.TempDir(), "onbehalf.yaml")
	text := fmt.Sprintf(`version: 1
issuer: https://edge.test
trust_domain: mesh:test
issuers: [{issuer: 'http://%[6]s', audience: [x], kinds: [{kind: human, when: {claim: sub, present: true}}]}]
routes:
  - {path_prefix: /a, upstream: '%[1]s', mode: relay, %[4]s}
  - {path_prefix: /b, upstream: '%[1]s', mode: relay, %[5]s}
  - {path_prefix: /c, upstream: '%[2]s', audience: c, %[5]s}
  - {path_prefix: /d, upstream: '%[2]s', mode: relay, %[5]s}
  - {path_prefix: /e, upstream: '%[2]s', audience: e, %[4]s}
  - {path_prefix: /f, upstream: '%[3]s', auth: none}
`, insists, lenient, down, cert, ca, closed(t))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	found := run(t, doctor.Options{Path: path})
	want(t, found, "config", doctor.OK, "valid")
	want(t, found, "routes[0].upstream", doctor.OK, "refuses callers without a certificate")
	want(t, found, "routes[1].upstream", doctor.Problem, "name the edge's in client_cert")
	want(t, found, "routes[2].upstream", doctor.Warning, "takes callers without a certificate") // as routes[3] relays to it
	want(t, found, "routes[4].upstream", doctor.OK, "callers need no certificate")
	want(t, found, "routes[5].upstream", doctor.Problem, "connection refused")
	want(t, found, "issuers[0]", doctor.Problem, "connection refused")
	want(t, found, "listen.admin", doctor.OK, "this machine only")
	if len(found["routes[3].upstream"]) != 0 {
		t.Error("the same upstream is looked at twice")
	}
}

// wide is a server that speaks HTTP/2 without TLS on all interfaces.
func wide(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, true)
	return l.Addr().String()
}
