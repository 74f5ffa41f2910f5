package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/onbehalf-dev/onbehalf/tools/bench/measure"
)

const allocationRuns = 200

// none is the bound of a figure that stands there for comparison.
const none = -1

// figure is a row of the table.
type figure struct {
	name  string
	bound float64 // the most that value may be, or none
	unit  unit
	// cause says what a miss comes from, where that is known.
	cause   string
	measure func(measure.Plan) (measured, error)
}

type measured struct {
	value  float64
	spread [2]float64 // p10 and p90; zero for what is counted
	beside string
}

func (f *figure) missed(m measured) bool { return f.bound != none && m.value > f.bound }

// why explains a miss.
func (f *figure) why(m measured) string {
	noisy := m.spread[0] > 0 && m.spread[0] <= f.bound
	switch {
	case f.cause != "" && noisy:
		return f.cause + "; also, the bound lies within the spread of this run"
	case f.cause != "":
		return f.cause
	case noisy:
		return "the bound lies within the spread of this run: measure again on an idle machine"
	default:
		return "no cause is known: see -cpuprofile"
	}
}

// unit prints a value.
type unit func(float64) string

func times(v float64) string      { return fmt.Sprintf("%.3f ×", v) }
func percent(v float64) string    { return fmt.Sprintf("%.3f %%", 100*v) }
func bytes(v float64) string      { return fmt.Sprintf("%.0f B", v) }
func characters(v float64) string { return fmt.Sprintf("%.0f chars", v) }
func allocations(v float64) string {
	return fmt.Sprintf("%.0f allocs", v)
}

// compared is a figure from a ratio.
func compared(r measure.Ratio) measured {
	return measured{
		value: r.Median, spread: [2]float64{r.P10, r.P90},
		beside: fmt.Sprintf("%s : %s", brief(r.Other), brief(r.Base)),
	}
}

// compareWithAllocations also tells how much memory both allocate.
func compareWithAllocations(p measure.Plan, base, other measure.Work) (measured, error) {
	r, err := p.Compare(base, other)
	if err != nil {
		return measured{}, err
	}
	m := compared(r)
	theirs, err := measure.Allocations(allocationRuns, other)
	if err != nil {
		return measured{}, err
	}
	own, err := measure.Allocations(allocationRuns, base)
	m.beside += fmt.Sprintf(", %.0f : %.0f allocs", theirs, own)
	return m, err
}

func brief(d time.Duration) string {
	if d < time.Microsecond {
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	}
	return fmt.Sprintf("%.1f µs", float64(d)/float64(time.Microsecond))
}

// table collects the rows, and what there is to say of those that missed.
type table struct {
	rows    *tabwriter.Writer
	figures int
	misses  []string
}

func newTable(w io.Writer) *table {
	t := &table{rows: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.row("figure", "value", "bound", "", "p10 – p90", "it : what it is compared with")
	return t
}

func (t *table) empty() bool { return t.figures == 0 }

func (t *table) row(cells ...string) { fmt.Fprintln(t.rows, strings.Join(cells, "\t")) }

func (t *table) add(f *figure, m measured) {
	t.figures++
	bound, verdict, spread := "-", "-", ""
	if f.bound != none {
		bound, verdict = "≤ "+f.unit(f.bound), "held"
	}
	if f.missed(m) {
		verdict = "missed"
		t.misses = append(t.misses, f.name+": "+f.why(m))
	}
	if m.spread != [2]float64{} {
		spread = f.unit(m.spread[0]) + " – " + f.unit(m.spread[1])
	}
	t.row(f.name, f.unit(m.value), bound, verdict, spread, m.beside)
}

func (t *table) print(w io.Writer) error {
	if err := t.rows.Flush(); err != nil {
		return err
	}
	for _, miss := range t.misses {
		fmt.Fprintln(w, "missed:", miss)
	}
	return nil
}

// peers are the modules whose versions the figures depend on.
var peers = []string{
	"google.golang.org/grpc",
	"connectrpc.com/connect/v2",
	"github.com/golang-jwt/jwt/v5",
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc",
	"connectrpc.com/otelconnect",
}

// printSetting says under what conditions the figures hold.
func printSetting(w io.Writer, s setting) {
	fmt.Fprintf(w, "%s %s/%s, GOMAXPROCS %d; %d rounds of 4 turns of %v, calls of %v\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), s.principals.Rounds, s.principals.Batch, s.calls.Batch)
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return
	}
	version := make(map[string]string, len(info.Deps))
	for _, module := range info.Deps {
		version[module.Path] = module.Version
	}
	named := make([]string, len(peers))
	for i, path := range peers {
		named[i] = strings.TrimPrefix(path, "go.opentelemetry.io/contrib/instrumentation/") + " " + version[path]
	}
	fmt.Fprintln(w, strings.Join(named, ", "))
}
