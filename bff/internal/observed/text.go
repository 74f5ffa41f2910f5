package observed

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	minWidth = 80
	shown    = 5 // callers, routes or issuers of a finding
)

// Options are how a report is written.
type Options struct {
	// Subjects says to name on whose behalf calls were, and not only how many there
	// are.
	Subjects bool
	// Width is how long lines of text are at most; less than 80 is taken as 80.
	Width int
}

// Text writes the report for people: those methods first that are not ready.
func (r *Report) Text(w io.Writer, o Options) error {
	out := &page{w: bufio.NewWriter(w), width: max(o.Width, minWidth)}
	for _, v := range []Verdict{NotReady, InForce, Unseen, Ready} {
		for _, m := range r.Methods() {
			if m.Verdict() == v {
				out.method(m, o)
			}
		}
	}
	for _, line := range r.summary() {
		out.line("", line)
	}
	return out.w.Flush()
}

// summary says in a few lines what there was, and what was not read.
func (r *Report) summary() []string {
	counts := make(map[Verdict]int64)
	for _, m := range r.methods {
		counts[m.Verdict()]++
	}
	parts := []string{fmt.Sprintf("%s of %s would be refused", digits(r.WouldRefuse), count(r.Calls, "call"))}
	for _, v := range []struct {
		verdict Verdict
		text    string
	}{{NotReady, "not ready"}, {Ready, "ready to enforce"}, {InForce, "in force"}, {Unseen, "not seen"}} {
		if n := counts[v.verdict]; n > 0 {
			parts = append(parts, digits(n)+" "+v.text)
		}
	}
	lines := []string{strings.Join(parts, "; ") + "."}
	read := []string{"Read " + count(r.Read.Lines, "line") + " of " + count(int64(r.Read.Files), "log")}
	for _, part := range []struct {
		n    int64
		text string
	}{
		{r.Read.Decisions, "decisions"}, {r.Read.Other, "of something else"}, {r.Read.Earlier, "before --since"},
		{r.Read.Corrupt, "torn or garbled"}, {r.Read.TooLong, "too long"}, {r.Read.WithoutTime, "without a time"},
	} {
		if part.n > 0 {
			read = append(read, digits(part.n)+" "+part.text)
		}
	}
	lines = append(lines, strings.Join(read, ", ")+".")
	if r.Untold > 0 {
		lines = append(lines, fmt.Sprintf("%s of methods beyond the first %s are only counted; %s of them would be refused.",
			count(r.Untold, "call"), digits(maxMethods), digits(r.UntoldWouldRefuse)))
	}
	return lines
}

func (p *page) method(m *Method, o Options) {
	p.line("", m.title())
	p.line("  ", m.Sentence())
	if m.Verdict() != Unseen {
		p.line("  ", m.figures())
	}
	for _, f := range m.Findings() {
		p.line("  - ", f.title(m))
		for _, detail := range f.details(m, o) {
			p.line("    ", detail)
		}
	}
	if m.Untold > 0 {
		p.line("  - ", count(m.Untold, "call")+" for further reasons")
	}
	fmt.Fprintln(p.w)
}

// title names the method and who decides.
func (m *Method) title() string {
	switch name := strings.TrimPrefix(m.Name, "/"); {
	case m.Edge:
		return "route " + m.Name + " at the edge"
	case m.At == "":
		return name
	default:
		return name + " at " + m.At
	}
}

// figures says what became of the calls, and when they were.
func (m *Method) figures() string {
	s := digits(m.Allowed) + " allowed"
	if m.Ended > 0 {
		s += ", of which " + digits(m.Ended) + " ended early"
	}
	if !m.First.IsZero() {
		s += "; first " + when(m.First) + ", last " + when(m.Last)
	}
	return s
}

func (f *Finding) title(m *Method) string {
	s := count(f.Calls, "call") + ", " + f.Reason + ": " + f.advice(m.Edge).what
	if f.Decision == "refused" {
		s += " (refused)"
	}
	return s
}

// details are lines about who is concerned, and what to do.
func (f *Finding) details(m *Method, o Options) []string {
	var lines []string
	clients := f.atLeast(len(f.Clients), "client address")
	if m.Edge {
		lines = append(lines, "From "+clients+".")
	} else {
		lines = append(lines, "From "+most(f.by())+".")
	}
	if n := len(f.Subjects); n > 0 {
		names := f.atLeast(n, "subject")
		if o.Subjects {
			names += ": " + most(f.Subjects)
		}
		lines = append(lines, "For "+names+".")
	}
	if !m.Edge && len(f.Routes) > 0 {
		lines = append(lines, "Through the edge by route "+most(f.Routes)+"; "+clients+".")
	}
	if len(f.Issuers) > 0 {
		lines = append(lines, "With credentials of "+most(f.Issuers)+".")
	}
	lines = append(lines, "First "+when(f.First)+", last "+when(f.Last)+".")
	if do := f.advice(m.Edge).do; do != "" {
		lines = append(lines, "To do: "+do+".")
	}
	return lines
}

// by returns the callers as they are shown.
func (f *Finding) by() map[string]int64 {
	by := make(map[string]int64)
	for c, n := range f.Callers {
		by[c.String()] += n
	}
	if f.Untold > 0 {
		by["others"] += f.Untold
	}
	return by
}

func (f *Finding) atLeast(n int, what string) string {
	if f.Full {
		return "at least " + count(int64(n), what)
	}
	return count(int64(n), what)
}

// String says who, and of which kind the principal is.
func (c Caller) String() string {
	if c.Kind == "" {
		return c.Name
	}
	return c.Name + " as " + c.Kind
}

// most names those with the highest counts, and counts the others.
func most(counts map[string]int64) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(-cmp.Compare(counts[a], counts[b]), cmp.Compare(a, b))
	})
	parts := make([]string, 0, shown+1)
	var rest int64
	for i, name := range names {
		if i < shown {
			parts = append(parts, name+" ("+digits(counts[name])+")")
		} else {
			rest += counts[name]
		}
	}
	if rest > 0 {
		parts = append(parts, fmt.Sprintf("%d more (%s)", len(names)-shown, digits(rest)))
	}
	return strings.Join(parts, ", ")
}

// when is a time as people read it, in UTC.
func when(t time.Time) string {
	if t.IsZero() {
		return "unknown"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// count is a number and what it counts.
func count(n int64, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "s"):
		return digits(n) + " " + what + "es"
	default:
		return digits(n) + " " + what + "s"
	}
}

// digits groups a number by thousands.
func digits(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
