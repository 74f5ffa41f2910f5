package main_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal/trust"
)

// operated is a running edge whose admin listener the commands find.
func operated(t *testing.T) (path string, p *process) {
	t.Helper()
	return operatedIn(t, t.TempDir())
}

func operatedIn(t *testing.T, dir string) (path string, p *process) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	path = config(t, dir, routeTo("http://127.0.0.1:1"))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Replace(data, []byte("admin: '127.0.0.1:0'"), []byte("admin: '"+address+"'"), 1)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, serve(t, path)
}

// What an operator can do with a running edge, and that all of it says what
// happened.
func TestOperate(t *testing.T) {
	t.Parallel()
	path, p := operated(t)
	must := func(want string, args ...string) string {
		t.Helper()
		code, stdout, stderr := run(t, append(args, "-c", path)...)
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%v: %d %q %q, want %q", args, code, stdout, stderr, want)
		}
		return stdout
	}
	token := strings.TrimSpace(must("obe_", "services", "enroll", "orders"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	node, err := trust.Join(ctx, p.mesh, "orders", trust.WithEnrollmentToken(token))
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	must("orders", "services")
	must("1 of 1 services that follow this edge have it", "revoke", "session", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "--reason", "left the company")
	must("identity hm-alice of https://edge.test", "revoke", "identity", "hm-alice")
	must("left the company", "revoke", "list")
	must("active", "keys")
	must("published: ", "keys", "rotate")
	must("next", "keys", "list")
	must("ok", "store", "check")
	// A name that is misspelt does not look like success; it can be meant all the same.
	if code, _, stderr := run(t, "revoke", "service", "order", "-c", path); code != 1 || strings.Count(stderr, "onbehalf: ") != 1 ||
		!strings.Contains(stderr, "known are orders;") || !strings.Contains(stderr, "--force") {
		t.Error("a service that nobody knows:", code, stderr)
	}
	must("revoked and durable: service order ", "revoke", "service", "order", "--force")
	must("revoked and durable: service orders ", "revoke", "service", "orders")
	backup := filepath.Join(t.TempDir(), "backup")
	must("bytes", "store", "backup", backup)
	if code, _, stderr := run(t, "store", "backup", backup, "-c", path); code != 1 {
		t.Error("a backup was replaced:", stderr)
	}
	if code, _, stderr := run(t, "store", "restore", backup, "-c", path); code != 1 || strings.Count(stderr, "onbehalf: ") != 1 {
		t.Error("restored below a running edge:", code, stderr)
	}
	for _, args := range [][]string{
		{"revoke", "session", "alice"}, {"revoke", "identity", "alice"}, {"revoke", "service", "NOT A NAME"},
		{"keys", "revoke", ""}, {"services", "enroll", "not a name"},
	} {
		if code, _, stderr := run(t, append(args, "-c", path)...); code != 1 || strings.Count(stderr, "onbehalf: ") != 1 {
			t.Errorf("%v: %d %q", args, code, stderr)
		}
	}
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Error("exit code", code)
	}
	must("restored", "store", "restore", backup)
	p = serve(t, path)
	must("hm-alice", "revoke", "list")
	p.signal(syscall.SIGTERM)
	p.wait()
	if code, _, stderr := run(t, "keys", "-c", path); code != 1 || strings.Count(stderr, "onbehalf: ") != 1 {
		t.Error("without an edge:", code, stderr)
	}
}
