package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// watch samples what a process holds.
type watch struct {
	process *process
	mu      sync.Mutex
	samples []figures
}

func (w *watch) run(ctx context.Context, every time.Duration, fatal func(error)) {
	start := time.Now()
	for wait(ctx, every) {
		f, err := w.now(ctx)
		if err != nil {
			if ctx.Err() == nil {
				fatal(fmt.Errorf("the edge does not answer: %w", err))
			}
			return
		}
		f.At = time.Since(start)
		w.mu.Lock()
		w.samples = append(w.samples, f)
		w.mu.Unlock()
	}
}

func (w *watch) now(ctx context.Context) (f figures, err error) {
	err = w.process.call(ctx, "figures", nil, &f)
	return f, err
}

func (w *watch) last() figures {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.samples) == 0 {
		return figures{}
	}
	return w.samples[len(w.samples)-1]
}

// trend is how a figure went after the first fifth, which is the warm-up.
type trend struct {
	second, last float64 // means of fifths
	least, most  float64
	slope        float64 // by the minute
	warming      int     // samples of the first fifth
}

func trendOf(all []figures, of func(figures) int64) (t trend) {
	if t.warming = len(all) / 5; t.warming == 0 {
		return t
	}
	mean := func(part []figures) (sum float64) {
		for _, f := range part {
			sum += float64(of(f))
		}
		return sum / float64(len(part))
	}
	t.second, t.last = mean(all[t.warming:2*t.warming]), mean(all[len(all)-t.warming:])
	rest := all[t.warming:]
	values := make([]float64, len(rest))
	var at, value float64
	for i, f := range rest {
		values[i] = float64(of(f))
		at += f.At.Minutes() / float64(len(rest))
		value += values[i] / float64(len(rest))
	}
	t.least, t.most = slices.Min(values), slices.Max(values)
	var both, square float64
	for i, f := range rest {
		d := f.At.Minutes() - at
		both += d * (values[i] - value)
		square += d * d
	}
	t.slope = both / square
	return t
}
