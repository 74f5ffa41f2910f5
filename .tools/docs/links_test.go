package docs_test

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`^#{1,6} +(.*?) *$`)
	code    = regexp.MustCompile("`[^`]*`")
)

// TestLinks follows the links of all Markdown files that stay in the repository,
// to files and to headings.
func TestLinks(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	files, links := 0, 0
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch name := entry.Name(); {
		case entry.IsDir() && (name == ".git" || name == "node_modules" || name == "testdata" && strings.Contains(path, "fuzz")):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(name) != ".md":
			return nil
		}
		files++
		n, problems := checkLinks(t, root, path)
		links += n
		for _, problem := range problems {
			t.Error(problem)
		}
		return nil
	})
	if err != nil || files < 10 || links < 20 {
		t.Errorf("%d links in %d files, %v", links, files, err)
	}
	t.Logf("%d links in %d files", links, files)
}

func TestBrokenLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "page.md")
	text := "# One `two`: three\n[a](page.md#one-two-three) [b](#one-two-three) [c](https://example.com/x)\n```\n[d](in-a-block.md)\n```\n" +
		"[e](gone.md) [f](#gone) [g](../outside.md)\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n, problems := checkLinks(t, dir, path)
	if n != 5 || len(problems) != 3 {
		t.Errorf("%d links, %q", n, problems)
	}
}

// checkLinks counts the links of a file that stay in the repository, and says
// which lead nowhere.
func checkLinks(t *testing.T, root, path string) (links int, problems []string) {
	t.Helper()
	name, _ := filepath.Rel(root, path)
	for i, line := range prose(t, path) {
		for _, found := range link.FindAllStringSubmatch(code.ReplaceAllString(line, ""), -1) {
			target, err := url.Parse(found[1])
			if err != nil {
				problems = append(problems, fmt.Sprintf("%s:%d: %s: %v", name, i+1, found[1], err))
				continue
			}
			if target.Scheme != "" || target.Host != "" {
				continue
			}
			links++
			file := path
			if target.Path != "" {
				file = filepath.Join(filepath.Dir(path), filepath.FromSlash(target.Path))
			}
			if _, err := os.Stat(file); err != nil || !strings.HasPrefix(file, root) {
				problems = append(problems, fmt.Sprintf("%s:%d: %s is not there", name, i+1, found[1]))
				continue
			}
			if target.Fragment != "" && filepath.Ext(file) == ".md" && !anchors(t, file)[target.Fragment] {
				problems = append(problems, fmt.Sprintf("%s:%d: %s: no such heading", name, i+1, found[1]))
			}
		}
	}
	return links, problems
}

// prose are the lines of a file, those of fenced blocks empty.
func prose(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines, fenced := strings.Split(string(text), "\n"), false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence {
			fenced = !fenced
		}
		if fence || fenced {
			lines[i] = ""
		}
	}
	return lines
}

// anchors are the names that a code host gives to headings.
func anchors(t *testing.T, path string) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	for _, line := range prose(t, path) {
		if found := heading.FindStringSubmatch(line); found != nil {
			names[anchor(found[1])] = true
		}
	}
	return names
}

func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, heading)
}
