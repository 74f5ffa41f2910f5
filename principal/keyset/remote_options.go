package keyset

import (
	"errors"
	"log/slog"
	"net/http"
	"time"
)

// RemoteOption changes a [Remote].
type RemoteOption interface{ applyRemote(r *Remote) error }

type remoteOption func(*Remote) error

func (f remoteOption) applyRemote(r *Remote) error { return f(r) }

// WithHTTPClient replaces the client, e.g. for certificates of your own. A copy
// of it is used that follows redirects only within the scheme and host of the
// URL.
func WithHTTPClient(client *http.Client) RemoteOption {
	return remoteOption(func(r *Remote) error {
		if client == nil {
			return errors.New("keyset: no HTTP client")
		}
		own := *client
		own.CheckRedirect = sameOrigin
		r.client = &own
		return nil
	})
}

// WithLogger gets a line for each failed fetch, each change of the set, and keys
// in it that cannot be used. Of the set's content, lines hold only key ids. The
// default is [slog.Default].
func WithLogger(logger *slog.Logger) RemoteOption {
	return remoteOption(func(r *Remote) error {
		if logger == nil {
			return errors.New("keyset: no logger")
		}
		r.logger = logger
		return nil
	})
}

// WithRefresh changes how often the set is fetched, give or take a tenth; at
// least one second apart, five minutes by default. A key has to be published
// three to five times as long before it signs.
func WithRefresh(every time.Duration) RemoteOption {
	return remoteOption(func(r *Remote) error {
		if every < time.Second {
			return errors.New("keyset: a set is fetched at most every second")
		}
		r.refresh = every
		return nil
	})
}

// WithMaxAge changes for how long the last good set serves while fetches fail;
// 24 hours by default, and at least two refreshes. It is also for how long
// someone who cuts this program off from the server can keep a removed key
// alive.
func WithMaxAge(age time.Duration) RemoteOption {
	return remoteOption(func(r *Remote) error {
		r.maxAge = age
		return nil
	})
}
