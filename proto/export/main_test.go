package main_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/proto"
)

const access = "onbehalf/principal/v1/access.proto"

var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "export")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "export")
		if output, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
			panic(string(output))
		}
		return m.Run()
	}())
}

// result is what a run of the tool gave, with the directory's name taken out.
type result struct {
	Code   int
	Output string
	Errors string
}

func run(t *testing.T, dir string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(t.Context(), binary, args...)
	command.Dir, command.Stdout, command.Stderr = dir, &stdout, &stderr
	var exit *exec.ExitError
	if err := command.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{command.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func want(t *testing.T, got, want result) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want(t, run(t, dir, "third_party/onbehalf"), result{0, "third_party/onbehalf/" + access + " written\n", ""})

	path := filepath.Join(dir, "third_party/onbehalf", access)
	original, err := proto.Files.ReadFile(access)
	if err != nil {
		t.Fatal(err)
	}
	if _, text, _ := strings.Cut(read(t, path), "\n\n"); text != string(original) {
		t.Error("the file differs from ours in more than its first line")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o444 != 0o444 {
		t.Errorf("%v, %v: others have to read it", info.Mode(), err)
	}

	upToDate := result{0, "third_party/onbehalf/" + access + " is up to date\n", ""}
	want(t, run(t, dir, "third_party/onbehalf"), upToDate)
	want(t, run(t, dir, "third_party/onbehalf", "--check"), upToDate)
	write(t, path, strings.ReplaceAll(read(t, path), "\n", "\r\n"))
	want(t, run(t, dir, "--check", "third_party/onbehalf"), upToDate)
}

func TestExportKeepsWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"of somebody else": "syntax = \"proto3\";\n",
		"empty":            "",
		"only our mark":    firstLine(t),
		"edited":           firstLine(t) + "\n\nsyntax = \"proto3\";\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path, other := filepath.Join(dir, "x", access), filepath.Join(dir, "x", "own.proto")
			write(t, path, text)
			write(t, other, "mine")

			state := "export: x/" + access + " was changed, or is not from here: "
			want(t, run(t, dir, "x", "-check"), result{1, "", state + "run go tool export -force x\n"})
			want(t, run(t, dir, "x"), result{1, "", state + "move what you need elsewhere, and run it with -force; nothing was written\n"})
			if got := read(t, path); got != text {
				t.Errorf("the file now has %q", got)
			}
			want(t, run(t, dir, "x", "-force"), result{0, "x/" + access + " written\n", ""})
			want(t, run(t, dir, "x", "-check"), result{0, "x/" + access + " is up to date\n", ""})
			if got := read(t, other); got != "mine" {
				t.Errorf("a file that is none of ours has %q", got)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); left != nil {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// older is what an earlier version would have written for another text.
const older = "// Written by go tool export of github.com/onbehalf-dev/onbehalf. DO NOT EDIT. " +
	"sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\n\nfoo"

func TestExportReplacesAnOlderVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "x", access), older)
	want(t, run(t, dir, "-check", "x"), result{1, "", "export: x/" + access + " is of another version: run go tool export x\n"})
	want(t, run(t, dir, "x"), result{0, "x/" + access + " written\n", ""})
}

func TestCheckOfAnEmptyDirectoryWritesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want(t, run(t, dir, "-check", "x"), result{1, "", "export: x/" + access + " is missing: run go tool export x\n"})
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("written: %v", left)
	}
}

func TestExportFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no directory":    {nil, "export: name the directory to write to\n"},
		"two directories": {[]string{"a", "b"}, "export: more than one directory is named\n"},
		"unknown flag":    {[]string{"a", "-x"}, "export: flag provided but not defined: -x\n"},
		"a file":          {[]string{"file"}, "export: open file/" + access + ": not a directory\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := run(t, dir, test.args...)
			if got.Code != 2 || got.Output != "" || !strings.HasPrefix(got.Errors, test.want) {
				t.Errorf("%+v", got)
			}
		})
	}
	if got := run(t, dir, "-help"); got.Code != 0 || !strings.HasPrefix(got.Output, "usage: ") {
		t.Errorf("help: %+v", got)
	}
}

// A file that is exported without what it imports would not compile.
func TestImportsAreExportedToo(t *testing.T) {
	t.Parallel()
	imports := regexp.MustCompile(`(?m)^import (?:public |weak )?"(.*)";`)
	err := fs.WalkDir(proto.Files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := proto.Files.ReadFile(path)
		for _, found := range imports.FindAllStringSubmatch(string(text), -1) {
			if _, err := fs.Stat(proto.Files, found[1]); err != nil && !strings.HasPrefix(found[1], "google/protobuf/") {
				t.Errorf("%s imports %s: %v", path, found[1], err)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func firstLine(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	run(t, dir, ".")
	line, _, _ := strings.Cut(read(t, filepath.Join(dir, access)), "\n")
	return line
}
