package observed

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
)

type jsonReport struct {
	Since       *time.Time   `json:"since,omitempty"`
	Read        Read         `json:"read"`
	Calls       int64        `json:"calls"`
	WouldRefuse int64        `json:"would_refuse"`
	Refused     int64        `json:"refused"`
	Untold      int64        `json:"calls_not_told,omitempty"`
	Methods     []jsonMethod `json:"methods"`
}

type jsonMethod struct {
	Service     string        `json:"service,omitempty"`
	Method      string        `json:"method,omitempty"`
	Route       string        `json:"route,omitempty"`
	Verdict     Verdict       `json:"verdict"`
	Sentence    string        `json:"sentence"`
	Calls       int64         `json:"calls"`
	Allowed     int64         `json:"allowed"`
	WouldRefuse int64         `json:"would_refuse"`
	Refused     int64         `json:"refused"`
	Ended       int64         `json:"ended"`
	First       *time.Time    `json:"first,omitempty"`
	Last        *time.Time    `json:"last,omitempty"`
	Findings    []jsonFinding `json:"findings"`
	Untold      int64         `json:"calls_not_told,omitempty"`
}

type jsonFinding struct {
	Decision     string           `json:"decision"`
	Reason       string           `json:"reason"`
	Needs        string           `json:"needs,omitempty"`
	Calls        int64            `json:"calls"`
	First        *time.Time       `json:"first,omitempty"`
	Last         *time.Time       `json:"last,omitempty"`
	Callers      []jsonCaller     `json:"callers"`
	Others       int64            `json:"other_callers_calls,omitempty"`
	SubjectCount int              `json:"subject_count"`
	ClientCount  int              `json:"client_count"`
	AtLeast      bool             `json:"counts_are_at_least,omitempty"`
	Subjects     map[string]int64 `json:"subjects,omitempty"`
	Routes       map[string]int64 `json:"routes,omitempty"`
	Issuers      map[string]int64 `json:"credential_issuers,omitempty"`
	ToDo         string           `json:"to_do,omitempty"`
}

type jsonCaller struct {
	Name  string `json:"name"`
	Kind  string `json:"kind,omitempty"`
	Proof string `json:"proof,omitempty"`
	Calls int64  `json:"calls"`
}

// JSON writes all that is known.
func (r *Report) JSON(w io.Writer, o Options) error {
	out := jsonReport{
		Since: optional(r.Since), Read: r.Read, Calls: r.Calls, WouldRefuse: r.WouldRefuse, Refused: r.Refused,
		Untold: r.Untold, Methods: []jsonMethod{},
	}
	for _, m := range r.Methods() {
		j := jsonMethod{
			Service: m.At, Method: m.Name, Verdict: m.Verdict(), Sentence: m.Sentence(), Calls: m.Calls, Allowed: m.Allowed,
			WouldRefuse: m.WouldRefuse, Refused: m.Refused, Ended: m.Ended, First: optional(m.First), Last: optional(m.Last),
			Findings: []jsonFinding{}, Untold: m.Untold,
		}
		if m.Edge {
			j.Method, j.Route = "", m.Name
		}
		for _, f := range m.Findings() {
			j.Findings = append(j.Findings, f.json(m, o))
		}
		out.Methods = append(out.Methods, j)
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, escaped(text.String()))
	return err
}

// escaped writes what could move the cursor, and stands in strings only, as \u.
func escaped(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, "\\u%04x\\u%04x", high, low)
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}

func (f *Finding) json(m *Method, o Options) jsonFinding {
	j := jsonFinding{
		Decision: f.Decision, Reason: f.Reason, Needs: f.Needs, Calls: f.Calls, First: optional(f.First), Last: optional(f.Last),
		Callers: []jsonCaller{}, Others: f.Untold, SubjectCount: len(f.Subjects), ClientCount: len(f.Clients), AtLeast: f.Full,
		Routes: f.Routes, Issuers: f.Issuers, ToDo: f.advice(m.Edge).do,
	}
	if o.Subjects {
		j.Subjects = f.Subjects
	}
	callers := slices.SortedFunc(maps.Keys(f.Callers), func(a, b Caller) int {
		return cmp.Or(-cmp.Compare(f.Callers[a], f.Callers[b]), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Proof, b.Proof))
	})
	for _, c := range callers {
		j.Callers = append(j.Callers, jsonCaller{c.Name, c.Kind, c.Proof, f.Callers[c]})
	}
	return j
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
