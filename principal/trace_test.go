package principal_test

import (
	"regexp"
	"testing"

	"github.com/onbehalf-dev/onbehalf/principal"
)

func TestTraceID(t *testing.T) {
	t.Parallel()
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for _, c := range []struct {
		name   string
		values []string
		want   string
	}{
		{"good", []string{"00-" + trace + "-" + parent + "-01"}, trace},
		{"not sampled", []string{"00-" + trace + "-" + parent + "-00"}, trace},
		{"later version", []string{"01-" + trace + "-" + parent + "-01"}, trace},
		{"later version with more", []string{"cc-" + trace + "-" + parent + "-01-what-it-has-to-say"}, trace},
		{"absent", nil, ""},
		{"twice", []string{"00-" + trace + "-" + parent + "-01", "00-" + trace + "-" + parent + "-01"}, ""},
		{"version that cannot be", []string{"ff-" + trace + "-" + parent + "-01"}, ""},
		{"more than version 00 has", []string{"00-" + trace + "-" + parent + "-01-more"}, ""},
		{"later version run on", []string{"01-" + trace + "-" + parent + "-01more"}, ""},
		{"upper case", []string{"00-4BF92F3577B34DA6A3CE929D0E0E4736-" + parent + "-01"}, ""},
		{"no trace", []string{"00-00000000000000000000000000000000-" + parent + "-01"}, ""},
		{"no parent", []string{"00-" + trace + "-0000000000000000-01"}, ""},
		{"short", []string{"00-" + trace + "-" + parent + "-0"}, ""},
		{"other separators", []string{"00_" + trace + "_" + parent + "_01"}, ""},
		{"line end", []string{"00-" + trace + "-" + parent + "-01\n"}, ""},
	} {
		if got := principal.TraceID(c.values); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

var traceParent = regexp.MustCompile(`\A(?:00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}|[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?s:-.*)?)\z`)

func FuzzTraceID(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Add("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more")
	f.Add("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Fuzz(func(t *testing.T, s string) {
		want := ""
		if m := traceParent.FindStringSubmatch(s); m != nil && s[:2] != "ff" && (s[:2] != "00" || m[1] != "") {
			trace, parent := m[1]+m[3], m[2]+m[4]
			if trace != "00000000000000000000000000000000" && parent != "0000000000000000" {
				want = trace
			}
		}
		if got := principal.TraceID([]string{s}); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	})
}
