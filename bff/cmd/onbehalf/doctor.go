package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/doctor"
)

type doctorCmd struct {
	configFile

	Service      []string      `help:"A service that takes relayed principals, as an http, h2c or https URL; can be given several times." placeholder:"URL"`
	CA           string        `name:"ca" help:"The authorities that vouch for these services; the system's unless a PEM file is named." placeholder:"FILE"`
	MustNotReach []string      `help:"What this machine must not be able to connect to; can be given several times." placeholder:"HOST:PORT"`
	Within       time.Duration `help:"How long each connection may take; 3s unless told." default:"3s" placeholder:"DURATION"`
	Output       string        `help:"How to print: text or json; text unless told." enum:"text,json" default:"text" placeholder:"FORMAT"`
}

var errDoctor = errors.New("there are problems; the lines that begin with problem say what to do")

// Help is what kong shows below the flags.
func (*doctorCmd) Help() string {
	return "It looks from where it runs: once where the edge does, and, with --service and --must-not-reach, where an attacker could. " +
		"Nothing is changed, and nothing is sent but handshakes and the health checks that the configuration names. It exits with 1 if there is a problem, and with 0 for warnings."
}

// Run is called by kong.
func (c *doctorCmd) Run(stdout io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	found := doctor.Run(ctx, doctor.Options{
		Path: c.Path, Services: c.Service, CA: c.CA, MustNotReach: c.MustNotReach, Within: c.Within, Now: time.Now,
	})
	if err := c.print(stdout, found); err != nil {
		return err
	}
	for _, f := range found {
		if f.Status == doctor.Problem {
			return errDoctor
		}
	}
	return nil
}

func (c *doctorCmd) print(w io.Writer, found []doctor.Finding) error {
	if c.Output == "json" {
		return writeJSON(w, found)
	}
	width := 0
	for _, f := range found {
		width = max(width, len(f.Check))
	}
	for _, f := range found {
		if _, err := fmt.Fprintf(w, "%-8s %-*s  %s\n", f.Status, width, f.Check, printable(f.Text)); err != nil {
			return err
		}
	}
	return nil
}
