package observed

import (
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/prototext"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
)

// maxRules is how many rules are kept that were read.
const maxRules = 10_000

// ruleCache keeps rules as they stand in lines.
type ruleCache struct {
	all map[string]*principalv1.AccessRule
}

// rule returns the rule of a line; nil if it has none that can be read.
func (c *ruleCache) rule(text string) *principalv1.AccessRule {
	if text == "" || len(text) > 8<<10 {
		return nil
	}
	if r, ok := c.all[text]; ok {
		return r
	}
	r := new(principalv1.AccessRule)
	inner := strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}")
	if err := (prototext.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(inner), r); err != nil {
		r = nil
	}
	if c.all == nil {
		c.all = make(map[string]*principalv1.AccessRule)
	}
	if len(c.all) < maxRules {
		c.all[strings.Clone(text)] = r
	}
	return r
}

// needs says what the rule of a line asks for and its principal has not.
func (c *ruleCache) needs(l *line) string {
	if l.edge() {
		return l.CredentialReason
	}
	r := c.rule(l.Rule)
	if r == nil {
		return ""
	}
	var needs string
	switch l.Reason {
	case "scope":
		needs = missingScopes(r, l.Principal.Scopes)
	case "kind":
		needs = l.Principal.Kind
	case "role":
		needs = strings.Join(r.GetAnyRoles(), " or ")
	case "caller":
		needs = strings.Join(r.GetCallers(), " or ")
	case "acr":
		needs = strings.Join(r.GetAcr(), " or ")
	case "delegations":
		needs = strconv.FormatUint(uint64(r.GetMaxDelegations()), 10)
	}
	return short(needs)
}

func missingScopes(r *principalv1.AccessRule, has []string) string {
	var missing []string
	for _, scope := range r.GetAllScopes() {
		if !slices.Contains(has, scope) {
			missing = append(missing, scope)
		}
	}
	if len(missing) > 0 {
		return strings.Join(missing, " and ")
	}
	return strings.Join(r.GetAnyScopes(), " or ")
}
