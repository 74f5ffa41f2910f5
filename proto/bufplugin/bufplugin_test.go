package bufplugin_test

import (
	"fmt"
	"strings"
	"testing"

	"buf.build/go/bufplugin/check"
	"buf.build/go/bufplugin/check/checktest"
	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/proto/bufplugin"
)

func TestSpec(t *testing.T) {
	t.Parallel()
	checktest.SpecTest(t, bufplugin.NewSpec())
}

// ask runs the rules and returns what they found as "line RULE message".
func ask(t *testing.T, spec checktest.RequestSpec) ([]string, error) {
	t.Helper()
	request, err := spec.ToRequest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client, err := check.NewClientForSpec(bufplugin.NewSpec())
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Check(t.Context(), request)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, a := range response.Annotations() {
		where := a.FileLocation()
		found = append(found, fmt.Sprintf("%d %s %s", where.StartLine()+1, strings.TrimPrefix(a.RuleID(), "ONBEHALF_"), a.Message()))
	}
	return found, nil
}

// files are a file in a folder of testdata, which imports our access.proto.
func files(dir, file string) *checktest.ProtoFileSpec {
	return &checktest.ProtoFileSpec{DirPaths: []string{"testdata/" + dir, ".."}, FilePaths: []string{file}}
}

func TestLint(t *testing.T) {
	t.Parallel()
	const (
		write = `write it in printable ASCII without spaces, double quotes and backslashes (RFC 6749, section 3.3).`
		start = "a service would not start with its access rule: correct option (onbehalf.principal.v1."
		out   = ", or take the method out of the plugin's option sensitive_methods in buf.yaml."
	)
	always := []string{
		"16 RULE_REQUIRED lint.v1.Own/NoRule has no access rule, so every call of it is refused: " +
			"give it option (onbehalf.principal.v1.access), or its service option (onbehalf.principal.v1.default_access).",
		"18 RULE_VALID lint.v1.Own/NotAlone: " + start + "access): anonymous must stand alone: nothing else can hold for a call without a principal.",
		"21 RULE_VALID lint.v1.Own/NotAService: " + start + `access): callers: "Payments" is not a service name.`,
		"24 RULE_VALID lint.v1.Own/NoAge: " + start + "access): max_revocation_age must be longer than 0 s.",
		`32 SCOPE_KNOWN lint.v1.Own/TwoScopes: scope "notes:read notes:write" can never be held: ` + write,
		"48 RULE_VALID lint.v1.Default: " + start + "default_access): kinds has a value that this version does not know or that is unspecified.",
	}
	scopes := []string{
		`27 SCOPE_KNOWN lint.v1.Own/UnknownScopes: scope "notes:raed" is not known: correct it, or add it to the plugin's option scopes in buf.yaml.`,
		`48 SCOPE_KNOWN lint.v1.Default: scope "notes:raed" is not known: correct it, or add it to the plugin's option scopes in buf.yaml.`,
	}
	sensitive := []string{
		"35 SENSITIVE_AGENTS lint.v1.Own/DeleteAsAgent is sensitive, but option (onbehalf.principal.v1.access) lets agents in: remove KIND_AGENT from kinds" + out,
		"38 SENSITIVE_AGENTS lint.v1.Own/DeleteAsAnyone is sensitive, but option (onbehalf.principal.v1.access) is open to anyone, agents too: " +
			"demand a principal instead of anonymous" + out,
		"48 SENSITIVE_AGENTS lint.v1.Default/Delete is sensitive, but option (onbehalf.principal.v1.default_access) lets agents in: " +
			"remove KIND_AGENT from kinds" + out,
	}
	for name, tt := range map[string]struct {
		options map[string]any
		want    [][]string
	}{
		"without options":   {nil, [][]string{always}},
		"scopes":            {map[string]any{"scopes": []string{"notes:read", "notes:write"}}, [][]string{always, scopes}},
		"sensitive methods": {map[string]any{"sensitive_methods": []string{"lint.v1.*/Delete*", "lint.v1.Own/Other"}}, [][]string{always, sensitive}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ask(t, checktest.RequestSpec{Files: files("lint", "lint.proto"), Options: tt.options})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(sorted(tt.want...), sorted(got)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWrongOptions(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		options map[string]any
		want    string
	}{
		"misspelled":         {map[string]any{"scope": []string{"a"}}, `unknown option "scope": use scopes or sensitive_methods`},
		"no list":            {map[string]any{"scopes": "a"}, "scopes must be a list of strings"},
		"no list either":     {map[string]any{"sensitive_methods": true}, "sensitive_methods must be a list of strings"},
		"with a dot":         {map[string]any{"sensitive_methods": []string{"lint.v1.Own.Delete"}}, `"lint.v1.Own.Delete" is not of the form package.Service/Method`},
		"with a first slash": {map[string]any{"sensitive_methods": []string{"/lint.v1.Own"}}, `"/lint.v1.Own" is not of the form package.Service/Method`},
		"no pattern":         {map[string]any{"sensitive_methods": []string{"lint.v1.Own/["}}, `"lint.v1.Own/[" is not of the form package.Service/Method`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ask(t, checktest.RequestSpec{Files: files("lint", "lint.proto"), Options: tt.options})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}
