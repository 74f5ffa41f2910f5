package skew_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// milestone is what stands for the last release until there is one: the tree
// before an edge took a changed configuration while it runs.
const milestone = "f65ff1aaae8a7067b4b8bbe3f9ae7fbca9d4f5c6"

// version is one of the two, with its programs.
type version struct{ name, edge, service string }

// both are built once, the older one from the history of this repository.
var both = sync.OnceValues(func() (map[string]version, error) {
	here, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	commit, err := last(here)
	if err != nil {
		return nil, err
	}
	old, err := extract(here, commit)
	if err != nil {
		return nil, err
	}
	versions := make(map[string]version)
	for name, tree := range map[string]string{"old": old, "new": here} {
		v := version{name: name, edge: filepath.Join(programs, name, "onbehalf"), service: filepath.Join(programs, name, "service")}
		if err := build(tree, v); err != nil {
			return nil, err
		}
		versions[name] = v
	}
	return versions, nil
})

// programs is the directory of what is built.
var programs string

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "skew"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(programs)
	os.Exit(code)
}

// versions skips the test where the history does not reach back far enough.
func versions(t *testing.T) (old, now version) {
	t.Helper()
	v, err := both()
	if err != nil {
		if out, e := output("../..", "git", "rev-parse", "--is-shallow-repository"); e != nil || out == "true" {
			t.Skipf("skipped: there is no version to compare with in a clone without its history: %v", err)
		}
		t.Fatal(err)
	}
	return v["old"], v["new"]
}

// last returns the commit of the last release before this commit, or the
// milestone.
func last(tree string) (string, error) {
	tag, err := output(tree, "git", "describe", "--tags", "--abbrev=0", "--match=v*", "HEAD^")
	if err != nil {
		tag = milestone // there is no tag
	}
	return output(tree, "git", "rev-parse", "--verify", tag+"^{commit}")
}

// extract returns a directory with the tree of a commit. It is always the same
// one, so that what was built of it is found in Go's build cache again.
func extract(tree, commit string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "onbehalf-skew", commit)
	if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return "", err
	}
	part, err := os.MkdirTemp(filepath.Dir(dir), "part")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(part)
	archive := filepath.Join(programs, commit+".tar")
	if _, err := output(tree, "git", "archive", "--output="+archive, commit); err != nil {
		return "", err
	}
	if _, err := output(part, "tar", "-xf", archive); err != nil {
		return "", err
	}
	if err := os.Rename(part, dir); err != nil && !os.IsExist(err) { // another run may have been faster
		return "", err
	}
	return dir, nil
}

// build builds the programs of a tree, with the versions of other modules that it
// asks for. The service is laid over it, where its own packages are.
func build(tree string, v version) error {
	source, err := filepath.Abs("service/main.go")
	if err != nil {
		return err
	}
	overlay := filepath.Join(programs, v.name+".json")
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(tree, "skewservice/main.go"): source}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		return err
	}
	if _, err := output(tree, "go", "build", "-buildvcs=false", "-o", v.edge, "./bff/cmd/onbehalf"); err != nil {
		return err
	}
	_, err = output(tree, "go", "build", "-buildvcs=false", "-overlay", overlay, "-o", v.service, "./skewservice")
	return err
}

// output runs a command in the workspace of a directory, and returns its output
// without the line's end.
func output(dir, name string, args ...string) (string, error) {
	command := exec.Command(name, args...)
	command.Dir, command.Env = dir, append(os.Environ(), "GOWORK=", "GOFLAGS=")
	out, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
