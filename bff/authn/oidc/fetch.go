package oidc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"

	"github.com/onbehalf-dev/onbehalf/bff/internal/netaddr"
)

const (
	fetchTimeout = 5 * time.Second // of one request, body included
	maxBody      = 512 << 10       // bytes of a discovery document or a key set
	maxQuoted    = 256             // bytes of what a remote side says, in an error
)

// fetcher gets an issuer's keys. It is not safe for concurrent use.
type fetcher struct {
	issuer     string
	jwksURI    string        // configured; empty: discovered
	reach      netaddr.Reach // where the keys may be
	discovered string
	client     *http.Client
}

// fetch discovers where the keys are, if that is not known, and gets them. After
// a failure it discovers again: the provider may have moved them.
func (f *fetcher) fetch(ctx context.Context) (set keySet, unusable []error, err error) {
	uri := f.jwksURI
	if uri == "" {
		if f.discovered == "" {
			if f.discovered, err = f.discover(ctx); err != nil {
				return nil, nil, err
			}
		}
		uri = f.discovered
	}
	body, err := f.get(ctx, uri)
	if err == nil {
		set, unusable, err = parseKeySet(body)
	}
	if err != nil {
		f.discovered = ""
		return nil, nil, fmt.Errorf("keys: %w", err)
	}
	return set, unusable, nil
}

// discover returns the jwks_uri of the issuer's metadata, which has to name the
// issuer byte for byte as the configuration does (OpenID Connect Discovery 1.0,
// section 4.3): otherwise one provider could have its tokens pass as another's.
func (f *fetcher) discover(ctx context.Context) (string, error) {
	provider, err := gooidc.NewProvider(gooidc.ClientContext(ctx, f.client), f.issuer)
	if mismatch, ok := errors.AsType[*gooidc.IssuerMismatchError](err); ok {
		return "", fmt.Errorf("discovery: the document is that of issuer %q; configure exactly this, if it is the right one",
			truncate(mismatch.Discovered))
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return "", fmt.Errorf("discovery: %w", failed)
	}
	var metadata struct {
		JWKSURI string `json:"jwks_uri"`
	}
	if err != nil || provider.Claims(&metadata) != nil {
		return "", errors.New("discovery: not a metadata document") // err repeats parts of it
	}
	if err := checkReachable(metadata.JWKSURI, f.reach); err != nil {
		return "", fmt.Errorf("discovery: jwks_uri %w", quoted(truncate(metadata.JWKSURI), err))
	}
	return metadata.JWKSURI, nil
}

func (f *fetcher) get(ctx context.Context, uri string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// newClient returns a client of an issuer that fails for everything but a 200 of
// limited size. It is used by go-oidc too, which reads bodies without a limit and
// repeats them in errors. Transport and timeout are those of o.client.
func newClient(reach netaddr.Reach, o options) *http.Client {
	c := &http.Client{Timeout: fetchTimeout}
	var base http.RoundTripper
	if o.client != nil {
		base = o.client.Transport
		if o.client.Timeout > 0 {
			c.Timeout = o.client.Timeout
		}
	}
	var own *http.Transport
	switch t := base.(type) {
	case nil:
		own = &http.Transport{ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: maxBody}
	case *http.Transport:
		own = t.Clone()
	}
	if own != nil {
		confine(own, reach, o.resolver)
		base = own
	}
	c.Transport = strictTransport{base: base, own: own}
	return c
}

// confine has t connect to addresses within reach only, and by itself: a proxy
// would resolve the name anew, and reach what this machine may not.
func confine(t *http.Transport, reach netaddr.Reach, resolver *net.Resolver) {
	t.Proxy = nil
	t.DialTLSContext, t.DialTLS = nil, nil //nolint:staticcheck // deprecated, and used if it is set
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialer := reach.Dialer(address)
		dialer.Resolver = resolver
		return dialer.DialContext(ctx, network, address)
	}
}

// outOfReach reports whether a fetch failed because an address was not allowed.
func outOfReach(err error) bool {
	return errors.Is(err, netaddr.ErrElsewhere) || errors.Is(err, netaddr.ErrNever)
}

type strictTransport struct {
	base http.RoundTripper
	own  *http.Transport // base, if it is nobody else's
}

// CloseIdleConnections is called by that of [http.Client].
func (t strictTransport) CloseIdleConnections() {
	if t.own != nil {
		t.own.CloseIdleConnections()
	}
}

// RoundTrip fails for redirects too: the configuration or the issuer's metadata
// names the address, and nobody on the way there gets to choose another.
func (t strictTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxBody)
	return resp, nil
}

func truncate(s string) string {
	if len(s) > maxQuoted {
		return s[:maxQuoted]
	}
	return s
}
