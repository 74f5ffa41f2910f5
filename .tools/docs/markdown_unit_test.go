package docs_test

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMatches(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		want, got string
		is        bool
	}{
		"same":             {"one\ntwo\n", "one\ntwo\n", true},
		"other":            {"one\n", "two\n", false},
		"more than shown":  {"one\n", "one\ntwo\n", false},
		"within a line":    {"hm-... at 12 ms\n", "hm-5a1c at 12 ms\n", true},
		"any lines":        {"...\nlast\n", "a\nb\nlast\n", true},
		"no lines":         {"...\nlast\n", "last\n", true},
		"not across lines": {"a...b\n", "a\nb\n", false},
		"columns":          {"SERVICE INSTANCE\n", "SERVICE    INSTANCE\n", true},
		"a dot is a dot":   {"a.b\n", "axb\n", false},
	} {
		if got := matches(test.want, test.got); got != test.is {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestIsShell(t *testing.T) {
	t.Parallel()
	for text, is := range map[string]bool{
		"```\n./onbehalf serve\n```\n":        true,
		"```\ngo build ./...\n```\n":          true,
		"```sh\nanything\n```\n":              true,
		"```\nbefore  client --> edge\n```\n": false,
		"```yaml\nmake: it\n```\n":            false,
	} {
		blocks, err := parse(text)
		if err != nil || len(blocks) != 1 || blocks[0].isShell() != is {
			t.Errorf("%q: %v, want %v", text, blocks, is)
		}
	}
}

func TestQuotes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(path, []byte("one\n\ttwo  // why\nthree\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, fails := range map[string]bool{"one\nthree\n": false, "two // why\n": false, "three\none\n": true, "four\n": true} {
		if err := quotes(path, text); (err != nil) != fails {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	got := merge("# c\nversion: 1\nroutes:\n  - a\naudit: {}\n", "routes:\n  - b\nlimits: {}\n")
	if want := "# c\nversion: 1\nroutes:\n  - b\naudit: {}\nlimits: {}\n"; got != want {
		t.Errorf("%q", got)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	blocks, err := parse("<!-- not run: slow -->\n```\n$ make\n```\n<!-- run: true -->\n1. x\n   ```console await\n   $ a \\\n   b\n   c\n   ```\n")
	if err != nil || len(blocks) != 3 {
		t.Fatalf("%d blocks, %v", len(blocks), err)
	}
	if b := blocks[0]; b.notRun != "slow" || !b.isShell() {
		t.Errorf("%+v", b)
	}
	steps, err := blocks[2].steps()
	if err != nil || len(steps) != 1 || steps[0] != (step{"a \\\nb\n", "c\n"}) || !blocks[2].has("await") {
		t.Errorf("%q, %v", steps, err)
	}
	for _, text := range []string{"```\nx\n", "<!-- not run: why -->\ntext\n"} {
		if _, err := parse(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
