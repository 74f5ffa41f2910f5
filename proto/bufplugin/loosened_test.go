package bufplugin_test

import (
	"slices"
	"strings"
	"testing"

	"buf.build/go/bufplugin/check/checktest"
	"github.com/google/go-cmp/cmp"
)

func TestNotLoosened(t *testing.T) {
	t.Parallel()
	got := changes(t, files("now", "change.proto"), files("before", "change.proto"))
	want := []string{
		"Rules/Anonymous lets in callers without a principal (anonymous)",
		"Rules/Agents lets in KIND_AGENT",
		"Rules/KindsGone lets in KIND_SERVICE",
		`Rules/ScopeGone no longer demands scope "a"`,
		`Rules/AllToAny no longer demands scope "a", no longer demands scope "b"`,
		`Rules/AnyWider no longer demands one of any_scopes ["a" "b"]`,
		`Rules/Roles takes more for any_roles: ["b" "c"]`,
		`Rules/Callers no longer demands one of callers ["web"]`,
		`Rules/Acr takes more for acr: ["silver"]`,
		"Rules/Delegations admits more than 0 delegations (max_delegations)",
		"Rules/DelegationsGone admits more than 2 delegations (max_delegations)",
		"Rules/Age admits a revocation feed older than 5s (max_revocation_age)",
		"Rules/AgeGone admits a revocation feed older than 5s (max_revocation_age)",
		"Rules/Online no longer asks the issuer (online_check)",
		"Rules/Session lets its streams outlive the principal (STREAM_LIFE_SESSION)",
		"Rules/SingleUse admits a header more than once (single_use)",
		`Rules/Several lets in KIND_AGENT, no longer demands scope "a", admits a header more than once (single_use)`,
		`Defaults/OwnRuleGone no longer demands scope "b"`,
		`Defaults/FromDefault no longer demands scope "a"`,
	}
	if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// A change that is taken back must be as quiet as none, or the rule cries wolf.
func TestUnchangedIsQuiet(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"before", "now"} {
		if got := changes(t, files(dir, "change.proto"), files(dir, "change.proto")); len(got) > 0 {
			t.Errorf("%s against itself: %q", dir, got)
		}
	}
}

// A method may go to another file, and its old file may have been an import only.
func TestLoosenedInAnotherFile(t *testing.T) {
	t.Parallel()
	moved := changes(t, files("moved", "moved.proto"), files("before", "change.proto"))
	if diff := cmp.Diff([]string{"Rules/KindsGone lets in KIND_AGENT"}, moved); diff != "" {
		t.Errorf("moved (-want +got):\n%s", diff)
	}
	imports := &checktest.ProtoFileSpec{DirPaths: []string{"testdata/moved", "testdata/before", ".."}, FilePaths: []string{"imports.proto"}}
	if diff := cmp.Diff([]string{"Rules/KindsGone lets in KIND_AGENT"}, changes(t, files("moved", "moved.proto"), imports)); diff != "" {
		t.Errorf("imported before (-want +got):\n%s", diff)
	}
}

// changes returns what the breaking rule finds, shortened to method and change.
func changes(t *testing.T, now, before *checktest.ProtoFileSpec) []string {
	t.Helper()
	found, err := ask(t, checktest.RequestSpec{Files: now, AgainstFiles: before, RuleIDs: []string{"ONBEHALF_RULE_NOT_LOOSENED"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range found {
		_, line, _ = strings.Cut(line, "change.v1.")
		method, line, _ := strings.Cut(line, " ")
		_, line, _ = strings.Cut(line, ": it ")
		line, _, _ = strings.Cut(line, "; take that back")
		found[i] = method + " " + line
	}
	return found
}

func sorted(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return all
}
