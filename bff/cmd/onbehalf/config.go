package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/onbehalf-dev/onbehalf/bff"
)

type config struct {
	Check configCheck `cmd:"" help:"Say what is wrong with a configuration, one line for each mistake."`
}

type configCheck struct {
	configFile

	Strict bool   `help:"Take warnings for mistakes."`
	Output string `help:"How to print: text or json; text unless told." enum:"text,json" default:"text" placeholder:"FORMAT"`
}

// checked is what is printed as JSON.
type checked struct {
	Problems []string      `json:"problems"` // one line each
	Warnings []bff.Warning `json:"warnings"`
}

var (
	errConfig = errors.New("the configuration has problems")
	errStrict = errors.New("the configuration has warnings, which --strict takes for mistakes")
)

// Help is what kong shows below the flags.
func (*configCheck) Help() string {
	return "The files that it names are read as well. Nothing is made or changed. It exits with 1 if there is a mistake, and with 0 for warnings, " +
		"which say what works and is seldom meant: \"warning: key: what: what to do\"."
}

// Run is called by kong.
func (c *configCheck) Run(stdout io.Writer) error {
	warnings, err := c.check()
	if c.Output == "json" {
		found := checked{Problems: []string{}, Warnings: append([]bff.Warning{}, warnings...)}
		if err != nil {
			found.Problems = slices.Collect(strings.SplitSeq(err.Error(), "\n"))
			err = errConfig
		}
		if werr := writeJSON(stdout, found); werr != nil {
			return werr
		}
	} else {
		for _, w := range warnings {
			if _, werr := fmt.Fprintf(stdout, "warning: %s\n", printable(w.String())); werr != nil {
				return werr
			}
		}
	}
	switch {
	case err != nil:
		return err
	case c.Strict && len(warnings) > 0:
		return errStrict
	case c.Output == "json":
		return nil
	}
	_, err = fmt.Fprintf(stdout, "%s: ok\n", c.Path)
	return err
}

// check returns no warnings with an error.
func (c *configCheck) check() ([]bff.Warning, error) {
	cfg, err := bff.LoadConfig(c.Path)
	if err != nil {
		return nil, err
	}
	if err := bff.Check(cfg); err != nil {
		return nil, err
	}
	return bff.Warnings(cfg), nil
}

// warn logs each warning about cfg once.
func warn(log *slog.Logger, cfg *bff.Config) {
	for _, w := range bff.Warnings(cfg) {
		log.Warn("the configuration works, but look at it again", "key", w.Key, "what", w.What, "do", w.Do)
	}
}
