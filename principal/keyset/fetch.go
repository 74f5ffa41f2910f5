package keyset

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
)

const (
	fetchTimeout = 10 * time.Second
	maxRedirects = 3
)

// checkURL lets only those URLs pass whose content nobody on the way can
// change. It returns the URL without its query. Errors hold nothing of it: one
// wrong character makes a path of a password.
func checkURL(raw string) (shown string, err error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return "", errors.New("keyset: the URL of the key set is malformed")
	case u.User != nil:
		return "", errors.New("keyset: the URL of the key set holds a password")
	case u.Hostname() == "" || u.Fragment != "":
		return "", errors.New("keyset: this is not the URL of a key set: it has no host, or a fragment")
	case u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()):
		u.RawQuery, u.ForceQuery = "", false
		return u.String(), nil
	default:
		return "", errors.New("keyset: the URL of the key set: use https, or http for this machine only")
	}
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// sameOrigin keeps a server from sending the client elsewhere, to a host that
// the configuration does not name, or to plain text.
func sameOrigin(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errors.New("keyset: too many redirects")
	}
	if first := via[0].URL; req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
		return errors.New("keyset: a redirect to another scheme or host")
	}
	return nil
}

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true,
		DisableKeepAlives:      true, // minutes pass until the next request
		TLSHandshakeTimeout:    fetchTimeout,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// fetch gets the keys of trusted names.
func (r *Remote) fetch(ctx context.Context) (map[principal.KeyRef]*principal.Key, []error, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, http.NoBody)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := r.client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // the rest of it names the URL, after a redirect the server's
		}
		return nil, nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("keyset: the server answers with status %d", res.StatusCode)
	}
	data, err := readUpTo(res.Body, maxDocument)
	if err != nil {
		return nil, nil, err
	}
	all, skipped, err := Parse(data)
	if err != nil {
		return nil, nil, err
	}
	keys := make(map[principal.KeyRef]*principal.Key)
	for _, key := range all {
		if r.trusted[principal.KeyRef{Role: key.Role, Owner: key.Owner}] {
			keys[key.KeyRef] = &key
		}
	}
	return keys, skipped, nil
}
