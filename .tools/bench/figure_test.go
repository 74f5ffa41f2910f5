package main

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	table := newTable(&out)
	for _, row := range []struct {
		figure   figure
		measured measured
	}{
		{figure{name: "holds", bound: 1.1, unit: times}, measured{value: 1.1, spread: [2]float64{1, 1.2}, beside: "11 ns : 10 ns"}},
		{figure{name: "is noise", bound: 1.1, unit: times}, measured{value: 1.2, spread: [2]float64{1.1, 1.3}}},
		{figure{name: "is slow", bound: 1.1, unit: times}, measured{value: 1.2, spread: [2]float64{1.15, 1.3}}},
		{figure{name: "is slow by design", bound: 0.0025, unit: percent, cause: "physics"}, measured{value: 0.01, spread: [2]float64{0.009, 0.011}}},
		{figure{name: "may be noise", bound: 1.1, unit: times, cause: "physics"}, measured{value: 1.2, spread: [2]float64{1, 1.3}}},
		{figure{name: "allocates", bound: 0, unit: allocations}, measured{value: 1}},
		{figure{name: "a peer", bound: none, unit: characters}, measured{value: 1150}},
	} {
		table.add(&row.figure, row.measured)
	}
	if err := table.print(&out); err != nil {
		t.Fatal(err)
	}
	const want = `figure             value       bound               p10 – p90          it : what it is compared with
holds              1.100 ×     ≤ 1.100 ×   held    1.000 × – 1.200 ×  11 ns : 10 ns
is noise           1.200 ×     ≤ 1.100 ×   missed  1.100 × – 1.300 ×
is slow            1.200 ×     ≤ 1.100 ×   missed  1.150 × – 1.300 ×
is slow by design  1.000 %     ≤ 0.250 %   missed  0.900 % – 1.100 %
may be noise       1.200 ×     ≤ 1.100 ×   missed  1.000 × – 1.300 ×
allocates          1 allocs    ≤ 0 allocs  missed
a peer             1150 chars  -           -
missed: is noise: the bound lies within the spread of this run: measure again on an idle machine
missed: is slow: no cause is known: see -cpuprofile
missed: is slow by design: physics
missed: may be noise: physics; also, the bound lies within the spread of this run
missed: allocates: no cause is known: see -cpuprofile
`
	var got strings.Builder
	for line := range strings.Lines(out.String()) {
		got.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &got, want)
	}
}
