package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/onbehalf-dev/onbehalf/principal"

	"github.com/onbehalf-dev/onbehalf/bff/internal/access"
)

type accessCmd struct {
	File   string `arg:"" help:"A descriptor set with its imports; - for the standard input."`
	Filter string `help:"Only methods in this package or service, or this one method." placeholder:"NAME"`
	Check  bool   `help:"Fail if a method has no rule."`
	Output string `short:"o" help:"text, markdown or json; text unless chosen." enum:"text,markdown,json" default:"text" placeholder:"FORMAT"`
	Width  int    `help:"How long the lines of text may be; 80 characters at least." default:"80" placeholder:"N"`

	As          string   `help:"Say what a human, agent, service or anonymous may call." enum:",human,agent,service,anonymous" default:"" placeholder:"KIND"`
	Scope       []string `help:"A scope that the caller has; may be repeated." sep:"none" placeholder:"SCOPE"`
	Role        []string `help:"A role that the caller has; may be repeated." sep:"none" placeholder:"ROLE"`
	Caller      string   `help:"The service that calls; unknown unless named." placeholder:"SERVICE"`
	ACR         string   `name:"acr" help:"The level at which the caller was authenticated." placeholder:"LEVEL"`
	Delegations *int     `help:"Through how many agents an agent acts; 1 unless said, 0 in its own right." placeholder:"N"`
}

// Help is what kong shows below the flags.
func (*accessCmd) Help() string {
	return "The set is what buf build -o FILE.binpb makes, or protoc --include_imports --descriptor_set_out=FILE. " +
		"Its rules are read, and callers decided, by what services do it with. " +
		"Not seen is what a service adds in Go, such as Rules.WithService for health checks.\n\n" +
		"STREAM is which side streams, and session where a stream may outlive the principal; default in FURTHER a rule that is the service's. " +
		"A refusal's reason is the one that logs and metrics have. " +
		"With --as, revocations are taken to be fresh, online checks to pass, and headers to be used once."
}

// Validate is called by kong.
func (c *accessCmd) Validate() error {
	rights := len(c.Scope)+len(c.Role) > 0 || c.Caller != "" || c.ACR != ""
	switch {
	case c.As == "" && (rights || c.Delegations != nil):
		return errors.New("--scope, --role, --caller, --acr and --delegations describe a caller; add --as")
	case c.As == "anonymous" && rights:
		return errors.New("--as=anonymous is a call without a principal; leave out --scope, --role, --caller and --acr")
	case c.Delegations != nil && c.As != "agent":
		return errors.New("--delegations is for --as=agent")
	case c.Delegations != nil && *c.Delegations < 0:
		return errors.New("--delegations: must be 0 or more")
	}
	return nil
}

// Run is called by kong.
func (c *accessCmd) Run(stdout io.Writer) error {
	ctx := context.Background()
	data, err := c.read()
	if err != nil {
		return err
	}
	files, err := access.Parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	table, err := access.New(ctx, files, c.Filter)
	if err != nil {
		return err
	}
	if c.As != "" {
		if err := table.Ask(ctx, c.caller()); err != nil {
			return fmt.Errorf("nobody can be as --as says (its presenter is --caller): %w", err)
		}
	}
	switch c.Output {
	case "markdown":
		err = table.Markdown(stdout)
	case "json":
		err = table.JSON(stdout)
	default:
		err = table.Text(stdout, c.Width)
	}
	if err == nil && c.Check {
		err = table.Check()
	}
	return err
}

func (c *accessCmd) read() ([]byte, error) {
	if c.File == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(c.File)
}

func (c *accessCmd) caller() access.Caller {
	caller := access.Caller{Scopes: c.Scope, Roles: c.Role, Service: c.Caller, ACR: c.ACR}
	switch c.As {
	case "human":
		caller.Kind = principal.KindHuman
	case "service":
		caller.Kind = principal.KindService
	case "agent":
		caller.Kind, caller.Delegations = principal.KindAgent, 1
		if c.Delegations != nil {
			caller.Delegations = *c.Delegations
		}
	}
	return caller
}
