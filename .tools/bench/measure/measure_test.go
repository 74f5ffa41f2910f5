package measure_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/tools/bench/measure"
)

// takes is work that takes so long, and longer in every second turn if the
// machine has something else to do.
func takes(each, interrupted time.Duration) measure.Work {
	turns := 0
	return measure.Work{Name: "work", Do: func(n int) error {
		time.Sleep(time.Duration(n) * each) //nolint:forbidigo // the time of a synctest bubble
		if turns++; turns%4 == 0 {
			time.Sleep(interrupted) //nolint:forbidigo // as above
		}
		return nil
	}}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		plan        measure.Plan
		base, other time.Duration
		interrupted time.Duration
		want        measure.Ratio
	}{
		"slower":                    {measure.Plan{Rounds: 5, Batch: time.Millisecond}, 10 * time.Microsecond, 30 * time.Microsecond, 0, measure.Ratio{Median: 3, P10: 3, P90: 3, Base: 10 * time.Microsecond, Other: 30 * time.Microsecond}},
		"faster":                    {measure.Plan{Rounds: 5, Batch: time.Millisecond}, 40 * time.Microsecond, 20 * time.Nanosecond, 0, measure.Ratio{Median: 0.0005, P10: 0.0005, P90: 0.0005, Base: 40 * time.Microsecond, Other: 20}},
		"longer than a batch":       {measure.Plan{Rounds: 1, Batch: time.Millisecond}, time.Second, 2 * time.Second, 0, measure.Ratio{Median: 2, P10: 2, P90: 2, Base: time.Second, Other: 2 * time.Second}},
		"one repetition":            {measure.Plan{Rounds: 1}, time.Microsecond, time.Millisecond, 0, measure.Ratio{Median: 1000, P10: 1000, P90: 1000, Base: time.Microsecond, Other: time.Millisecond}},
		"interrupted in some turns": {measure.Plan{Rounds: 5, Batch: time.Millisecond}, 10 * time.Microsecond, 30 * time.Microsecond, time.Hour, measure.Ratio{Median: 3, P10: 3, P90: 3, Base: 10 * time.Microsecond, Other: 30 * time.Microsecond}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got, err := tt.plan.Compare(takes(tt.base, 0), takes(tt.other, tt.interrupted))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error("-want +got\n" + diff)
				}
			})
		})
	}
}

var errWork = errors.New("it did not work")

func fails(measureIt func(measure.Work) error) error {
	return measureIt(measure.Work{Name: "broken", Do: func(int) error { return errWork }})
}

func TestBrokenWorkIsAnError(t *testing.T) { //nolint:paralleltest // allocations are counted for the whole process
	works := measure.Work{Name: "whole", Do: func(int) error { return nil }}
	for name, err := range map[string]error{
		"base":        fails(func(w measure.Work) error { _, err := measure.Plan{Rounds: 1}.Compare(w, works); return err }),
		"other":       fails(func(w measure.Work) error { _, err := measure.Plan{Rounds: 1}.Compare(works, w); return err }),
		"allocations": fails(func(w measure.Work) error { _, err := measure.Allocations(1, w); return err }),
	} {
		if !errors.Is(err, errWork) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAllocations(t *testing.T) { //nolint:paralleltest // allocations are counted for the whole process
	var kept []*int
	got, err := measure.Allocations(100, measure.Work{Name: "two", Do: func(int) error {
		kept = append(kept[:0], new(int), new(int))
		return nil
	}})
	if err != nil || got != 2 {
		t.Errorf("got %v, %v; want 2", got, err)
	}
}
