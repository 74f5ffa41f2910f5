package bufplugin

import (
	"context"

	"buf.build/go/bufplugin/check"
	"buf.build/go/bufplugin/info"
)

// category is what a buf.yaml names under lint.use and breaking.use to get all
// rules that are for there.
const category = "ONBEHALF"

// NewSpec returns the rules of the plugin. Their IDs stay, as they stand in the
// buf.yaml and in the comments of users.
func NewSpec() *check.Spec {
	return &check.Spec{
		Rules: []*check.RuleSpec{
			lint("ONBEHALF_RULE_REQUIRED", "Checks that every RPC has an access rule, as it is refused without one.", required),
			lint("ONBEHALF_RULE_VALID", "Checks that a service would start with the access rules.", valid),
			lint("ONBEHALF_SCOPE_KNOWN", "Checks that scopes are scope tokens, and listed in the option scopes if that is set.", scopeKnown),
			lint("ONBEHALF_SENSITIVE_AGENTS", "Checks that agents are not let into methods that the option sensitive_methods matches.", sensitiveAgents),
			{
				ID: "ONBEHALF_RULE_NOT_LOOSENED", CategoryIDs: []string{category}, Default: true, Type: check.RuleTypeBreaking,
				Purpose: "Checks that no access rule allows more than before.",
				Handler: check.RuleHandlerFunc(notLoosened),
			},
		},
		Categories: []*check.CategorySpec{{ID: category, Purpose: "Checks the access rules of Onbehalf."}},
		Info: &info.Spec{
			Documentation: "Checks the access rules of Onbehalf: who may call which RPC.",
			SPDXLicenseID: "Apache-2.0",
			LicenseURL:    "https://github.com/onbehalf-dev/onbehalf/blob/main/LICENSE",
		},
		Before: func(ctx context.Context, request check.Request) (context.Context, check.Request, error) {
			_, err := settingsOf(request) // once for all rules, or each would say the same
			return ctx, request, err
		},
	}
}

func lint(id, purpose string, handler check.RuleHandlerFunc) *check.RuleSpec {
	return &check.RuleSpec{
		ID: id, CategoryIDs: []string{category}, Default: true, Type: check.RuleTypeLint, Purpose: purpose, Handler: handler,
	}
}
