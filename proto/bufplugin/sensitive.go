package bufplugin

import (
	"context"
	"slices"

	"buf.build/go/bufplugin/check"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
)

// sensitiveAgents reports sensitive methods that an agent may call, as one of its
// kind or as somebody unknown.
func sensitiveAgents(_ context.Context, w check.ResponseWriter, request check.Request) error {
	s, err := settingsOf(request)
	if err != nil {
		return err
	}
	for method := range methods(request.FileDescriptors()) {
		if !s.isSensitive(nameOf(method)) {
			continue
		}
		found, err := effective(method)
		if err != nil {
			return err
		}
		var what string
		switch {
		case found == nil:
			continue
		case found.rule.GetAnonymous():
			what = "is open to anyone, agents too: demand a principal instead of anonymous"
		case slices.Contains(found.rule.GetKinds(), principalv1.Kind_KIND_AGENT):
			what = "lets agents in: remove KIND_AGENT from kinds"
		default:
			continue
		}
		w.AddAnnotation(found.location(), check.WithMessagef("%s is sensitive, but option %s %s, or take the method out of the plugin's option %s in buf.yaml.",
			nameOf(method), found.optionName(), what, sensitiveKey))
	}
	return nil
}
