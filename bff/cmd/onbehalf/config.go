package main

import (
	"fmt"
	"io"

	"github.com/onbehalf-dev/onbehalf/bff"
)

type config struct {
	Check configCheck `cmd:"" help:"Say what is wrong with a configuration, one line for each mistake."`
}

type configCheck struct {
	configFile
}

// Help is what kong shows below the flags.
func (*configCheck) Help() string {
	return "The files that it names are read as well. Nothing is made or changed."
}

// Run is called by kong.
func (c *configCheck) Run(stdout io.Writer) error {
	cfg, err := bff.LoadConfig(c.Path)
	if err != nil {
		return err
	}
	if err := bff.Check(cfg); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s: ok\n", c.Path)
	return err
}
