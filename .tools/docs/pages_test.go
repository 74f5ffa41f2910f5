package docs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPages does what each page of the documentation says.
func TestPages(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	var pages []string
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(w.root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	if len(pages) < 6 {
		t.Fatalf("%d pages: where are the others?", len(pages))
	}
	for _, path := range pages {
		name, err := filepath.Rel(w.root, path)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			follow(t, w, read(t, path))
		})
	}
}

// follow runs a page.
func follow(t *testing.T, w *world, blocks []*block) {
	t.Helper()
	var s *session
	ran, not := 0, 0
	for _, b := range blocks {
		if b.notRun != "" {
			t.Logf("line %d is not run: %s", b.line, b.notRun)
			not++
			continue
		}
		if b.isShell() && !b.has("console") {
			t.Errorf("line %d: commands that are neither run nor marked as not run: see doc.go", b.line)
			continue
		}
		if s == nil {
			s = start(t, w)
		}
		n, err := s.follow(w, b)
		if err != nil {
			t.Fatalf("line %d: %v\n%s", b.line, err, s.logs())
		}
		ran += n
	}
	t.Logf("%d commands run, %d blocks not", ran, not)
}

// follow does what a block says, and counts the commands.
func (s *session) follow(w *world, b *block) (int, error) {
	text := s.local(b.text, w.provider)
	switch {
	case b.option("file") != "":
		return 0, s.write(b.option("file"), text)
	case b.option("merge") != "":
		old, err := os.ReadFile(filepath.Join(s.dir, b.option("merge")))
		if err != nil {
			return 0, err
		}
		return 0, s.write(b.option("merge"), merge(string(old), text))
	case b.option("source") != "":
		return 0, quotes(filepath.Join(w.root, b.option("source")), b.text)
	case !b.isShell():
		return 0, nil
	}
	steps, err := (&block{line: b.line, text: text}).steps()
	if err != nil {
		return 0, err
	}
	for _, step := range steps {
		if err := s.step(b, step); err != nil {
			return 0, err
		}
	}
	return len(steps), nil
}

func (s *session) step(b *block, step step) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), awaits)
	defer cancel()
	try := func() error {
		printed, status, err := s.run(step.command)
		switch {
		case err != nil:
			return fmt.Errorf("%s%s%w", step.command, printed, err)
		case (status != 0) != b.has("fails"):
			return fmt.Errorf("%s%sexit status %d", step.command, printed, status)
		case step.want != "" && !matches(step.want, printed):
			return fmt.Errorf("%sprinted\n%s\nand is to print\n%s", step.command, printed, step.want)
		}
		return nil
	}
	if b.has("await") {
		return await(ctx, try)
	}
	if err := try(); err != nil {
		return err
	}
	if strings.HasSuffix(strings.TrimSpace(step.command), "&") {
		return s.started(step.command)
	}
	return nil
}

// logs are the ends of the logs that the page has made.
func (s *session) logs() string {
	var all strings.Builder
	found, _ := filepath.Glob(filepath.Join(s.dir, "*.log"))
	for _, path := range found {
		text, _ := os.ReadFile(path)
		fmt.Fprintf(&all, "--- %s\n%s", filepath.Base(path), text[max(0, len(text)-1000):])
	}
	return all.String()
}

var errQuote = errors.New("a page quotes a line that is not in its source")

// quotes says if all lines of a text are in a file, in this order.
func quotes(path, text string) error {
	source, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := strings.Split(string(source), "\n")
	for quoted := range strings.Lines(text) {
		quoted = oneSpace(quoted)
		if quoted == "" || strings.HasPrefix(quoted, "// …") {
			continue
		}
		for len(lines) > 0 && oneSpace(lines[0]) != quoted {
			lines = lines[1:]
		}
		if len(lines) == 0 {
			return fmt.Errorf("%w: %s: %s", errQuote, path, quoted)
		}
		lines = lines[1:]
	}
	return nil
}

// oneSpace leaves out how a line is indented and aligned.
func oneSpace(line string) string { return strings.Join(strings.Fields(line), " ") }
