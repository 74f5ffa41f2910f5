package oidc_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
)

// names is a DNS server on the loopback interface that has one name. Each time it
// is asked for addresses it gives the next of its answers, and the last one again
// and again.
type names struct {
	conn    net.PacketConn
	answers [][]string
	asked   atomic.Int64 // for addresses of IPv4
}

func newNames(t *testing.T, answers ...[]string) *names {
	t.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{conn: conn, answers: answers}
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.serve()
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return n
}

func (n *names) serve() {
	buf := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:size]) != nil || len(m.Questions) != 1 {
			continue
		}
		m.Response, m.Authoritative, m.Additionals = true, true, nil
		m.Answers = n.resources(m.Questions[0])
		if packed, err := m.Pack(); err == nil {
			_, _ = n.conn.WriteTo(packed, from)
		}
	}
}

func (n *names) resources(q dnsmessage.Question) []dnsmessage.Resource {
	turn := n.asked.Load()
	if q.Type == dnsmessage.TypeA {
		turn = n.asked.Add(1) - 1
	}
	var list []dnsmessage.Resource
	for _, s := range n.answers[min(int(turn), len(n.answers)-1)] {
		addr := netip.MustParseAddr(s)
		header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		switch {
		case addr.Is4() && q.Type == dnsmessage.TypeA:
			list = append(list, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: addr.As4()}})
		case addr.Is6() && q.Type == dnsmessage.TypeAAAA:
			list = append(list, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
	return list
}

func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", n.conn.LocalAddr().String())
	}}
}

// inner is a provider on this machine that goes by the name example.com, and
// counts who connects.
type inner struct {
	*idp

	client *http.Client // that trusts its certificate
	port   string
	conns  atomic.Int64
}

func newInner(t *testing.T) *inner {
	t.Helper()
	in := &inner{idp: newLocalIDP("")}
	server := httptest.NewUnstartedServer(in)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			in.conns.Add(1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	in.port = u.Port()
	in.url = "https://example.com:" + in.port
	in.client = server.Client()
	in.client.Timeout = 5 * time.Second
	return in
}

func detail(err error) string {
	if refusal, ok := errors.AsType[*authn.Error](err); ok {
		return refusal.Detail
	}
	return ""
}

const (
	notAllowed = "no keys: the address of the issuer is not allowed"
	elsewhere  = "the address is not one that this provider may have: write private_network: true"
	never      = "nothing is fetched from link-local, metadata, multicast and reserved addresses"
)

// F07: whatever the issuer's name resolves to, no connection is made to where it
// must not lead. What its tokens are refused for says so, and the log names the
// issuer.
func TestF07NameOfTheInside(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer  []string
		private bool
		logged  string // "": the keys are fetched
	}{
		"loopback":               {[]string{"127.0.0.1"}, false, elsewhere},
		"loopback, with key":     {[]string{"127.0.0.1"}, true, ""},
		"loopback, mapped":       {[]string{"::ffff:127.0.0.1"}, false, elsewhere},
		"private":                {[]string{"10.0.0.1"}, false, elsewhere},
		"several":                {[]string{"10.0.0.1", "127.0.0.1", "fd00::1"}, false, elsewhere},
		"metadata":               {[]string{"169.254.169.254"}, false, never},
		"metadata, with key":     {[]string{"169.254.169.254"}, true, never},
		"metadata, mapped":       {[]string{"::ffff:169.254.169.254"}, true, never},
		"metadata, IPv6":         {[]string{"fd00:ec2::254"}, true, never},
		"metadata, NAT64":        {[]string{"64:ff9b::a9fe:a9fe"}, true, never},
		"unspecified":            {[]string{"0.0.0.0"}, true, never},
		"unspecified, IPv6":      {[]string{"::"}, true, never},
		"metadata and the right": {[]string{"169.254.169.254", "127.0.0.1"}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, c := newInner(t), newClock()
			config := in.config()
			config.PrivateNetwork = test.private
			var out buffer
			a := start(t, []oidc.Issuer{config}, oidc.WithClock(c.now), oidc.WithHTTPClient(in.client),
				oidc.WithLogger(slog.New(slog.NewTextHandler(&out, nil))), oidc.WithResolverForTest(newNames(t, test.answer).resolver()))
			token := in.token(c.now())
			result, err := authenticate(t.Context(), a, token)
			if test.logged == "" {
				if err != nil {
					t.Error(err, out.String())
				}
				return
			}
			checkRefused(t, result, err, token, authn.ReasonUnavailable)
			if got := detail(err); got != notAllowed {
				t.Errorf("refused as %q", got)
			}
			if log := out.String(); !strings.Contains(log, test.logged) || !strings.Contains(log, "issuer="+in.url) {
				t.Errorf("logged %s, want %q", log, test.logged)
			}
			if n := in.conns.Load(); n != 0 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// F07, DNS rebinding: the name has a public address first, where nobody answers,
// and then that of this machine.
func TestF07Rebinding(t *testing.T) {
	t.Parallel()
	in, c := newInner(t), newClock()
	in.client.Timeout = 100 * time.Millisecond
	dns := newNames(t, []string{"203.0.113.1"}, []string{"127.0.0.1"})
	a := start(t, []oidc.Issuer{in.config()}, oidc.WithClock(c.now), oidc.WithHTTPClient(in.client), oidc.WithResolverForTest(dns.resolver()))
	_, err := authenticate(t.Context(), a, in.token(c.now()))
	if got := detail(err); got != "no keys" {
		t.Errorf("at the public address: refused as %q", got)
	}
	for end := time.Now().Add(20 * time.Second); ; {
		c.advance(10 * time.Second) // it may be asked for again
		_, err := authenticate(t.Context(), a, in.token(c.now()))
		if detail(err) == notAllowed {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("asked %d times: %v", dns.asked.Load(), err)
		}
		<-time.After(time.Millisecond)
	}
	if n := in.conns.Load(); n != 0 || dns.asked.Load() < 2 {
		t.Errorf("%d connections, asked %d times", n, dns.asked.Load())
	}
}

// F07: discovery cannot lead to where the issuer itself may not be, by address or
// by name; nor away from an issuer that is here for development.
func TestF07KeysOfTheInside(t *testing.T) {
	t.Parallel()
	for uri, logged := range map[string]string{
		"https://169.254.169.254/":   never,
		"https://10.0.0.1/":          elsewhere,
		"https://192.0.2.1/":         elsewhere,
		"https://[::ffff:7f00:1]/":   "has an IPv4 address in the form of IPv6",
		"http://2130706433/keys":     "has a number for a host",
		"https://meta.test/keys":     never,
		"https://user:canary@x.test": "has a user",
		"file:///etc/passwd":         "is not https",
	} {
		t.Run(uri, func(t *testing.T) {
			t.Parallel()
			p, c := newIDP(t), newClock() // at a loopback IP address
			p.metadata = object{"jwks_uri": uri}
			var out buffer
			a := start(t, []oidc.Issuer{p.config()}, oidc.WithClock(c.now), oidc.WithLogger(slog.New(slog.NewTextHandler(&out, nil))),
				oidc.WithResolverForTest(newNames(t, []string{"169.254.169.254"}).resolver()))
			result, err := authenticate(t.Context(), a, p.token(c.now()))
			checkRefused(t, result, err, p.token(c.now()), authn.ReasonUnavailable)
			if !strings.Contains(out.String(), logged) {
				t.Errorf("logged %s, want %q", out.String(), logged)
			}
			if strings.Contains(out.String(), "canary") {
				t.Error("the log repeats a password")
			}
		})
	}
}

// A proxy would resolve the name by itself: it is not used.
func TestF07NoProxy(t *testing.T) {
	t.Parallel()
	in, c := newInner(t), newClock()
	var proxied atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { proxied.Add(1) }))
	t.Cleanup(proxy.Close)
	transport, ok := in.client.Transport.(*http.Transport)
	if !ok {
		t.Fatal("not a transport")
	}
	transport.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) }
	a := start(t, []oidc.Issuer{in.config()}, oidc.WithClock(c.now), oidc.WithHTTPClient(in.client),
		oidc.WithResolverForTest(newNames(t, []string{"127.0.0.1"}).resolver()))
	_, err := authenticate(t.Context(), a, in.token(c.now()))
	if got := detail(err); got != notAllowed || proxied.Load() != 0 || in.conns.Load() != 0 {
		t.Errorf("%q; %d requests to the proxy, %d connections", got, proxied.Load(), in.conns.Load())
	}
}
