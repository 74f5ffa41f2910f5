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
			if err := d.connects(ctx, address); err != nil {
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
		if s.url.Scheme == "https" {
			err = d.shakesHands(ctx, s.address(), &tls.Config{ServerName: s.url.Hostname(), MinVersion: tls.VersionTLS12}, nil)
		} else {
			err = d.connects(ctx, s.address())
		}
		if err != nil && !errors.Is(err, errRefused) && !errors.Is(err, errClosed) {
			return one(name, Problem, s.url.Redacted()+" cannot be asked for its keys ("+reason(err)+"): its tokens are answered 503 until it can")
		}
		return one(name, OK, s.url.Redacted()+" answers")
	}
}
