package enrichment

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"

	"github.com/onbehalf-dev/onbehalf/bff/enrich"
	"github.com/onbehalf-dev/onbehalf/bff/internal/wiretext"
)

// The wire format's limits for a principal, whatever its facts come from.
const (
	wireAttributes     = 16
	wireAttributeBytes = 1 << 10
)

// FieldError is a field that cannot be added. Its text never repeats what is in the
// field.
type FieldError struct {
	// Field is its path, such as roles[2].
	Field string
	// Text says what is wrong, with the size and the limit.
	Text string
}

func (p *FieldError) Error() string { return p.Field + ": " + p.Text }

func problem(field, format string, args ...any) *FieldError {
	return &FieldError{Field: field, Text: fmt.Sprintf(format, args...)}
}

// Check returns the first [*FieldError] of out, or nil.
func Check(out *enrich.Output) error {
	if n := len(out.Roles); n > enrich.MaxRoles {
		return problem("roles", "%d of them, at most %d", n, enrich.MaxRoles)
	}
	if n := len(out.Attributes); n > enrich.MaxAttributes {
		return problem("attributes", "%d of them, at most %d", n, enrich.MaxAttributes)
	}
	if out.Workspace != "" {
		if err := checkText("workspace", out.Workspace); err != nil {
			return err
		}
	}
	for i, role := range out.Roles {
		if err := checkText(fmt.Sprintf("roles[%d]", i), role); err != nil {
			return err
		}
	}
	for i, name := range slices.Sorted(maps.Keys(out.Attributes)) { // a name may hold anything: it is not repeated
		if err := checkText(fmt.Sprintf("attributes[%d].name", i), name); err != nil {
			return err
		}
		if name == enrich.WorkspaceAttribute {
			return problem("attributes", "the name workspace is taken; set workspace")
		}
		if err := checkText(fmt.Sprintf("attributes[%d].value", i), out.Attributes[name]); err != nil {
			return err
		}
	}
	if field, n := total(out); n > enrich.MaxTotal {
		return problem(field, "all fields are %d bytes, at most %d; this one is the longest", n, enrich.MaxTotal)
	}
	return nil
}

// checkText returns an error and not a *FieldError, whose nil would be one.
func checkText(field, s string) error {
	switch {
	case s == "":
		return problem(field, "is empty")
	case len(s) > enrich.MaxText:
		return problem(field, "%d bytes, at most %d", len(s), enrich.MaxText)
	case !utf8.ValidString(s):
		return problem(field, "is not valid UTF-8")
	case strings.ContainsFunc(s, wiretext.IsHidden):
		return problem(field, "has a control character")
	default:
		return nil
	}
}

// total returns the bytes of all texts, and the field with the most of them.
func total(out *enrich.Output) (largest string, bytes int) {
	sizes := []struct {
		field string
		bytes int
	}{{"workspace", len(out.Workspace)}, {"roles", 0}, {"attributes", 0}}
	for _, role := range out.Roles {
		sizes[1].bytes += len(role)
	}
	for name, value := range out.Attributes {
		sizes[2].bytes += len(name) + len(value)
	}
	most := sizes[0]
	for _, size := range sizes {
		bytes += size.bytes
		if size.bytes > most.bytes {
			most = size
		}
	}
	return most.field, bytes
}

// Near returns the first field of out that takes more than half of its limit, or
// nil: rows of a table add up, and with what the credential brings.
func Near(out *enrich.Output) *FieldError {
	const text = "%d of at most %d; over half of what fits, and what else a subject has is added to it"
	field, bytes := total(out)
	switch roles, attributes := len(out.Roles), len(out.Attributes); {
	case roles > enrich.MaxRoles/2:
		return problem("roles", text, roles, enrich.MaxRoles)
	case attributes > enrich.MaxAttributes/2:
		return problem("attributes", text, attributes, enrich.MaxAttributes)
	case bytes > enrich.MaxTotal/2:
		return problem(field, text, bytes, enrich.MaxTotal)
	default:
		return nil
	}
}

// Facts are those fields of a principal that an enricher has a say in.
type Facts struct {
	Roles      []string
	Attributes []*principalv1.Attribute
}

// bytes is what the texts of f take.
func (f Facts) bytes() (n int) {
	for _, role := range f.Roles {
		n += len(role)
	}
	for _, a := range f.Attributes {
		n += len(a.GetName()) + len(a.GetValue())
	}
	return n
}

// join adds out, which was checked, to what p has. Roles are rights, and whoever
// acts for a subject has those that its own credential leaves it: it gets none.
func join(p *principalv1.Principal, out *enrich.Output) (Facts, error) {
	f := Facts{Roles: p.GetRoles(), Attributes: slices.Clone(p.GetAttributes())}
	if len(p.GetDelegations()) == 0 && len(out.Roles) > 0 {
		f.Roles = slices.Concat(f.Roles, out.Roles)
		slices.Sort(f.Roles)
		f.Roles = slices.Compact(f.Roles)
	}
	if n := len(f.Roles); n > enrich.MaxRoles {
		return Facts{}, problem("roles", "%d of them with those of the credential, at most %d", n, enrich.MaxRoles)
	}
	add := func(name, value string) {
		if !slices.ContainsFunc(f.Attributes, func(a *principalv1.Attribute) bool { return a.GetName() == name }) {
			f.Attributes = append(f.Attributes, &principalv1.Attribute{Name: name, Value: value})
		}
	}
	if out.Workspace != "" {
		add(enrich.WorkspaceAttribute, out.Workspace)
	}
	for name, value := range out.Attributes {
		add(name, value)
	}
	slices.SortFunc(f.Attributes, func(a, b *principalv1.Attribute) int { return cmp.Compare(a.GetName(), b.GetName()) })
	bytes := 0
	for _, a := range f.Attributes {
		bytes += len(a.GetName()) + len(a.GetValue())
	}
	switch n := len(f.Attributes); {
	case n > wireAttributes:
		return Facts{}, problem("attributes", "%d of them with those of the credential, at most %d", n, wireAttributes)
	case bytes > wireAttributeBytes:
		return Facts{}, problem("attributes", "%d bytes with those of the credential, at most %d", bytes, wireAttributeBytes)
	default:
		return f, nil
	}
}
