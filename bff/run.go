package bff

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/certs"
)

// Run serves all listeners until ctx ends. Then the edge says that it is not
// ready, takes no more requests once [Limits.DrainDelay] is over, gives those
// that are under way [Limits.Drain] to end, and breaks off the rest. When Run
// returns, everything has stopped. It is called once.
//
// The error is nil after ctx has ended. Otherwise it says what could not be
// listened on, or why a listener failed.
func (s *Server) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.Close()) }()
	// Requests do not end with ctx, but when there is no more time for them.
	requests, breakOff := context.WithCancel(context.WithoutCancel(ctx))
	defer breakOff()
	fronts, err := s.listen(ctx, requests)
	if err != nil {
		return err
	}
	failed := make(chan error, len(fronts))
	for _, f := range fronts {
		go func() { failed <- f.serve() }()
	}
	s.ready.Store(true)
	select {
	case <-ctx.Done():
		err = s.linger(failed)
	case err = <-failed:
	}
	s.drain(context.WithoutCancel(ctx), fronts, breakOff)
	return err
}

// limits are those in force.
func (s *Server) limits() Limits { return s.rules.Load().config.Limits }

// linger says that the edge is not ready, and gives those who ask the time to
// notice. A listener that fails meanwhile ends it.
func (s *Server) linger(failed <-chan error) error {
	s.ready.Store(false)
	timer := time.NewTimer(s.limits().DrainDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case err := <-failed:
		return err
	}
}

// drain ends the public front, then the others: while requests are under way,
// services may need keys and probes an answer.
func (s *Server) drain(ctx context.Context, fronts []*front, breakOff context.CancelFunc) {
	s.ready.Store(false)
	s.log.Info("stopping", "requests", s.running.running())
	ctx, cancel := context.WithTimeout(ctx, s.limits().Drain)
	defer cancel()
	public, others := fronts[0], fronts[1:]
	_ = public.server.Shutdown(ctx) // its error is that of ctx
	idle := s.running.stop()
	select { // connections that were upgraded are not the server's any more
	case <-idle:
	case <-ctx.Done():
		s.log.Warn("requests are broken off", "requests", s.running.running())
	}
	breakOff()
	_ = public.server.Close()
	<-idle
	for _, f := range others {
		_ = f.server.Close()
	}
	s.log.Info("stopped")
}

// meshSilence is how long a service that follows the feed may not answer a ping,
// or not take what it is sent, until its connection is ended.
const meshSilence = 10 * time.Second

// meshHeaderTable is how much a connection remembers of headers, in bytes each
// way, which is nothing: there are thousands of connections and few headers on
// each, and 0 would be the default of 4096.
const meshHeaderTable = 1

// front is a listener and the server behind it.
type front struct {
	name, address string
	listener      net.Listener // nil until it is open
	server        *http.Server
}

func (f *front) serve() error {
	var err error
	if f.server.TLSConfig != nil {
		err = f.server.ServeTLS(f.listener, "", "")
	} else {
		err = f.server.Serve(f.listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("listen.%s: %w", f.name, err)
}

// listen returns the fronts, the public one first. If one cannot be opened, none
// stays open.
func (s *Server) listen(ctx, requests context.Context) ([]*front, error) {
	fronts := []*front{
		{name: "public", address: s.addresses.Public, listener: s.listeners.Public, server: s.server(s, s.public)},
		{name: "mesh", address: s.addresses.Mesh, listener: s.listeners.Mesh, server: s.server(s.meshHandler(), s.mesh)},
		{name: "admin", address: s.addresses.Admin, listener: s.listeners.Admin, server: s.server(s.adminHandler(), nil)},
	}
	if h := s.metricsHandler(); h != nil {
		fronts = append(fronts, &front{name: "metrics", address: s.addresses.Metrics, listener: s.listeners.Metrics, server: s.server(h, nil)})
	}
	mesh := fronts[1].server
	s.peers.configure(mesh.TLSConfig)
	mesh.HTTP2.SendPingTimeout, mesh.HTTP2.PingTimeout, mesh.HTTP2.WriteByteTimeout = meshSilence, meshSilence, meshSilence
	mesh.HTTP2.MaxDecoderHeaderTableSize, mesh.HTTP2.MaxEncoderHeaderTableSize = meshHeaderTable, meshHeaderTable
	var errs []error
	for _, f := range fronts {
		f.server.BaseContext = func(net.Listener) context.Context { return requests }
		if f.listener == nil {
			errs = append(errs, f.open(ctx))
		}
	}
	if err := errors.Join(errs...); err != nil {
		for _, f := range fronts {
			if f.listener != nil {
				_ = f.listener.Close()
			}
		}
		return nil, err
	}
	for _, f := range fronts {
		address, secure := f.listener.Addr(), f.server.TLSConfig != nil
		s.log.Info("listening", "listener", f.name, "address", address.String(), "tls", secure)
		if f.name != "admin" && f.name != "metrics" && !secure && !isLoopback(address) {
			s.log.Warn("a listener that others can reach has no TLS", "listener", f.name, "address", address.String())
		}
	}
	return fronts, nil
}

func (f *front) open(ctx context.Context) (err error) {
	f.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", f.address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen.%s: %s is in use by another process; stop that, or choose another address", f.name, f.address)
	case err != nil:
		return fmt.Errorf("listen.%s: %w", f.name, err)
	default:
		return nil
	}
}

func isLoopback(addr net.Addr) bool {
	a, err := netip.ParseAddrPort(addr.String())
	return err == nil && a.Addr().IsLoopback() || addr.Network() == "unix"
}

// server returns a server with our limits. There is none for how long a request
// or its answer takes, which would end streams.
func (s *Server) server(h http.Handler, cert *certs.Pair) *http.Server {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: s.limits().HeaderTimeout,
		IdleTimeout:       s.limits().IdleTimeout,
		MaxHeaderBytes:    s.limits().HeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: s.limits().Streams,
			WriteByteTimeout:     s.limits().TakeTimeout, // of a client that takes nothing: what it asks for may be no answer, but pings
		},
		Protocols:                    new(http.Protocols),
		DisableGeneralOptionsHandler: true, // "OPTIONS *" leaves a record as well
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	server.Protocols.SetHTTP1(true)
	if cert == nil {
		server.Protocols.SetUnencryptedHTTP2(true)
		return server
	}
	server.Protocols.SetHTTP2(true)
	server.TLSConfig = &tls.Config{GetCertificate: cert.Server, MinVersion: tls.VersionTLS12}
	return server
}
