// Command onbehalf is the edge of a platform: it verifies the credentials of
// requests from outside and forwards them with one signed principal.
//
// Its logs go to the standard error, audit records to the standard output unless
// the configuration names a file. It exits with 0 when it did what it was asked
// to, also if that was to stop; with 1 when it could not; and with 2 when the
// command line is wrong. Each mistake is one line on the standard error.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

type commands struct {
	Serve    serve       `cmd:"" help:"Run the edge until it is told to stop (SIGTERM or SIGINT)."`
	Config   config      `cmd:"" help:"Look at a configuration."`
	Revoke   revokeCmd   `cmd:"" help:"End what somebody or something can do, on the whole platform."`
	Keys     keysCmd     `cmd:"" help:"Look at the keys of a running edge, rotate or revoke them."`
	Services servicesCmd `cmd:"" help:"See which services follow a running edge, or let one enrol."`
	Store    storeCmd    `cmd:"" help:"Check, back up or restore what the edge must not lose."`
	Doctor   doctorCmd   `cmd:"" help:"Say whether what the edge needs from where it runs is there."`
	Probe    probe       `cmd:"" help:"Ask a running edge whether it lives, or is ready."`
	Access   accessCmd   `cmd:"" help:"Show who may call the methods of a descriptor set."`
	Report   reportCmd   `cmd:"" help:"Say from logs what would be refused if what is observed were in force."`
	Inspect  inspectCmd  `cmd:"" help:"Show what a header says, and why a service would refuse it."`
	Mint     mintCmd     `cmd:"" help:"For development: make a header for a service on your machine."`
	Version  version     `cmd:"" help:"Print the version."`
}

// configFile is the flag that most commands have.
type configFile struct {
	Path string `name:"config" short:"c" help:"The configuration file; onbehalf.yaml unless another is named." default:"onbehalf.yaml" placeholder:"FILE"`
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	parser := kong.Must(new(commands),
		kong.Name("onbehalf"),
		kong.Description("Onbehalf is the edge of a platform: it verifies the credentials of requests from outside and forwards them with one signed principal."),
		kong.Writers(stdout, stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.BindTo(stdout, (*io.Writer)(nil)),
	)
	command, err := parser.Parse(args)
	if err != nil {
		complain(stderr, fmt.Errorf("%w (see %s --help)", err, commandOf(err)))
		return exitUsage
	}
	if err := command.Run(); err != nil {
		complain(stderr, err)
		return exitFailed
	}
	return 0
}

// commandOf returns the command that was not understood, as far as it was.
func commandOf(err error) string {
	words := []string{"onbehalf"}
	wrong, ok := errors.AsType[*kong.ParseError](err)
	if !ok || wrong.Context == nil {
		return words[0]
	}
	for _, part := range wrong.Context.Path {
		c := part.Command
		if c == nil || c.Parent != nil && c.Parent.DefaultCmd == c && !slices.Contains(wrong.Context.Args, c.Name) {
			continue // also of keys list, where only keys was written
		}
		words = append(words, c.Name)
	}
	return strings.Join(words, " ")
}

// complain prints a line for each problem.
func complain(w io.Writer, err error) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(w, "onbehalf: "+strings.TrimSuffix(line, "\n"))
	}
}
