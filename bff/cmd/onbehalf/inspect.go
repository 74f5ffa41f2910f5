package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"

	"github.com/onbehalf-dev/onbehalf/bff/internal/inspect"
)

// maxHeaderInput is more than the headers of one request take.
const maxHeaderInput = 64 << 10

type inspectCmd struct {
	Header      string   `arg:"" optional:"" default:"-" help:"The header, as base64 or as a line \"x-principal-bin: …\"; - or nothing is the standard input."`
	Keys        string   `help:"A key set (JWKS) with which to verify the signatures." placeholder:"FILE"`
	Service     string   `help:"Say whether the service of this name would accept it; needs --keys." placeholder:"NAME"`
	TrustDomain string   `help:"The trust domain whose relayed headers the service accepts." placeholder:"mesh:NAME"`
	Issuer      []string `help:"An issuer that the service trusts; all that have keys unless named. May be repeated." placeholder:"ISSUER" sep:"none"`
	At          moment   `help:"The time to look from, as 2026-01-02T15:04:05Z or in seconds since 1970; now unless named." placeholder:"TIME"`
	Output      string   `help:"How to print it: text or json." enum:"text,json" default:"text" placeholder:"FORMAT"`
}

// Help is what kong shows below the flags.
func (*inspectCmd) Help() string {
	return "It reads the header where it runs and asks nobody. Without --keys nothing is verified. " +
		"Whoever has a header can use it until it expires: the standard input keeps it out of the list of processes and the shell's history. " +
		"The key set of an edge is at /.well-known/onbehalf/jwks.json of its mesh listener. " +
		"What depends on the connection, on revocations and on the method is never asked: mTLS presenter, single use, access rule. " +
		"It exits with 0 if the header was read and is not refused; with 1 if it cannot be read, or what was asked says no."
}

// Validate is called by kong.
func (c *inspectCmd) Validate() error {
	switch {
	case c.Service == "" && (c.TrustDomain != "" || len(c.Issuer) > 0):
		return errors.New("--trust-domain and --issuer say how a service verifies; name it with --service")
	case c.Service == "":
		return nil
	case c.Keys == "":
		return errors.New("--service needs --keys: without keys a service accepts nothing")
	default:
		return c.service().Check()
	}
}

func (c *inspectCmd) service() *inspect.Service {
	return &inspect.Service{Name: c.Service, TrustDomain: c.TrustDomain, Issuers: c.Issuer}
}

// Run is called by kong.
func (c *inspectCmd) Run(stdout io.Writer) error {
	text := c.Header
	if text == "-" {
		if isTerminal(os.Stdin) {
			fmt.Fprintln(os.Stderr, "onbehalf: paste the header, then press Enter and Ctrl-D")
		}
		data, err := io.ReadAll(io.LimitReader(os.Stdin, maxHeaderInput))
		if err != nil {
			return fmt.Errorf("reading the header: %w", err)
		}
		text = string(data)
	}
	header, note, err := inspect.Decode(text)
	if err != nil {
		return c.unreadable(stdout, principal.ReasonMalformed, err)
	}
	report, err := inspect.New(header, cmp.Or(c.At.Time, time.Now()))
	if err != nil {
		return c.unreadable(stdout, principal.ReasonOf(err), errors.Unwrap(err))
	}
	if note != "" {
		report.Notes = append(report.Notes, note)
	}
	if c.Keys != "" {
		if err := c.verify(report); err != nil {
			return err
		}
	}
	if c.Output == "json" {
		err = writeJSON(stdout, report)
	} else {
		err = report.Draw(stdout)
	}
	return errors.Join(err, report.Refused())
}

func (c *inspectCmd) verify(report *inspect.Report) error {
	keys, err := keyset.ReadFile(c.Keys)
	if err != nil {
		return err
	}
	ctx := context.Background()
	report.Check(ctx, keys)
	if c.Service == "" {
		return nil
	}
	return report.Ask(ctx, keys, c.service())
}

// unreadable says why there is nothing to show.
func (c *inspectCmd) unreadable(stdout io.Writer, reason principal.Reason, detail error) error {
	err := fmt.Errorf("cannot be read: %s: %w", reason, detail)
	if c.Output != "json" {
		return err
	}
	return errors.Join(err, writeJSON(stdout, map[string]any{"error": map[string]string{
		"reason": reason.String(), "detail": detail.Error(), "explanation": inspect.Explain(reason),
	}}))
}

func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// moment is a time on the command line.
type moment struct{ time.Time }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (m *moment) UnmarshalText(text []byte) error {
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil && n > 0 && n < 1<<37 {
		m.Time = time.Unix(n, 0)
		return nil
	}
	t, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return errors.New("not a time: write it as 2026-01-02T15:04:05Z or in seconds since 1970")
	}
	m.Time = t
	return nil
}
