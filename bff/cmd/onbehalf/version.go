package main

import (
	"fmt"
	"io"
	"runtime/debug"
)

type version struct{}

// Run is called by kong.
func (version) Run(stdout io.Writer) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	revision := ""
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			revision = " " + setting.Value
		}
	}
	_, err := fmt.Fprintf(stdout, "onbehalf %s%s %s\n", info.Main.Version, revision, info.GoVersion)
	return err
}
