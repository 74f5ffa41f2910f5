package docs_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// block is a fenced block of a page, or a comment that is run.
type block struct {
	line   int
	info   []string // the language first; nothing for a block without
	text   string
	notRun string // why
}

// option is what follows "name=" in the info string.
func (b *block) option(name string) string {
	for _, word := range b.info {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			return value
		}
	}
	return ""
}

func (b *block) has(word string) bool { return slices.Contains(b.info, word) }

var (
	shell = regexp.MustCompile(`^(console|sh|bash|shell|shell-session)$`)
	// looksLikeShell finds commands in blocks that do not say what they are.
	looksLikeShell = regexp.MustCompile(`(?m)^(\$ |\./onbehalf |onbehalf |go |buf |curl |make |export |[A-Z_]+=\S+ )`)
)

// isShell says if a reader takes the block for commands.
func (b *block) isShell() bool {
	if len(b.info) == 0 {
		return looksLikeShell.MatchString(b.text)
	}
	return shell.MatchString(b.info[0])
}

const (
	runComment    = "<!-- run:"
	notRunComment = "<!-- not run:"
)

// read splits a page into its blocks.
func read(t *testing.T, path string) []*block {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := parse(string(text))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return blocks
}

func parse(text string) (blocks []*block, err error) {
	var open *block
	end, indent, notRun := "", "", ""
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimLeft(line, " ")
		switch {
		case open != nil && strings.TrimSpace(line) == end:
			blocks, open = append(blocks, open), nil
		case open != nil:
			open.text += strings.TrimPrefix(line, indent) + "\n"
		case strings.HasPrefix(trimmed, "```"):
			open = &block{line: i + 1, info: strings.Fields(strings.TrimLeft(trimmed, "`")), notRun: notRun}
			end, indent, notRun = "```", line[:len(line)-len(trimmed)], ""
		case strings.HasPrefix(trimmed, runComment):
			if !strings.HasSuffix(line, "-->") {
				open, end = &block{line: i + 1, info: []string{"console"}}, "-->"
				continue
			}
			command := strings.TrimSuffix(strings.TrimPrefix(trimmed, runComment), "-->")
			blocks = append(blocks, &block{line: i + 1, info: []string{"console"}, text: "$ " + strings.TrimSpace(command) + "\n"})
		case strings.HasPrefix(trimmed, notRunComment):
			notRun = strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(trimmed, notRunComment), "-->"))
		case trimmed != "" && notRun != "":
			return nil, fmt.Errorf("line %d: a comment that something is not run, and no block after it", i+1)
		}
	}
	if open != nil {
		return nil, fmt.Errorf("line %d: the block does not end", open.line)
	}
	return blocks, nil
}

// step is a command and what it is to print.
type step struct{ command, want string }

// steps are those of a console block. A command goes on in the next line after a
// backslash.
func (b *block) steps() (steps []step, err error) {
	goesOn := false
	for line := range strings.Lines(b.text) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case goesOn:
			steps[len(steps)-1].command += line
		case isCommand:
			steps = append(steps, step{command: command})
		case len(steps) == 0:
			return nil, fmt.Errorf("line %d: a console block begins with a line \"$ command\"", b.line)
		default:
			steps[len(steps)-1].want += line
			continue
		}
		goesOn = strings.HasSuffix(line, "\\\n")
	}
	return steps, nil
}

// matches says if got is what a page shows: "..." stands for anything within a
// line, and alone on a line for any lines.
func matches(want, got string) bool {
	pattern := regexp.QuoteMeta(strings.TrimSpace(want) + "\n")
	pattern = regexp.MustCompile(`(?m)^\\\.\\\.\\\.\n`).ReplaceAllString(pattern, `(?:.*\n)*`)
	pattern = strings.ReplaceAll(pattern, `\.\.\.`, `.*`)
	pattern = regexp.MustCompile(` +`).ReplaceAllString(pattern, ` +`) // columns are as wide as what is in them
	return regexp.MustCompile(`^` + pattern + `$`).MatchString(strings.TrimSpace(got) + "\n")
}

// merge replaces the top-level keys of a YAML file by those of a fragment.
func merge(file, fragment string) string {
	keys, changed := sections(file), sections(fragment)
	for _, with := range changed {
		found := false
		for i := range keys {
			if with.key != "" && keys[i].key == with.key {
				keys[i], found = with, true
			}
		}
		if !found {
			keys = append(keys, with)
		}
	}
	var text strings.Builder
	for _, s := range keys {
		text.WriteString(s.text)
	}
	return text.String()
}

type section struct{ key, text string }

var topLevel = regexp.MustCompile(`^([a-z_]+):`)

func sections(text string) []section {
	all := []section{{}}
	for line := range strings.Lines(text) {
		if found := topLevel.FindStringSubmatch(line); found != nil {
			all = append(all, section{key: found[1]})
		}
		all[len(all)-1].text += line
	}
	return all
}
