package bufplugin

import (
	"fmt"
	"path"
	"strings"

	"buf.build/go/bufplugin/check"
	"buf.build/go/bufplugin/option"
)

const (
	scopesKey    = "scopes"
	sensitiveKey = "sensitive_methods"
)

// settings are the plugin's options in a buf.yaml.
type settings struct {
	scopes    []string // nil: any
	sensitive []string // patterns of path.Match for package.Service/Method
}

// settingsOf refuses what it does not know: a misspelled option would silently
// switch a rule off.
func settingsOf(request check.Request) (settings, error) {
	var s settings
	var unknown error
	options := request.Options()
	options.Range(func(key string, _ any) {
		if key != scopesKey && key != sensitiveKey {
			unknown = fmt.Errorf("options of buf-plugin-onbehalf in buf.yaml: unknown option %q: use %s or %s", key, scopesKey, sensitiveKey)
		}
	})
	if unknown != nil {
		return s, unknown
	}
	var err error
	if s.scopes, err = option.GetStringSliceValue(options, scopesKey); err != nil {
		return s, fmt.Errorf("options of buf-plugin-onbehalf in buf.yaml: %s must be a list of strings: %w", scopesKey, err)
	}
	if s.sensitive, err = option.GetStringSliceValue(options, sensitiveKey); err != nil {
		return s, fmt.Errorf("options of buf-plugin-onbehalf in buf.yaml: %s must be a list of strings: %w", sensitiveKey, err)
	}
	for _, pattern := range s.sensitive {
		if _, err := path.Match(pattern, ""); err != nil || strings.Count(pattern, "/") != 1 || strings.HasPrefix(pattern, "/") {
			return s, fmt.Errorf("options of buf-plugin-onbehalf in buf.yaml: %s: %q is not of the form package.Service/Method, where * stands for any characters but /",
				sensitiveKey, pattern)
		}
	}
	return s, nil
}

// isSensitive reports whether a pattern matches the method package.Service/Method.
func (s settings) isSensitive(method string) bool {
	for _, pattern := range s.sensitive {
		if matched, err := path.Match(pattern, method); err == nil && matched { // settingsOf refused wrong patterns
			return true
		}
	}
	return false
}
