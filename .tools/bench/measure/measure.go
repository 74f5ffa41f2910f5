// Package measure compares how long two pieces of work take on a machine that
// others use as well. Both run in turns of about a millisecond, and what counts
// is the ratio within a round, so that whatever slows the machine down slows
// down both.
//
// It does not tell how fast either is on an idle machine: read its times only
// beside each other.
package measure

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"testing"
	"time"
)

// Work is something that can be done n times. It returns an error if it did not
// do what it is measured for.
type Work struct {
	// Name labels what it does in CPU profiles, as "work".
	Name string
	Do   func(n int) error
}

// Plan says for how long to measure.
type Plan struct {
	// Rounds is how many ratios are taken.
	Rounds int
	// Batch is how long one turn of a piece of work lasts; 0 is one repetition.
	Batch time.Duration
}

// Ratio is how long one piece of work takes in terms of another one.
type Ratio struct {
	// Median of the rounds' ratios, and what a tenth of them are below and above.
	Median, P10, P90 float64
	// Base and Other are the medians of the times for one repetition.
	Base, Other time.Duration
}

// Compare measures other against base. In a round base runs first and last and
// other twice in between, and the shorter time of the two counts for each: a
// turn that the kernel interrupted says nothing. The garbage collector runs
// between rounds only: it would hit one turn and spare the next. So memory costs
// its allocation here, and not its collection; [Allocations] tells how often.
func (p Plan) Compare(base, other Work) (Ratio, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	b, err := newTurns(p.Batch, base)
	if err != nil {
		return Ratio{}, err
	}
	o, err := newTurns(p.Batch, other)
	if err != nil {
		return Ratio{}, err
	}
	ratios := make([]float64, 0, p.Rounds)
	bases, others := slices.Clone(ratios), slices.Clone(ratios)
	for range p.Rounds {
		runtime.GC()
		var took [4]float64
		for i, t := range []*turns{b, o, o, b} {
			if took[i], err = t.take(); err != nil {
				return Ratio{}, err
			}
		}
		base, other := min(took[0], took[3]), min(took[1], took[2])
		ratios, bases, others = append(ratios, other/base), append(bases, base), append(others, other)
	}
	return Ratio{
		Median: quantile(ratios, 0.5), P10: quantile(ratios, 0.1), P90: quantile(ratios, 0.9),
		Base: time.Duration(quantile(bases, 0.5)), Other: time.Duration(quantile(others, 0.5)),
	}, nil
}

// Allocations returns how often w allocates memory in one repetition, on
// average over runs of them.
func Allocations(runs int, w Work) (float64, error) {
	var failed error
	allocations := testing.AllocsPerRun(runs, func() {
		if err := w.Do(1); err != nil {
			failed = err
		}
	})
	if failed != nil {
		return 0, fmt.Errorf("%s: %w", w.Name, failed)
	}
	return allocations, nil
}

// turns takes turns of n repetitions.
type turns struct {
	work   Work
	n      int
	labels pprof.LabelSet
}

// newTurns finds out how many repetitions fill a batch, which warms up as well.
func newTurns(batch time.Duration, w Work) (*turns, error) {
	t := &turns{work: w, n: 1, labels: pprof.Labels("work", w.Name)}
	for {
		each, err := t.take()
		if err != nil {
			return nil, err
		}
		enough := int(float64(batch) / math.Max(each, 1))
		if enough <= t.n {
			return t, nil
		}
		t.n = min(enough, 2*t.n)
	}
}

// take returns the nanoseconds of one repetition. Some come before, untimed, to
// fill the caches that the other work or the collector emptied.
func (t *turns) take() (each float64, err error) {
	pprof.Do(context.Background(), t.labels, func(context.Context) {
		if err = t.work.Do(1 + t.n/8); err != nil {
			return
		}
		start := time.Now() //nolint:forbidigo // to measure time is what this package is for
		err = t.work.Do(t.n)
		each = float64(time.Since(start)) / float64(t.n) //nolint:forbidigo // as above
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", t.work.Name, err)
	}
	return each, nil
}

// quantile returns the value that the part q of the values lies below.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}
