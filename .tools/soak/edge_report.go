package main

import (
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"
)

const (
	growth    = 1.1     // of what is held, at most
	byteSlack = 8 << 20 // what a short run may be off
	slack     = 40      // goroutines and files: those of requests under way
)

// verdict is a table that fails if a bound is missed which has to be held.
type verdict struct {
	table

	missed []string
}

func (v *verdict) must(name string, value float64, unit string, bound float64, note string) {
	v.add(name, value, unit, bound, note)
	if value > bound {
		v.missed = append(v.missed, name)
	}
}

func (x *loaded) report(out io.Writer) error {
	v := &verdict{table: table{out: out}}
	fmt.Fprintf(out, "%s %s/%s, GOMAXPROCS %d; an edge under load for %v, %d calls at a time, %d streams\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), x.duration, workers, x.lasting.streams)
	fmt.Fprintf(out, "%-56s %12s  %-12s %-7s %s\n", "figure", "value", "bound", "", "")
	x.reportCalls(v)
	x.reportTurmoil(v)
	x.reportHeld(v)
	for _, t := range []struct {
		name string
		*tally
	}{{"failed", &x.load.failed}, {"asked for", &x.load.asked}} {
		for _, name := range slices.Sorted(maps.Keys(t.all)) {
			fmt.Fprintf(out, "%s: %d %s\n", t.name, t.all[name], name)
		}
	}
	for _, note := range x.load.failed.notes {
		fmt.Fprintln(out, note)
	}
	if x.left != "" {
		fmt.Fprintln(out, x.left)
	}
	if len(v.missed) > 0 {
		return fmt.Errorf("missed: %s; %w", strings.Join(v.missed, ", "), x.tail())
	}
	return nil
}

func (x *loaded) reportCalls(v *verdict) {
	calls := x.load.done.Load()
	rate := float64(calls) / x.duration.Seconds()
	v.add("calls", float64(calls), "", 0, fmt.Sprintf("%.0f a second, of %d kinds", rate, len(kinds)))
	v.add("time that a million takes", 1e6/rate/60, "min", 10, "more on a slow machine is no failure")
	v.add("a call, median", millis(x.load.took.at(0.5)), "ms", 0, "")
	v.add("a call, p99", millis(x.load.took.at(0.99)), "ms", 0, fmt.Sprintf("longest %.4g ms", millis(x.load.took.at(1))))
	v.add("answers of somebody else, or to another call", 0, "", 0.5, "the first would have ended it")
	v.must("failed calls that nobody asked for", float64(x.load.failed.total()), "", 0.5, "")
	v.add("failed calls of instances that were killed", float64(x.load.asked.total()), "", 0,
		fmt.Sprintf("under way within %v, in %d kills", afterKill, x.turmoil.kill.Load()))
	made, records := x.caller.made.Load(), x.auditor.records()
	v.must("requests without an audit record, or with two", float64(max(made-records, records-made)), "", 0.5,
		fmt.Sprintf("of %d, %d of them refused", made, x.auditor.refused.Load()))
	v.must("streams that did not last", float64(x.lasting.streams-x.lasting.complete.total()), "", 0.5,
		fmt.Sprintf("of %d over %d protocols", x.lasting.streams, len(x.lasting.complete.all)))
	v.add("a message of a stream, p99", millis(x.lasting.took.at(0.99)), "ms", 0, fmt.Sprintf("median %.4g ms, of %d", millis(x.lasting.took.at(0.5)), x.lasting.took.count()))
	v.must("a message of a stream, longest", millis(x.lasting.took.at(1)), "ms", millis(messageWithin), "")
}

func (x *loaded) reportTurmoil(v *verdict) {
	t := x.turmoil
	v.add("instances replaced, one after the other", float64(t.restarts.Load()), "", 0, "")
	v.add("configurations taken", float64(t.taken.Load()), "", 0, fmt.Sprintf("%d were refused as they should", t.refusedReloads.Load()))
	v.add("signing keys rotated", float64(t.rotations.Load()), "", 0, "")
	v.add("users revoked", float64(t.revocations.Load()), "", 0, "none made a call after that")
	if t.revoked.count() > 0 {
		v.must("acknowledgement to the end of a stream, longest", millis(t.revoked.at(1)), "ms", millis(revokedWithin),
			fmt.Sprintf("median %.4g ms, of %d", millis(t.revoked.at(0.5)), t.revoked.count()))
	}
}

// reportHeld compares the second fifth of the time with the last.
func (x *loaded) reportHeld(v *verdict) {
	for _, f := range []struct {
		name, unit  string
		size, slack float64
		of          func(figures) int64
	}{
		{"RSS", "MiB", 1 << 20, byteSlack, func(f figures) int64 { return f.RSS }},
		{"heap in use", "MiB", 1 << 20, byteSlack, func(f figures) int64 { return f.Heap }},
		{"goroutines", "", 1, slack, func(f figures) int64 { return f.Goroutines }},
		{"open files", "", 1, slack, func(f figures) int64 { return f.Files }},
	} {
		t := trendOf(x.watch.samples, f.of)
		if t.warming == 0 {
			v.add(f.name+" of the edge", 0, f.unit, 0, "the run was too short")
			continue
		}
		v.must(f.name+" of the edge, last fifth of the time", t.last/f.size, f.unit, (t.second*growth+f.slack)/f.size,
			fmt.Sprintf("second fifth %.4g; then %.4g to %.4g, %+.3g a minute", t.second/f.size, t.least/f.size, t.most/f.size, t.slope/f.size))
	}
	v.must("goroutines when the load has ended", float64(x.after.Goroutines), "", float64(x.before.Goroutines+restSlack), fmt.Sprintf("%d before the first service", x.before.Goroutines))
	v.must("open files when the load has ended", float64(x.after.Files), "", float64(x.before.Files+restSlack), fmt.Sprintf("%d before", x.before.Files))
	v.add("heap in use when the load has ended", float64(x.after.Heap)/(1<<20), "MiB", 0, fmt.Sprintf("%.4g before", float64(x.before.Heap)/(1<<20)))
}

func millis(d time.Duration) float64 { return float64(d) / 1e6 }
