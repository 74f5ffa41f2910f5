// Command bench prints the figures that Onbehalf is held to: how fast it is, and
// how small, as ratios to what it cannot do without and beside libraries that
// others use instead.
//
// A figure that misses its bound is shown as missed. The command fails only if
// something does not work.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime/pprof"
	"time"

	"github.com/onbehalf-dev/onbehalf/tools/bench/measure"
)

// setting is for how long to measure, and with how much.
type setting struct {
	principals, calls measure.Plan
	// pool is how many headers there are where none may be known. A verifier
	// keeps up to 4,096.
	pool int
}

func main() {
	only := flag.String("only", ".", "measure the figures whose name matches this `regexp`")
	profile := flag.String("cpuprofile", "", "write a CPU profile to this `file`; pprof -tagfocus work=… shows one side of a comparison")
	rounds := flag.Int("rounds", 200, "how many ratios are taken for each figure")
	flag.Parse()
	s := setting{
		principals: measure.Plan{Rounds: *rounds, Batch: time.Millisecond / 2},
		calls:      measure.Plan{Rounds: *rounds, Batch: 2 * time.Millisecond},
		pool:       8192,
	}
	if err := profiled(*profile, func() error { return run(s, *only, os.Stdout, os.Stderr) }); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func profiled(file string, work func() error) (err error) {
	if file == "" {
		return work()
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	if err = pprof.StartCPUProfile(f); err != nil {
		return err
	}
	err = work()
	pprof.StopCPUProfile()
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// group is figures that share a world. It may leave servers running for as long
// as the process does.
type group struct {
	plan    measure.Plan
	figures func(*world, setting) ([]figure, error)
}

func run(s setting, only string, out, progress io.Writer) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	table := newTable(out)
	// A later figure of another kind, such as the edge beside httputil.ReverseProxy, is one more group.
	for _, g := range []group{
		{s.principals, principalFigures},
		{s.principals, jwtFigures},
		{s.calls, grpcFigures},
		{s.calls, connectFigures},
	} {
		if err := g.measure(s, wanted, table, progress); err != nil {
			return err
		}
	}
	if table.empty() {
		return fmt.Errorf("no figure has a name that matches %q", only)
	}
	printSetting(out, s)
	return table.print(out)
}

func (g group) measure(s setting, wanted *regexp.Regexp, t *table, progress io.Writer) error {
	w, err := newWorld()
	if err != nil {
		return err
	}
	figures, err := g.figures(w, s)
	if err != nil {
		return err
	}
	for _, f := range figures {
		if !wanted.MatchString(f.name) {
			continue
		}
		fmt.Fprintln(progress, f.name)
		m, err := f.measure(g.plan)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		t.add(&f, m)
	}
	return nil
}
