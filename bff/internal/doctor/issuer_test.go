package doctor_test

import (
	"crypto/tls"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/doctor"
)

// issuerConfig writes the configuration of an edge with one issuer.
func issuerConfig(t *testing.T, issuer, more string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "onbehalf.yaml")
	text := "version: 1\nissuer: https://edge.test\nissuers: [{issuer: '" + issuer + "', " + more +
		"audience: [x], kinds: [{kind: human, when: {claim: sub, present: true}}]}]\n" +
		"routes: [{path_prefix: /, upstream: 'http://127.0.0.1:1', audience: x}]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The doctor says which key is missing, before the first token is refused.
func TestIssuerOfTheInside(t *testing.T) {
	t.Parallel()
	const needsKey = "write private_network: true"
	want(t, run(t, doctor.Options{Path: issuerConfig(t, "https://localhost:8443", "")}), "config", doctor.Problem, needsKey)

	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	addresses, err := net.DefaultResolver.LookupHost(t.Context(), name)
	if err != nil {
		t.Skip("the name of this machine has no address")
	}
	for _, a := range addresses {
		if addr, err := netip.ParseAddr(a); err != nil || !addr.IsPrivate() && !addr.IsLoopback() {
			t.Skip("the name of this machine has an address that is not private")
		}
	}
	u, err := url.Parse(newAuthority(t).server(tls.NoClientCert, 0))
	if err != nil {
		t.Fatal(err)
	}
	issuer := "https://" + net.JoinHostPort(name, u.Port())
	want(t, run(t, doctor.Options{Path: issuerConfig(t, issuer, "")}), "issuers[0]", doctor.Problem, needsKey)
	found := run(t, doctor.Options{Path: issuerConfig(t, issuer, "private_network: true, ")})
	if text := found["issuers[0]"][0].Text; text == "" || found["issuers[0]"][0].Status == doctor.OK {
		t.Errorf("a certificate that nobody vouches for is in order: %v", found)
	}
}

// Who reaches a provider through a proxy only is told that the edge does not.
func TestIssuerBehindAProxy(t *testing.T) {
	t.Parallel()
	o := doctor.Options{Path: issuerConfig(t, "http://"+closed(t), ""), Getenv: func(name string) string {
		return map[string]string{"HTTPS_PROXY": "http://proxy.internal:3128"}[name]
	}}
	want(t, run(t, o), "issuers[0]", doctor.Problem, "the proxy in HTTPS_PROXY is not used for issuers")
}
