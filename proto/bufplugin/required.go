package bufplugin

import (
	"context"

	"buf.build/go/bufplugin/check"
)

// required reports methods without a rule. They are refused at run time, which is
// safe but hardly what was meant.
func required(_ context.Context, w check.ResponseWriter, request check.Request) error {
	for method := range methods(request.FileDescriptors()) {
		found, err := effective(method)
		if err != nil {
			return err
		}
		if found == nil {
			w.AddAnnotation(check.WithDescriptor(method), check.WithMessagef(
				"%s has no access rule, so every call of it is refused: give it option (onbehalf.principal.v1.access), "+
					"or its service option (onbehalf.principal.v1.default_access).", nameOf(method)))
		}
	}
	return nil
}
