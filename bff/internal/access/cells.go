package access

import (
	"fmt"
	"strings"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
)

const refused = "REFUSED: no rule"

// columns are the heads of the cells; those that are empty in every row are left
// out.
var columns = [...]string{"METHOD", "", "WHO", "SCOPES", "ROLES", "CALLERS", "STREAM", "FURTHER"}

// grid returns the heads and, for each method, its cells.
func (t *Table) grid() (head []string, rows [][]string) {
	used := make([]bool, len(columns))
	all := make([][len(columns)]string, len(t.methods))
	for i, m := range t.methods {
		all[i] = m.cells(t.caller)
		for j, cell := range all[i] {
			used[j] = used[j] || cell != ""
		}
	}
	keep := func(cells [len(columns)]string, empty string) []string {
		var kept []string
		for j, cell := range cells {
			if !used[j] {
				continue
			}
			if cell == "" {
				cell = empty
			}
			kept = append(kept, cell)
		}
		return kept
	}
	titles := columns
	if t.caller != nil {
		titles[1] = "AS " + strings.ToUpper(t.caller.name())
	}
	for _, cells := range all {
		rows = append(rows, keep(cells, "-"))
	}
	return keep(titles, ""), rows
}

func (c *Caller) name() string {
	if c.Kind == 0 {
		return "anonymous"
	}
	return c.Kind.String()
}

func (m *method) cells(asked *Caller) [len(columns)]string {
	answer := ""
	if asked != nil {
		answer = "allowed"
		if m.reason != 0 {
			answer = "refused: " + m.reason.String()
		}
	}
	if m.rule == nil {
		return [...]string{m.name(), answer, refused, "", "", "", m.stream(), ""}
	}
	return [...]string{
		m.name(), answer, strings.Join(m.who, ", "), scopes(m.rule), strings.Join(m.rule.GetAnyRoles(), " or "),
		strings.Join(m.rule.GetCallers(), " or "), m.stream(), m.further(),
	}
}

func scopes(rule *principalv1.AccessRule) string {
	all, one := strings.Join(rule.GetAllScopes(), " and "), strings.Join(rule.GetAnyScopes(), " or ")
	switch {
	case all == "":
		return one
	case one == "":
		return all
	case len(rule.GetAnyScopes()) > 1:
		one = "(" + one + ")"
	}
	return all + " and " + one
}

// stream says which sides stream, and for how long where it is not for as long
// as the principal lasts.
func (m *method) stream() string {
	parts := make([]string, 0, 2)
	switch {
	case m.descriptor.IsStreamingClient() && m.descriptor.IsStreamingServer():
		parts = append(parts, "bidi")
	case m.descriptor.IsStreamingClient():
		parts = append(parts, "client")
	case m.descriptor.IsStreamingServer():
		parts = append(parts, "server")
	}
	if m.rule.GetStream() == principalv1.StreamLife_STREAM_LIFE_SESSION {
		parts = append(parts, "session")
	}
	return strings.Join(parts, ", ")
}

func (m *method) further() string {
	var parts []string
	add := func(holds bool, format string, args ...any) {
		if holds {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	r := m.rule
	add(r.MaxDelegations != nil, "max delegations %d", r.GetMaxDelegations())
	add(len(r.GetAcr()) > 0, "acr %s", strings.Join(r.GetAcr(), " or "))
	add(r.GetMaxRevocationAge() != nil, "max revocation age %s", r.GetMaxRevocationAge().AsDuration())
	add(r.GetOnlineCheck(), "online check")
	add(r.GetSingleUse(), "single use")
	add(m.inherited, "default")
	return strings.Join(parts, "; ")
}
