package bff

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"

	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
	"github.com/onbehalf-dev/onbehalf/bff/enrich"
)

// What a principal takes, in characters of its header, where the configuration
// does not say it. They were measured.
const (
	plainPrincipal = 360 // without scopes, roles and attributes
	eachLink       = 155
	eachText       = 3  // beside its own bytes
	claimValue     = 24 // of a claim that is carried as an attribute
	largePrincipal = 1024
)

// part is what some key of the configuration adds to principals at most, in
// bytes.
type part struct {
	key   string
	bytes int
}

// sizes estimates how long principals can be that the edge sends, and names what
// makes most of one that is long.
func (w *warner) sizes(c *Config) {
	links, route := 0, -1
	for i := range c.Routes {
		r := &c.Routes[i]
		if r.Auth == AuthNone {
			continue
		}
		if spec := r.spec(c.TrustDomain); route < 0 || int(spec.MaxLinks) > links {
			route, links = i, int(spec.MaxLinks)
		}
	}
	if route < 0 {
		return
	}
	added := c.Enrich.part()
	if len(c.Issuers) == 0 {
		w.size(route, links, []part{added})
	}
	for i := range c.Issuers {
		w.size(route, links, append(issuerParts(fmt.Sprintf("issuers[%d]", i), &c.Issuers[i]), added))
	}
}

func (w *warner) size(route, links int, parts []part) {
	total := plainPrincipal
	for _, p := range parts {
		total += encoded(p.bytes)
	}
	if total <= largePrincipal {
		return
	}
	largest := slices.MaxFunc(parts, func(a, b part) int { return cmp.Compare(a.bytes, b.bytes) })
	what := fmt.Sprintf("a principal can be about %d characters long, and is sent with every call; up to %d of them are from here", total, encoded(largest.bytes))
	if links > 0 {
		what += fmt.Sprintf(", and routes[%d] lets %d links of %d come after it", route, links, eachLink)
	}
	w.warn(largest.key, what, "carry fewer and shorter names, and have services look up what only they need")
}

// encoded is what n bytes take in base64.
func encoded(n int) int { return (n + 2) / 3 * 4 }

// issuerParts are what the credentials of an issuer can bring. Names that no map
// bounds are not known, and count nothing.
func issuerParts(at string, i *oidc.Issuer) []part {
	attributes := 0
	for _, a := range i.Attributes {
		attributes += len(a.Name) + claimValue + 2*eachText
	}
	return []part{
		{at + ".scopes.map", mapped(&i.Scopes)}, {at + ".roles.map", mapped(&i.Roles)}, {at + ".attributes", attributes},
	}
}

func mapped(m *oidc.Mapping) (n int) {
	seen := make(map[string]bool)
	for from, to := range m.Map {
		if name := cmp.Or(to, from); !seen[name] {
			seen[name] = true
			n += len(name) + eachText
		}
	}
	return n
}

// part is the row that adds most.
func (e *Enrich) part() part {
	most := part{key: "enrich"}
	if !e.tabled() {
		return most
	}
	rows, err := e.rows(slog.New(slog.DiscardHandler))
	if err != nil {
		return most // it is an error of Check
	}
	for i := range rows {
		row := &rows[i]
		field, n := largestField(row)
		key := fmt.Sprintf("enrich.rows[%d].%s", i, field)
		if e.Table != "" {
			key = fmt.Sprintf("enrich.table: rows[%d].%s", i, field)
		}
		if n > most.bytes {
			most = part{key, n}
		}
	}
	return most
}

// largestField returns what of a row takes most, and what all of it takes.
func largestField(row *enrich.Row) (field string, total int) {
	roles, attributes, workspace := 0, 0, 0
	for _, role := range row.Roles {
		roles += len(role) + eachText
	}
	for name, value := range row.Attributes {
		attributes += len(name) + len(value) + 2*eachText
	}
	if row.Workspace != "" {
		workspace = len(enrich.WorkspaceAttribute) + len(row.Workspace) + 2*eachText
	}
	field = "attributes"
	if roles > attributes {
		field = "roles"
	}
	return field, roles + attributes + workspace
}
