package observed_test

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/observed"
)

// made is a log that is made while it is read.
type made struct {
	line func(i int) string
	n, i int
	rest string
}

func (m *made) Read(p []byte) (int, error) {
	if m.rest == "" {
		if m.i == m.n {
			return 0, io.EOF
		}
		m.rest = m.line(m.i) + "\n"
		m.i++
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

// Z03: whatever callers make up, memory is bounded, and nothing is lost count of.
func TestBounds(t *testing.T) { //nolint:paralleltest // it looks at the memory
	const n = 20_000
	wide := strings.Repeat("w", 300)
	line := func(i int) string {
		return fmt.Sprintf(`{"time":"2026-11-22T10:00:00Z","msg":"principal","service":"a","method":"/b.C/D%[1]d","decision":"would_refuse","reason":"r%[2]d",`+
			`"peer":"p%[1]d%[3]s","request_id":"q%[1]d","principal":{"id":"i%[1]d","subject":"s%[1]d%[3]s"},"rule":"{all_scopes:\"x%[1]d\"}"}`, i, i%7, wide)
	}
	for name, logs := range map[string][]observed.Input{
		"methods": {{Name: "a", Reader: &made{line: line, n: n}}},
		"callers of one method": {{Name: "a", Reader: &made{line: func(i int) string {
			return strings.Replace(line(i), fmt.Sprintf("/b.C/D%d", i), "/b.C/D", 1)
		}, n: n}}},
		"requests at the edge": {{Name: "a", Reader: &made{line: func(i int) string {
			return fmt.Sprintf(`{"msg":"request","route":"r%[1]d","decision":"would_refuse","reason":"missing","client":"%[2]s%[1]d","request_id":"q%[1]d"}`, i, wide)
		}, n: n}}},
	} {
		before := heap()
		r := observed.New(time.Time{})
		if err := r.Add(logs...); err != nil {
			t.Fatal(err)
		}
		grown := heap() - before
		var told, findings int64
		callers := 0
		for _, m := range r.Methods() {
			told += m.WouldRefuse
			findings += m.Untold
			for _, f := range m.Findings() {
				findings += f.Calls
				callers += len(f.Callers)
				var by int64
				for _, c := range f.Callers {
					by += c
				}
				if by+f.Untold != f.Calls {
					t.Errorf("%s: %d of %d calls have a caller", name, by+f.Untold, f.Calls)
				}
			}
		}
		if r.Calls != n || r.WouldRefuse != n || told+r.UntoldWouldRefuse != n || findings+r.UntoldWouldRefuse != n {
			t.Errorf("%s: %d calls, %d told, %d not, %d in findings", name, r.Calls, told, r.UntoldWouldRefuse, findings)
		}
		if len(r.Methods()) > 2000 || callers > 40_000 || grown > 150<<20 {
			t.Errorf("%s: %d methods, %d callers, %d MiB", name, len(r.Methods()), callers, grown>>20)
		}
		if lines := strings.Count(text(t, r, observed.Options{}), "\n"); lines > 200_000 {
			t.Errorf("%s: %d lines", name, lines)
		}
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What is read is counted once, whatever it is.
func FuzzReport(f *testing.F) {
	f.Add(good)
	f.Add(good + "\n" + good[:70] + "\n\nx")
	f.Add(compressed(f, good))
	f.Add(`{"msg":"request","route":"/a","decision":"would_refuse","omitted":3,"principal":{"path":[""]}}`)
	f.Fuzz(func(t *testing.T, log string) {
		r := observed.New(time.Time{})
		if err := r.Add(observed.Input{Name: "log", Reader: strings.NewReader(log)}); err != nil {
			return
		}
		c := r.Read
		if rest := c.Lines - c.Decisions - c.Other - c.Corrupt - c.TooLong - c.Earlier; rest < -1 || rest > 0 { // a damaged archive is no line
			t.Errorf("%+v", c)
		}
		out := text(t, r, observed.Options{Subjects: true}) + markdown(t, r)
		if strings.ContainsAny(out, "\x1b\r\t\u009b") {
			t.Errorf("%q", out)
		}
		inJSON(t, r, observed.Options{Subjects: true})
	})
}
