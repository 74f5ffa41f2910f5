package docs_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// world is what a reader has already: the programs, and a provider.
type world struct{ root, bin, provider string }

var (
	once  sync.Once
	built *world
	stop  = func() {}
	fault error
)

func TestMain(m *testing.M) {
	code := m.Run()
	stop()
	if built != nil {
		os.RemoveAll(built.bin)
	}
	os.Exit(code)
}

func theWorld(t *testing.T) *world {
	t.Helper()
	once.Do(func() { built, fault = build() })
	if fault != nil {
		t.Fatal(fault)
	}
	return built
}

// services are names under which readers know their services; each is the same
// program here.
var services = []string{"orders", "payments", "catalog", "auth"}

func build() (*world, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	bin, err := os.MkdirTemp("", "docs")
	if err != nil {
		return nil, err
	}
	w := &world{root: root, bin: bin}
	for _, p := range []struct{ dir, name, path string }{
		{root, "onbehalf", "./bff/cmd/onbehalf"},
		{root, "provider", "./examples/cmd/provider"},
		{filepath.Join(root, ".tools/docs"), services[0], "./service"},
	} {
		command := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(bin, p.name), p.path)
		command.Dir = p.dir
		if p.dir == root {
			command.Env = append(os.Environ(), "GOWORK=", "GOFLAGS=")
		}
		if output, err := command.CombinedOutput(); err != nil {
			return w, fmt.Errorf("go build %s: %w\n%s", p.path, err, output)
		}
	}
	for _, name := range services[1:] {
		if err := os.Symlink(services[0], filepath.Join(bin, name)); err != nil {
			return w, err
		}
	}
	// buf has a go.mod of its own, and is built when it is not in Go's build cache.
	find := exec.Command("go", "tool", "-modfile=.tools/buf/go.mod", "-n", "buf")
	find.Dir, find.Env = root, append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	buf, err := find.Output()
	if err != nil {
		return w, fmt.Errorf("buf: %w", err)
	}
	if err := os.Symlink(strings.TrimSpace(string(buf)), filepath.Join(bin, "buf")); err != nil {
		return w, err
	}
	if err := w.startProvider(); err != nil {
		return w, err
	}
	return w, os.WriteFile(filepath.Join(bin, "token"), fmt.Appendf(nil, script, w.provider), 0o700)
}

// script gives a token: "token alice orders:read".
const script = `#!/bin/sh
curl -s -d user="$1" -d scope="$2" %s/dev/token | sed 's/.*"access_token":"\([^"]*\)".*/\1/'
`

// startProvider starts the provider, whose first line is its issuer.
func (w *world) startProvider() error {
	command := exec.Command(filepath.Join(w.bin, "provider"), "-listen", "127.0.0.1:0")
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	stop = func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		_ = command.Wait()
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	w.provider = strings.TrimSpace(strings.TrimPrefix(line, "issuer"))
	return err
}

// token is one for alice.
func (w *world) token(t *testing.T) string {
	t.Helper()
	made, err := exec.CommandContext(t.Context(), filepath.Join(w.bin, "token"), "alice", "orders:read loans:read").Output()
	if err != nil || len(made) < 100 {
		t.Fatalf("no token: %q, %v", made, err)
	}
	return strings.TrimSpace(string(made))
}
