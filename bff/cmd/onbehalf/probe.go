package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// maxAnswer is more than an edge says about its health.
const maxAnswer = 1 << 10

// probe reads no configuration: one that somebody has just broken must not let an
// edge look dead that goes on with the one before.
type probe struct {
	What    string        `arg:"" help:"live: the process answers. ready: it should get requests." enum:"live,ready"`
	Address string        `help:"The edge's admin listener; 127.0.0.1:9444 unless another is named." default:"127.0.0.1:9444" placeholder:"HOST:PORT"`
	Within  time.Duration `help:"How long the answer may take; 2s unless told." default:"2s" placeholder:"DURATION"`
}

// Help is what kong shows below the flags.
func (*probe) Help() string {
	return "For the health check of a container: the admin listener need not be reachable from outside for it. It exits with 0 if so, and with 1 if not."
}

// Run is called by kong.
func (p *probe) Run(stdout io.Writer) error {
	path := map[string]string{"live": "/healthz", "ready": "/readyz"}[p.What]
	ctx, cancel := context.WithTimeout(context.Background(), p.Within)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Address+path, http.NoBody)
	if err != nil {
		return fmt.Errorf("%.64q is not an address: write a host and a port", p.Address)
	}
	answer, err := new(http.Transport).RoundTrip(r) // no proxy, no redirect
	if err != nil {
		return fmt.Errorf("no edge answers at %s: is it running, and is that its listen.admin?", p.Address)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("the answer of %s breaks off: %w", p.Address, err)
	}
	said := printable(strings.TrimSpace(string(text)))
	if answer.StatusCode != http.StatusOK {
		return errors.New(said)
	}
	_, err = fmt.Fprintln(stdout, said)
	return err
}
