package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/onbehalf-dev/onbehalf/bff"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"

	"github.com/onbehalf-dev/onbehalf/bff/internal/netaddr"
)

// store looks whether the cluster answers.
func (d *doctor) store(cfg *bff.Config) check {
	const name = "store"
	if cfg.Store.URL == "" {
		return fixed(one(name, OK, "is in data_dir, for one edge alone")...)
	}
	return func(ctx context.Context) []Finding {
		var silent []string
		servers := strings.Split(cfg.Store.URL, ",")
		for _, server := range servers {
			u, err := url.Parse(strings.TrimSpace(server))
			if err != nil {
				continue // the configuration's check has said so
			}
			address := u.Host
			if u.Port() == "" {
				address += ":4222"
			}
			if err := d.connects(ctx, anywhere, address); err != nil {
				silent = append(silent, address+" ("+reason(err)+")")
			}
		}
		switch text := strings.Join(silent, ", "); {
		case len(silent) == len(servers):
			return one(name, Problem, text+": does not answer; start the cluster, or correct store.url")
		case len(silent) > 0:
			return one(name, Warning, text+": does not answer; the cluster is one server short")
		default:
			return one(name, OK, fmt.Sprintf("%d of %[1]d servers of the cluster can be reached; onbehalf store check tells more", len(servers)))
		}
	}
}

// issuer looks whether a provider can be asked for its keys.
func (d *doctor) issuer(name string, issuer *oidc.Issuer) check {
	raw := issuer.Issuer
	if issuer.JWKSURI != "" {
		raw = issuer.JWKSURI
	}
	return func(ctx context.Context) []Finding {
		s, err := newService(name, raw, "", "")
		if err != nil {
			return nil // the configuration's check has said so
		}
		dial := netaddr.ReachOf(raw, issuer.PrivateNetwork).Dialer(s.address()).DialContext
		if s.url.Scheme == "https" {
			err = d.shakesHands(ctx, dial, s.address(), &tls.Config{ServerName: s.url.Hostname(), MinVersion: tls.VersionTLS12}, nil)
		} else {
			err = d.connects(ctx, dial, s.address())
		}
		switch {
		case err == nil, errors.Is(err, errRefused), errors.Is(err, errClosed):
			return one(name, OK, s.url.Redacted()+" answers")
		case errors.Is(err, netaddr.ErrElsewhere), errors.Is(err, netaddr.ErrNever):
			return one(name, Problem, s.url.Redacted()+" is not asked for its keys: "+reason(err))
		default:
			return one(name, Problem, s.url.Redacted()+" cannot be asked for its keys ("+reason(err)+"): its tokens are answered 503 until it can"+d.noProxy())
		}
	}
}

// noProxy says why a provider that other programs reach is out of reach.
func (d *doctor) noProxy() string {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy"} {
		if d.Getenv(name) != "" {
			return "; the proxy in " + name + " is not used for issuers, let the edge connect to them itself"
		}
	}
	return ""
}
