package bufplugin_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBuf runs buf itself, which starts the plugin, in the repository of a user
// who has a copy of our .proto files. buf ends with 100 if it finds something.
func TestBuf(t *testing.T) {
	t.Parallel()
	buf := newBuf(t)
	before, now := newUser(t, "before"), newUser(t, "now")
	const (
		file   = "proto/acme/notes/v1/notes.proto:"
		option = "allows more than before by option (onbehalf.principal.v1.access): it "
		fix    = "; take that back, or if it is meant, list the file under breaking.ignore_only in buf.yaml until it is released."
		plugin = " (buf-plugin-onbehalf)"
	)
	for name, tt := range map[string]struct {
		dir  string
		args []string
		want []string
	}{
		"lint of good rules":      {before, []string{"lint"}, nil},
		"breaking without change": {before, []string{"breaking", "--against", before}, nil},
		"lint": {now, []string{"lint"}, []string{
			file + "14:12:acme.notes.v1.NoteService/DeleteNote is sensitive, but option (onbehalf.principal.v1.access) lets agents in: " +
				"remove KIND_AGENT from kinds, or take the method out of the plugin's option sensitive_methods in buf.yaml." + plugin,
			file + `23:5:acme.notes.v1.NoteService/DeleteBin: scope "notes:wirte" is not known: ` +
				"correct it, or add it to the plugin's option scopes in buf.yaml." + plugin,
			file + "30:3:acme.notes.v1.BinService/ListBin has no access rule, so every call of it is refused: " +
				"give it option (onbehalf.principal.v1.access), or its service option (onbehalf.principal.v1.default_access)." + plugin,
		}},
		"breaking": {now, []string{"breaking", "--against", before}, []string{
			file + "14:12:acme.notes.v1.NoteService/DeleteNote " + option +
				"lets in KIND_AGENT, admits a revocation feed older than 5s (max_revocation_age)" + fix + plugin,
			file + "23:5:acme.notes.v1.NoteService/DeleteBin " + option + `no longer demands scope "notes:write"` + fix + plugin,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, buf.run(t, tt.dir, tt.args...)); diff != "" {
				t.Errorf("buf %s (-want +got):\n%s", strings.Join(tt.args, " "), diff)
			}
		})
	}
	t.Run("lint of the shop", func(t *testing.T) {
		t.Parallel()
		const config = `{version: v2, modules: [{path: proto, excludes: [proto/bufplugin]}, {path: examples/shop/proto}],
			lint: {use: [STANDARD, ONBEHALF]}, plugins: [{plugin: buf-plugin-onbehalf, options: {
			scopes: ["orders:read", "orders:write", "payments:read", "payments:write", "ledger:read", "ledger:write"],
			sensitive_methods: ["shop.payments.v1.*/Charge", "shop.ledger.v1.*/AppendEntry"]}}]}`
		if got := buf.run(t, "../..", "lint", "examples/shop/proto", "--config", config); got != nil {
			t.Errorf("buf lint: %q", got)
		}
	})
}

// buf is the tool, and where the plugin lies.
type buf struct{ path, plugins string }

func newBuf(t *testing.T) buf {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir+string(filepath.Separator), "./cmd/buf-plugin-onbehalf")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	tool := exec.CommandContext(t.Context(), "go", "tool", "-modfile=.tools/buf/go.mod", "-n", "buf")
	tool.Dir, tool.Stderr = "../..", os.Stderr
	tool.Env = append(os.Environ(), "GOWORK=off")
	path, err := tool.Output()
	if err != nil {
		t.Fatalf("go tool buf: %v", err)
	}
	return buf{strings.TrimSpace(string(path)), dir}
}

// run returns what buf says, line by line. That it finds nothing and ends with 0,
// or finds something and ends with 100, is checked.
func (b buf) run(t *testing.T, dir string, args ...string) []string {
	t.Helper()
	command := exec.CommandContext(t.Context(), b.path, args...)
	command.Dir = dir
	command.Env = append(os.Environ(), fmt.Sprintf("PATH=%s%c%s", b.plugins, filepath.ListSeparator, os.Getenv("PATH")))
	out, err := command.Output()
	var lines []string
	if len(out) > 0 {
		lines = strings.Split(strings.TrimSpace(string(out)), "\n")
	}
	var failed *exec.ExitError
	switch {
	case err == nil && lines == nil:
	case errors.As(err, &failed) && failed.ExitCode() == 100 && lines != nil:
	case errors.As(err, &failed):
		t.Fatalf("buf %s: %v\n%s%s", strings.Join(args, " "), err, out, failed.Stderr)
	default:
		t.Fatalf("buf %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return lines
}

// newUser makes the repository of testdata/user with one of its two states, and a
// copy of our access.proto as users have it.
func newUser(t *testing.T, state string) string {
	t.Helper()
	dir := t.TempDir()
	vendored := filepath.Join(dir, "third_party/onbehalf/onbehalf/principal/v1")
	if err := os.MkdirAll(vendored, 0o700); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		"testdata/user/buf.yaml":                filepath.Join(dir, "buf.yaml"),
		"../onbehalf/principal/v1/access.proto": filepath.Join(vendored, "access.proto"),
	} {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "proto"), os.DirFS(filepath.Join("testdata/user", state))); err != nil {
		t.Fatal(err)
	}
	return dir
}
