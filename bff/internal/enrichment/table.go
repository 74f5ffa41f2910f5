package enrichment

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/onbehalf-dev/onbehalf/bff/enrich"
)

// CheckRow returns what is wrong with a row, one problem for each field.
func CheckRow(r *enrich.Row) []*FieldError {
	var found []*FieldError
	if r.Subject == "" && r.Role == "" && r.Tenant == "" && r.Issuer == "" {
		found = append(found, problem("", "fits everybody; name a subject, a role, a tenant or an issuer"))
	}
	if r.Subject != "" && !slices.ContainsFunc([]string{"hm-", "am-", "svc-"}, func(p string) bool {
		return strings.HasPrefix(r.Subject, p) && len(r.Subject) > len(p)
	}) {
		found = append(found, problem("subject", "is not a subject; write it as records show it, with hm-, am- or svc- and its id"))
	}
	out := OutputOf(r)
	if r.Workspace == "" && len(r.Roles) == 0 && len(r.Attributes) == 0 {
		found = append(found, problem("", "adds nothing; write workspace, roles or attributes, or remove it"))
	}
	if p, ok := errors.AsType[*FieldError](Check(&out)); ok {
		found = append(found, p)
	}
	return found
}

// Table is an [enrich.Enricher] of rows that were checked. It is safe for
// concurrent use.
type Table struct {
	rows []enrich.Row
}

// NewTable returns a table. rows must not be modified.
func NewTable(rows []enrich.Row) *Table { return &Table{rows: rows} }

// Enrich implements [enrich.Enricher]. It never fails.
func (t *Table) Enrich(_ context.Context, in *enrich.Input) (*enrich.Output, error) {
	out := &enrich.Output{Attributes: make(map[string]string)}
	for i := range t.rows {
		r := &t.rows[i]
		if !fits(r, in) {
			continue
		}
		if out.Workspace == "" {
			out.Workspace = r.Workspace
		}
		out.Roles = append(out.Roles, r.Roles...)
		for name, value := range r.Attributes {
			if _, ok := out.Attributes[name]; !ok {
				out.Attributes[name] = value
			}
		}
	}
	slices.Sort(out.Roles)
	out.Roles = slices.Compact(out.Roles)
	return out, nil
}

func fits(r *enrich.Row, in *enrich.Input) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return is(r.Issuer, in.Issuer) && is(r.Tenant, in.Tenant) && is(r.Subject, in.Subject) &&
		(r.Role == "" || slices.Contains(in.Roles, r.Role))
}

// OutputOf returns what a row adds.
func OutputOf(r *enrich.Row) enrich.Output {
	return enrich.Output{Workspace: r.Workspace, Roles: r.Roles, Attributes: r.Attributes}
}
