package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

func run(ctx context.Context, p plan) error {
	dir, err := os.MkdirTemp("", "onbehalf-soak")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	t := &table{out: os.Stdout}
	t.head(p)
	w := &world{plan: p, dir: dir}
	defer w.close()
	for _, step := range []struct {
		name string
		run  func(context.Context, *table) error
	}{
		{"memory of a million revocations", w.index},
		{"an edge and its services", w.start},
		{"revocations", w.revocations},
		{"streams", w.openStreams},
		{"a service that was cut off", w.cut},
		{"rotations under load", w.rotate},
		{"the same with TLS", w.secure},
	} {
		fmt.Fprintf(os.Stderr, "soak: %s\n", step.name)
		if err := step.run(ctx, t); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// world is the processes of a run.
type world struct {
	plan     plan
	dir      string
	edge     *process
	services *process
}

func (w *world) close() {
	w.services.stop()
	w.edge.stop()
}

func (w *world) start(ctx context.Context, t *table) error {
	rest, err := w.startEdge(ctx, "plain")
	if err != nil {
		return err
	}
	began := time.Now()
	full, err := w.join(ctx, "plain", w.plan.services)
	if err != nil {
		return err
	}
	t.add("services that have joined", float64(w.plan.services), "", 0, fmt.Sprintf("in %v, with a key of its own each", time.Since(began).Round(time.Millisecond)))
	t.add("RSS at the edge per service, h2c", float64(full-rest)/float64(w.plan.services)/1024, "KiB", 64, fmt.Sprintf("%d MiB in all", full>>20))
	return nil
}

// secure measures the memory with TLS, which has no bound.
func (w *world) secure(ctx context.Context, t *table) error {
	w.close()
	rest, err := w.startEdge(ctx, "tls")
	if err != nil {
		return err
	}
	full, err := w.join(ctx, "tls", w.plan.services)
	if err != nil {
		return err
	}
	t.add("RSS at the edge per service, TLS", float64(full-rest)/float64(w.plan.services)/1024, "KiB", 0, fmt.Sprintf("%d MiB in all", full>>20))
	return nil
}

func (w *world) startEdge(ctx context.Context, mode string) (rss int64, err error) {
	dir := filepath.Join(w.dir, mode)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	if w.edge, err = startProcess(ctx, "edge", dir, mode); err != nil {
		return 0, err
	}
	return w.edge.rss(ctx)
}

func (w *world) join(ctx context.Context, mode string, n int) (rss int64, err error) {
	if w.services, err = startProcess(ctx, "services", filepath.Join(w.dir, mode), mode, w.edge.line); err != nil {
		return 0, err
	}
	var joined struct{}
	if err := w.services.call(ctx, "join", map[string]int{"n": n}, &joined); err != nil {
		return 0, err
	}
	return w.edge.rss(ctx)
}

// revocations times how long it takes from the acknowledgement of a revocation
// until each service refuses the principal.
func (w *world) revocations(ctx context.Context, t *table) error {
	var all []time.Duration
	for i := range w.plan.rounds {
		took, err := w.revoke(ctx, fmt.Sprintf("user%d", i), "hold", nil)
		if err != nil {
			return err
		}
		all = append(all, took...)
	}
	t.durations(fmt.Sprintf("acknowledgement to refusal, %d services", w.plan.services), all, 100*time.Millisecond, time.Second)
	return nil
}

func (w *world) openStreams(ctx context.Context, t *table) error {
	var all []time.Duration
	for i := range max(1, w.plan.rounds/4) {
		took, err := w.revoke(ctx, fmt.Sprintf("streamer%d", i), "streams", map[string]int{"n": w.plan.streams})
		if err != nil {
			return err
		}
		all = append(all, took...)
	}
	t.durations(fmt.Sprintf("acknowledgement to the end of a stream, %d open", w.plan.streams), all, 100*time.Millisecond, 0)
	return nil
}

// revoke has the services do something for a user, revokes the user's session,
// and returns how long after the acknowledgement each of them noticed.
func (w *world) revoke(ctx context.Context, user, what string, args map[string]int) ([]time.Duration, error) {
	var begun struct{ Session string }
	if err := w.services.call(ctx, what+"/begin?user="+user, args, &begun); err != nil {
		return nil, err
	}
	var acknowledged struct{ At int64 }
	if err := w.edge.call(ctx, "revoke?session="+begun.Session, nil, &acknowledged); err != nil {
		return nil, err
	}
	var ended struct{ At []int64 }
	if err := w.services.call(ctx, what+"/end", nil, &ended); err != nil {
		return nil, err
	}
	took := make([]time.Duration, len(ended.At))
	for i, at := range ended.At {
		took[i] = max(0, time.Duration(at-acknowledged.At))
	}
	return took, nil
}

// cut cuts one service off, revokes meanwhile, and times from the moment that it
// has a connection again.
func (w *world) cut(ctx context.Context, t *table) error {
	var all []time.Duration
	for i := range w.plan.rounds {
		var begun struct{ Session string }
		if err := w.services.call(ctx, fmt.Sprintf("cut/begin?user=cut%d", i), nil, &begun); err != nil {
			return err
		}
		if err := w.edge.call(ctx, "revoke?session="+begun.Session, nil, &struct{}{}); err != nil {
			return err
		}
		var ended struct{ Took, Trip int64 }
		if err := w.services.call(ctx, "cut/end", nil, &ended); err != nil {
			return err
		}
		all = append(all, time.Duration(ended.Took))
	}
	t.durations("reconnected to refusal, one service cut off", all, 100*time.Millisecond, 0)
	return nil
}

func (w *world) rotate(ctx context.Context, t *table) error {
	if err := w.services.call(ctx, "load/begin", nil, &struct{}{}); err != nil {
		return err
	}
	began := time.Now()
	for range w.plan.rotations {
		if err := w.edge.call(ctx, "rotate", nil, &struct{}{}); err != nil {
			return err
		}
	}
	took := time.Since(began)
	var load struct{ Calls, Failed int64 }
	if err := w.services.call(ctx, "load/end", nil, &load); err != nil {
		return err
	}
	t.add(fmt.Sprintf("failed verifications in %d rotations", w.plan.rotations), float64(load.Failed), "", 0.5,
		fmt.Sprintf("of %d calls in %v, a principal of its own each", load.Calls, took.Round(time.Millisecond)))
	switch {
	case load.Calls == 0:
		return errors.New("there was no load")
	case load.Failed > 0:
		return fmt.Errorf("%d calls failed", load.Failed)
	default:
		return nil
	}
}
