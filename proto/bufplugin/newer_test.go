package bufplugin_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"buf.build/go/bufplugin/check/checktest"
	"github.com/google/go-cmp/cmp"
)

// The copy of access.proto under check may be newer than the plugin, and a field
// that the plugin does not know may be a demand: it must not pass for none.
func TestFieldsOfALaterVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(file, content string) {
		t.Helper()
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	current, err := os.ReadFile("../onbehalf/principal/v1/access.proto")
	if err != nil {
		t.Fatal(err)
	}
	later := strings.Replace(string(current), "message AccessRule {", "message AccessRule {\n  bool later = 1000;", 1)
	write("onbehalf/principal/v1/access.proto", later)
	rule := func(demands string) string {
		return `syntax = "proto3";
package later.v1;
import "onbehalf/principal/v1/access.proto";
message Nothing {}
service Later {
  rpc Get(Nothing) returns (Nothing) {
    option (onbehalf.principal.v1.access) = {` + demands + `};
  }
}
`
	}
	write("before/later.proto", rule("later: true"))
	write("now/later.proto", rule(`all_scopes: "a"`))
	in := func(state string) *checktest.ProtoFileSpec {
		return &checktest.ProtoFileSpec{DirPaths: []string{filepath.Join(dir, state), dir}, FilePaths: []string{"later.proto"}}
	}

	got, err := ask(t, checktest.RequestSpec{Files: in("before"), RuleIDs: []string{"ONBEHALF_RULE_VALID"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"7 RULE_VALID later.v1.Later/Get: a service would not start with its access rule: " +
		"correct option (onbehalf.principal.v1.access): has fields that this version does not know: upgrade the library."}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lint (-want +got):\n%s", diff)
	}
	got, err = ask(t, checktest.RequestSpec{Files: in("now"), AgainstFiles: in("before"), RuleIDs: []string{"ONBEHALF_RULE_NOT_LOOSENED"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || !strings.Contains(got[0], "differs in fields that this version of the plugin does not know, so upgrade it first") {
		t.Errorf("breaking: %q", got)
	}
}
