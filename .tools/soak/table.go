package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"
)

// table prints figures beside their bounds.
type table struct {
	out io.Writer
}

func (t *table) head(p plan) {
	fmt.Fprintf(t.out, "%s %s/%s, GOMAXPROCS %d; %d services, %d rotations\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), p.services, p.rotations)
	fmt.Fprintf(t.out, "%-56s %12s  %-12s %-7s %s\n", "figure", "value", "bound", "", "")
}

// add prints a figure. A bound of 0 is none.
func (t *table) add(name string, value float64, unit string, bound float64, note string) {
	limit, verdict := "-", ""
	if bound > 0 {
		limit, verdict = fmt.Sprintf("≤ %.4g %s", bound, unit), "held"
		if bound < 1 {
			limit = "none"
		}
		if value > bound {
			verdict = "MISSED"
		}
	}
	fmt.Fprintf(t.out, "%-56s %12s  %-12s %-7s %s\n", name, fmt.Sprintf("%.4g %s", value, unit), limit, verdict, note)
}

// durations prints the 99th percentile and the longest. A bound of 0 is none.
func (t *table) durations(name string, all []time.Duration, p99, longest time.Duration) {
	slices.Sort(all)
	at := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))]) / 1e6 }
	t.add(name+", p99", at(0.99), "ms", float64(p99)/1e6, fmt.Sprintf("median %.3g ms, of %d", at(0.5), len(all)))
	t.add(name+", longest", at(1), "ms", float64(longest)/1e6, "")
}

func middle(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}
