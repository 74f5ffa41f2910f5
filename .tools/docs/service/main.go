// Command service stands in for a reader's services: it answers who called it,
// as far as it knows, and asks the next one. Its name is that of its binary.
//
// Without EDGE it is as services were before: it believes what TRUST says. With
// EDGE it joins that edge and is guarded.
//
//	LISTEN            its address
//	TRUST             "jwt": a token of ISSUER in authorization; "central": a token that the service at CENTRAL,
//	                  asked each time, believes; "header": x-user-id; nothing: everybody
//	NEXT              the URL of the service it asks, and NEXT_NAME its name: payments unless told
//	EDGE              the URL of the edge's mesh listener, with ENROLLMENT_TOKEN or an SVID
//	RELAY             the trust domain whose relayed principals it takes
//	OBSERVE           lets in what the rules refuse, and logs it
//	SVID              name.crt, name.key and ca.crt with a SPIFFE ID lie in this directory
//	TRUST_DOMAIN      of SPIFFE, for SVID
//
// "service svid DIR NAME…" makes such files, as a mesh would.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, filepath.Base(os.Args[0])); err != nil {
		slog.Error("service", "error", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, name string) error {
	if len(os.Args) > 2 && os.Args[1] == "svid" {
		return makeSVIDs(os.Args[2], os.Args[3:])
	}
	tls, err := newMesh(os.Getenv("SVID"), name)
	if err != nil {
		return err
	}
	next := next{url: os.Getenv("NEXT"), name: cmp.Or(os.Getenv("NEXT_NAME"), "payments")}
	var handler http.Handler
	if os.Getenv("EDGE") != "" {
		handler, err = newGuarded(ctx, name, next, tls)
	} else {
		handler, err = newOld(ctx, name, next)
	}
	if err != nil {
		return err
	}
	return serve(ctx, os.Getenv("LISTEN"), handler, tls)
}

func serve(ctx context.Context, address string, handler http.Handler, m *mesh) error {
	server := &http.Server{Addr: address, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	var err error
	if m != nil {
		server.TLSConfig = m.server()
		err = server.ListenAndServeTLS("", "")
	} else {
		err = server.ListenAndServe()
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil // as it was told to stop
	}
	return fmt.Errorf("serving: %w", err)
}
