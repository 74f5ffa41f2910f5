package adopt_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// buf is the path of the binary. It has a go.mod of its own, and is built when
// it is not in Go's build cache.
var buf = sync.OnceValues(func() (string, error) {
	command := exec.Command("go", "tool", "-modfile=.tools/buf/go.mod", "-n", "buf")
	command.Dir, command.Env = "../..", append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	path, err := command.Output()
	return strings.TrimSpace(string(path)), err
})

// repository is a copy of a directory of examples/adopt, outside of this tree.
type repository struct {
	t     *testing.T
	dir   string
	flags string
}

func clone(t *testing.T, name string) *repository {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	top := t.TempDir()
	r := &repository{t: t, dir: filepath.Join(top, "loans")}
	if err := os.CopyFS(r.dir, os.DirFS(filepath.Join(root, "examples/adopt", name))); err != nil {
		t.Fatal(err)
	}
	r.remove("gen") // it may have been left there by somebody
	// The version that the go.mod names is not published, and is this tree instead. The go.mod is left as a user writes it.
	copied := filepath.Join(top, "unpublished.mod")
	for from, to := range map[string]string{"go.mod": copied, "go.sum": filepath.Join(top, "unpublished.sum")} {
		if err := os.WriteFile(to, []byte(r.read(from)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.run("go", "mod", "edit", "-replace=github.com/onbehalf-dev/onbehalf="+root, copied)
	r.flags = "-buildvcs=false -modfile=" + copied
	return r
}

func (r *repository) path(name string) string { return filepath.Join(r.dir, name) }

func (r *repository) read(name string) string {
	r.t.Helper()
	text, err := os.ReadFile(r.path(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

func (r *repository) remove(name string) {
	r.t.Helper()
	if err := os.RemoveAll(r.path(name)); err != nil {
		r.t.Fatal(err)
	}
}

// replace changes what matches in all files of a folder that have the ending.
func (r *repository) replace(folder, ending, pattern, with string) {
	r.t.Helper()
	changed := 0
	err := filepath.WalkDir(r.path(folder), func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ending) {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		next := regexp.MustCompile(pattern).ReplaceAll(text, []byte(with))
		if !bytes.Equal(text, next) {
			changed++
		}
		return os.WriteFile(path, next, 0o600)
	})
	if err != nil || changed == 0 {
		r.t.Fatalf("%d files changed, %v", changed, err)
	}
}

func (r *repository) env(more ...string) []string {
	return append(append(os.Environ(), "GOWORK=off", "GOFLAGS="+r.flags), more...)
}

// run runs a command as a user would, in the repository.
func (r *repository) run(name string, args ...string) {
	r.t.Helper()
	command := exec.CommandContext(r.t.Context(), name, args...)
	command.Dir, command.Env = r.dir, r.env()
	if output, err := command.CombinedOutput(); err != nil {
		r.t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, output)
	}
}

func (r *repository) buf(args ...string) {
	r.t.Helper()
	path, err := buf()
	if err != nil {
		r.t.Fatal(err)
	}
	r.run(path, args...)
}

// start builds the service and starts it at an address. The context that it
// returns ends when the service does; what it has logged is the cause.
func (r *repository) start(address string, env ...string) context.Context {
	r.t.Helper()
	ctx, _ := r.launch(address, env...)
	return ctx
}

// launch is start. The function that it also returns stops the service, and
// returns its log.
func (r *repository) launch(address string, env ...string) (running context.Context, stop func() string) {
	r.t.Helper()
	binary := filepath.Join(filepath.Dir(r.dir), "service")
	r.run("go", "build", "-o", binary, ".")
	var log bytes.Buffer
	command := exec.Command(binary)
	command.Dir, command.Env = r.dir, r.env(append(env, "LISTEN="+address)...)
	command.Stdout, command.Stderr = &log, &log
	if err := command.Start(); err != nil {
		r.t.Fatal(err)
	}
	ctx, ended := context.WithCancelCause(r.t.Context())
	go func() {
		err := command.Wait()
		ended(errors.Join(err, errors.New("the service has ended: "+log.String())))
	}()
	stop = sync.OnceValue(func() string {
		_ = command.Process.Signal(syscall.SIGTERM)
		<-ctx.Done()
		return log.String()
	})
	r.t.Cleanup(func() { stop() })
	return ctx, stop
}
