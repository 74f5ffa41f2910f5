package bufplugin

import (
	"context"
	"slices"

	"buf.build/go/bufplugin/check"
)

// scopeKnown reports scopes that nobody can have: misspelled ones, and those that
// no authorization server may issue.
func scopeKnown(_ context.Context, w check.ResponseWriter, request check.Request) error {
	s, err := settingsOf(request)
	if err != nil {
		return err
	}
	return eachRule(request.FileDescriptors(), func(a *access) error {
		scopes := slices.Concat(a.rule.GetAllScopes(), a.rule.GetAnyScopes())
		slices.Sort(scopes)
		for _, scope := range slices.Compact(scopes) {
			switch {
			case scope == "": // the library refuses it, which is for ONBEHALF_RULE_VALID to say
			case !isScopeToken(scope):
				w.AddAnnotation(a.location(), check.WithMessagef("%s: scope %q can never be held: "+
					"write it in printable ASCII without spaces, double quotes and backslashes (RFC 6749, section 3.3).", nameOf(a.owner), scope))
			case s.scopes != nil && !slices.Contains(s.scopes, scope):
				w.AddAnnotation(a.location(), check.WithMessagef("%s: scope %q is not known: "+
					"correct it, or add it to the plugin's option %s in buf.yaml.", nameOf(a.owner), scope, scopesKey))
			}
		}
		return nil
	})
}

// isScopeToken reports whether s consists of what RFC 6749, section 3.3, allows.
func isScopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}
