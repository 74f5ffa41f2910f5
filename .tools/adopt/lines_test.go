package adopt_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What it costs to adopt is a promise: so many lines of Go are new or changed,
// imports among them; tests and what is generated are not counted.
const mostLines = 12

func TestLinesThatChange(t *testing.T) {
	t.Parallel()
	before, after := sources(t, "before"), sources(t, "after")
	for name := range before {
		if _, ok := after[name]; !ok {
			t.Errorf("%s is gone", name)
		}
	}
	var changed []string
	for name, lines := range after {
		changed = append(changed, added(before[name], lines)...)
	}
	if len(changed) > mostLines {
		t.Errorf("%d lines, want %d at most", len(changed), mostLines)
	}
	t.Logf("%d lines:\n%s", len(changed), strings.Join(changed, "\n"))
}

// sources are the lines of each file that somebody writes, without empty ones.
func sources(t *testing.T, name string) map[string][]string {
	t.Helper()
	root, files := filepath.Join("../../examples/adopt", name), make(map[string][]string)
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && entry.Name() == "gen" {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" {
				files[strings.TrimPrefix(path, root)] = append(files[strings.TrimPrefix(path, root)], line)
			}
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	return files
}

// added are the lines of after that are not in a longest common subsequence
// with before.
func added(before, after []string) []string {
	// longest[i][j] is how many lines before[i:] and after[j:] have in common.
	longest := make([][]int, len(before)+1)
	for i := range longest {
		longest[i] = make([]int, len(after)+1)
	}
	for i := len(before) - 1; i >= 0; i-- {
		for j := len(after) - 1; j >= 0; j-- {
			if longest[i][j] = max(longest[i+1][j], longest[i][j+1]); before[i] == after[j] {
				longest[i][j] = longest[i+1][j+1] + 1
			}
		}
	}
	var lines []string
	i := 0
	for j, line := range after {
		for i < len(before) && longest[i][j] == longest[i+1][j] {
			i++
		}
		if i < len(before) && before[i] == line {
			i++
			continue
		}
		lines = append(lines, line)
	}
	return lines
}
