package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/onbehalf-dev/onbehalf/bff/internal/netaddr"
)

func (s *Store) openExternal(ctx context.Context) error {
	session, err := connect(ctx, s.settings)
	if err != nil {
		return err
	}
	s.session = session
	ctx, cancel := context.WithTimeout(ctx, clusterStart)
	defer cancel()
	if s.epoch, err = findBucket(ctx, session.js, newBase(s.now(), 0), s.settings.Replicas); err != nil {
		session.conn.Close()
		return s.opened(err)
	}
	return nil
}

// opened says more of an error that has a text of its own only if it is the
// server's.
func (s *Store) opened(err error) error {
	if strings.HasPrefix(err.Error(), "store: ") {
		return err
	}
	return s.unavailable(err)
}

// connect connects to one of the servers.
func connect(ctx context.Context, settings Settings) (*session, error) {
	options, err := settings.options()
	if err != nil {
		return nil, err
	}
	type result struct {
		conn *nats.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() { // Connect knows no context
		conn, err := nats.Connect(settings.URL, options...)
		done <- result{conn, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, fmt.Errorf("%w: cannot connect to a NATS server: %w", ErrUnavailable, r.err)
		}
		return newSession(r.conn)
	case <-ctx.Done():
		go func() {
			if r := <-done; r.conn != nil {
				r.conn.Close()
			}
		}()
		return nil, fmt.Errorf("%w: cannot connect to a NATS server: %w", ErrUnavailable, ctx.Err())
	}
}

func (s Settings) options() ([]nats.Option, error) {
	config, err := s.tls()
	if err != nil {
		return nil, err
	}
	logger := s.Logger
	options := []nats.Option{
		nats.Name("onbehalf"),
		nats.Timeout(2 * time.Second),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, time.Second),
		// A write that has to wait for a connection is not kept: it would be made
		// after its caller was told that it failed.
		nats.ReconnectBufSize(-1),
		// A server that was stopped is left after about six seconds.
		nats.PingInterval(2 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				logger.Warn("store: the connection was lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			logger.Info("store: connected again", "server", c.ConnectedServerName())
		}),
		nats.ErrorHandler(logAsync(logger)),
	}
	if s.Credentials != "" {
		if _, err := os.Stat(s.Credentials); err != nil {
			return nil, fmt.Errorf("store: credentials: %w", err)
		}
		options = append(options, nats.UserCredentials(s.Credentials))
	}
	if config != nil {
		options = append(options, nats.Secure(config))
	}
	return options, nil
}

func logAsync(logger *slog.Logger) nats.ErrHandler {
	return func(_ *nats.Conn, _ *nats.Subscription, err error) {
		logger.Debug("store: connection", "error", err)
	}
}

// tls returns nil if all servers are on this machine and nothing is said of TLS.
func (s Settings) tls() (*tls.Config, error) {
	secure := s.CA != "" || s.Cert != "" || s.Key != ""
	for server := range strings.SplitSeq(s.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(server))
		if err != nil || u.Hostname() == "" || (u.Scheme != "nats" && u.Scheme != "tls") {
			return nil, errors.New("store: a server's URL is tls://host:port, or nats://host:port")
		}
		if u.User != nil {
			return nil, errors.New("store: a password in a URL is easily shown: use a credentials file")
		}
		if u.Scheme == "tls" {
			secure = true
		} else if !secure && !netaddr.IsLoopback(u.Hostname()) {
			return nil, fmt.Errorf("store: %s: whoever is between could change what is read: use tls://", u.Hostname())
		}
	}
	if !secure {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CA != "" {
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("store: %s has no certificates", s.CA)
		}
	}
	if s.Cert != "" || s.Key != "" {
		pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
		if err != nil {
			return nil, fmt.Errorf("store: the client's certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// findBucket finds the bucket, or makes it. While the cluster starts, it tries
// again until ctx is done: its servers are there before they have found each other
// and chosen who leads them.
func findBucket(ctx context.Context, js jetstream.JetStream, base uint64, replicas int) (*epoch, error) {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		epoch, err := tryBucket(ctx, js, base, replicas)
		if err == nil || !isStarting(err) {
			return epoch, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(wait):
		}
	}
}

// tryBucket finds the bucket, or makes it. Of several that make it at the same
// time one wins, and its base is the base.
func tryBucket(ctx context.Context, js jetstream.JetStream, base uint64, replicas int) (*epoch, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		epoch, _, err := readEpoch(ctx, js)
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return epoch, err
		}
		_, err = js.CreateStream(ctx, streamConfig(base, stateReady, replicas))
		if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return nil, err
		}
	}
}

// isStarting tells whether a cluster that is not complete can say so.
func isStarting(err error) bool { return neverApplied(err) || isTimeout(err) || hasNoPeers(err) }
