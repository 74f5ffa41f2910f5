package observed

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Bounds of what is told apart. What is beyond them is counted all the same.
const (
	maxMethods  = 2_000
	maxFindings = 10_000  // of all methods
	maxCallers  = 40_000  // of all findings
	maxNames    = 400_000 // subjects and clients of all findings
	maxEach     = 50      // callers, routes or issuers of one finding
	maxText     = 256     // bytes of a text from a log
)

// Report is what was found out. It is not safe for concurrent use.
type Report struct {
	Read Read
	// Since is from when on lines count; zero for all.
	Since time.Time
	// Calls and those of them that would be refused, or were.
	Calls, WouldRefuse, Refused int64
	// Untold are calls of methods beyond the bound, and of them those that would be
	// refused.
	Untold, UntoldWouldRefuse int64

	methods map[methodKey]*Method
	rules   ruleCache
	join    join

	findings, callers, names int
}

type methodKey struct {
	at, method string
	edge       bool
}

// Method is what there is of one method, or of one route of an edge.
type Method struct {
	// At is the service that decided; "" for an edge.
	At string
	// Name is "/service/method", a ServeMux pattern, or the route's name.
	Name string
	// Edge says that it is a route.
	Edge bool
	// Calls were let in, would be refused, were refused; Ended counts those that were
	// let in and ended before they were done.
	Calls, Allowed, WouldRefuse, Refused, Ended int64
	// First and Last are when the calls were; zero if there was none, or no time.
	First, Last time.Time
	// Untold are calls of findings beyond the bound.
	Untold int64

	findings map[findingKey]*Finding
}

type findingKey struct{ decision, reason, needs string }

// Finding are calls of a method that have the same thing wrong with them.
type Finding struct {
	// Decision is would_refuse or refused.
	Decision string
	// Reason is of the closed list of the service or the edge.
	Reason string
	// Needs is what the rule asks for and the caller has not, or what is wrong with a
	// credential; "" if the reason says it.
	Needs       string
	Calls       int64
	First, Last time.Time
	// Callers are who handed the calls over; Untold are calls of others.
	Callers map[Caller]int64
	Untold  int64
	// Subjects are on whose behalf; those beyond a bound are left out.
	Subjects map[string]int64
	// Routes of the edge that calls came in by, the addresses that they came from, and
	// who had issued the credentials, as far as its records are there.
	Routes, Clients, Issuers map[string]int64
	// Full says that there are more subjects or clients.
	Full bool
}

// Caller is who handed a call over.
type Caller struct {
	// Name is a service, or where the call came from.
	Name string
	// Kind is that of the principal that acts, or "".
	Kind string
	// Proof is how the name is known: certificate, or claimed.
	Proof string
}

// New returns an empty report.
func New(since time.Time) *Report {
	return &Report{Since: since, methods: make(map[methodKey]*Method)}
}

// Add reads logs to their ends.
func (r *Report) Add(inputs ...Input) error {
	var open []*source
	for _, in := range inputs {
		s, err := newSource(in, r.Since, &r.Read)
		if err != nil {
			return err
		}
		r.Read.Files++
		if s.more {
			open = append(open, s)
		}
	}
	for len(open) > 0 {
		i := earliest(open)
		r.add(&open[i].next)
		if err := open[i].advance(); err != nil {
			return err
		}
		if !open[i].more {
			open = slices.Delete(open, i, i+1)
		}
	}
	return nil
}

// earliest finds the log whose next line is the oldest: lines that belong
// together are then near each other.
func earliest(open []*source) int {
	first := 0
	for i, s := range open {
		if s.next.Time.Before(open[first].next.Time) {
			first = i
		}
	}
	return first
}

func (r *Report) add(l *line) {
	if l.Renewal {
		return // no handler runs, and it is refused while it is observed too
	}
	l.clip()
	m := r.method(l)
	if l.Decision == "ended" {
		if m != nil {
			m.Ended++
		}
		return
	}
	calls := 1 + l.Omitted
	r.Calls += calls
	switch l.Decision {
	case "would_refuse":
		r.WouldRefuse += calls
	case "refused":
		r.Refused += calls
	}
	if m == nil {
		r.Untold += calls
		if l.Decision == "would_refuse" {
			r.UntoldWouldRefuse += calls
		}
		return
	}
	m.count(l, calls)
	var f *Finding
	if l.Decision != "allowed" {
		if f = r.finding(m, l); f == nil {
			m.Untold += calls
		} else {
			r.note(f, l, calls)
		}
	}
	r.join.add(r, f, l)
}

func (m *Method) count(l *line, calls int64) {
	m.Calls += calls
	switch l.Decision {
	case "allowed":
		m.Allowed += calls
	case "would_refuse":
		m.WouldRefuse += calls
	case "refused":
		m.Refused += calls
	}
	extend(&m.First, &m.Last, l.Time)
}

func extend(first, last *time.Time, t time.Time) {
	if t.IsZero() {
		return
	}
	if first.IsZero() || t.Before(*first) {
		*first = t
	}
	if t.After(*last) {
		*last = t
	}
}

// method returns nil beyond the bound.
func (r *Report) method(l *line) *Method {
	key := methodKey{l.Service, l.Method, l.edge()}
	if key.edge {
		key.method = l.Route
	}
	m := r.methods[key]
	if m == nil && len(r.methods) < maxMethods {
		m = &Method{At: key.at, Name: key.method, Edge: key.edge, findings: make(map[findingKey]*Finding)}
		r.methods[key] = m
	}
	return m
}

// finding returns nil beyond the bound.
func (r *Report) finding(m *Method, l *line) *Finding {
	key := findingKey{l.Decision, l.Reason, r.rules.needs(l)}
	f := m.findings[key]
	if f == nil && r.findings < maxFindings {
		r.findings++
		f = &Finding{
			Decision: key.decision, Reason: key.reason, Needs: key.needs,
			Callers: make(map[Caller]int64), Subjects: make(map[string]int64),
			Routes: make(map[string]int64), Clients: make(map[string]int64), Issuers: make(map[string]int64),
		}
		m.findings[key] = f
	}
	return f
}

func (r *Report) note(f *Finding, l *line, calls int64) {
	f.Calls += calls
	extend(&f.First, &f.Last, l.Time)
	caller := l.caller()
	_, known := f.Callers[caller]
	if !known && len(f.Callers) < maxEach && r.callers < maxCallers {
		r.callers++
		known = true
	}
	if known {
		f.Callers[caller]++
		calls--
	}
	f.Untold += calls // also those without a line of their own
	if l.Principal.Subject != "" {
		r.name(f, f.Subjects, l.Principal.Subject)
	}
}

// name counts one of the many names that a finding may have.
func (r *Report) name(f *Finding, names map[string]int64, name string) {
	if _, known := names[name]; !known {
		if r.names >= maxNames {
			f.Full = true
			return
		}
		r.names++
	}
	names[name]++
}

// Methods returns all methods that were called or expected, services first.
func (r *Report) Methods() []*Method {
	return slices.SortedFunc(maps.Values(r.methods), func(a, b *Method) int {
		switch {
		case a.Edge && !b.Edge:
			return 1
		case b.Edge && !a.Edge:
			return -1
		}
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Name, b.Name))
	})
}

// Findings returns what is wrong with calls of the method, the most frequent
// first.
func (m *Method) Findings() []*Finding {
	return slices.SortedFunc(maps.Values(m.findings), func(a, b *Finding) int {
		return cmp.Or(-cmp.Compare(a.Decision, b.Decision), -cmp.Compare(a.Calls, b.Calls), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Needs, b.Needs))
	})
}

// Expect adds methods that nobody may have called yet.
func (r *Report) Expect(methods []string) {
	seen := make(map[string]bool)
	for key := range r.methods {
		seen[key.method] = seen[key.method] || !key.edge
	}
	for _, name := range methods {
		if !seen[name] {
			r.methods[methodKey{method: name}] = &Method{Name: name}
		}
	}
}
