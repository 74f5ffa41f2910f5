package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// binary is the command, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "onbehalf")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "onbehalf")
	build := exec.Command("go", "build", "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s", out)
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// config writes a configuration that listens on free ports; lines are added.
func config(t *testing.T, dir, lines string) string {
	t.Helper()
	path := filepath.Join(dir, "onbehalf.yaml")
	text := "version: 1\nissuer: https://edge.test\nlisten: {public: '127.0.0.1:0', mesh: '127.0.0.1:0', admin: '127.0.0.1:0'}\n" + lines
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func routeTo(upstream string) string {
	return "routes: [{path_prefix: /, upstream: '" + upstream + "', auth: none}]\n"
}

// run runs the command to its end.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	} else if ok {
		code = exit.ExitCode()
	}
	return code, out.String(), complaints.String()
}

// process is the command while it serves.
type process struct {
	t                   *testing.T
	cmd                 *exec.Cmd
	stdout              bytes.Buffer
	log                 *bufio.Scanner
	public, mesh, admin string
}

func serve(t *testing.T, path string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.CommandContext(t.Context(), binary, "serve", "--config", path)}
	p.cmd.Stdout = &p.stdout
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.log = bufio.NewScanner(stderr)
	for _, address := range []*string{&p.public, &p.mesh, &p.admin} {
		*address = "http://" + p.next("listening")["address"].(string)
	}
	return p
}

// next returns the next line of the log that says what.
func (p *process) next(what string) map[string]any {
	p.t.Helper()
	for {
		var line map[string]any
		if !p.log.Scan() {
			p.t.Fatal("no more lines:", p.cmd.Wait())
		}
		if err := json.Unmarshal(p.log.Bytes(), &line); err != nil {
			p.t.Fatalf("%s: %v", p.log.Bytes(), err)
		}
		if line["msg"] == what {
			return line
		}
	}
}

// wait returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	for p.log.Scan() { // a pipe is read before the process is waited for
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Log(err)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

func TestServe(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	defer up.Close()
	dir := t.TempDir()
	path := config(t, dir, routeTo(up.URL))

	var keys string
	for start := range 2 { // the key of the first start is that of the second
		p := serve(t, path)
		if status, body := get(t, p.public+"/"); status != http.StatusOK || body != "hello" {
			t.Error(status, body)
		}
		if status, body := get(t, p.admin+"/readyz"); status != http.StatusOK || body != "ready\n" {
			t.Error(status, body)
		}
		_, now := get(t, p.mesh+"/.well-known/onbehalf/jwks.json")
		if start > 0 && now != keys {
			t.Errorf("another key after a restart: %s, was %s", now, keys)
		}
		keys = now
		p.signal([]os.Signal{syscall.SIGTERM, syscall.SIGINT}[start])
		p.next("stopping")
		if code := p.wait(); code != 0 {
			t.Error("exit code", code)
		}
		var record map[string]any
		if err := json.Unmarshal(p.stdout.Bytes(), &record); err != nil || record["decision"] != "allowed" {
			t.Errorf("%q %v", p.stdout.Bytes(), err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "data", "authority-*.pem"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	key := files[0]
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}

	// G08: a damaged key stops the start, and is left as it is.
	if err := os.Truncate(key, 50); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"serve"}, {"config", "check"}} {
		code, _, stderr := run(t, append(args, "-c", path)...)
		if code != 1 || strings.Count(stderr, "onbehalf: ") != 1 || !strings.Contains(stderr, key) {
			t.Errorf("%v: %d %q", args, code, stderr)
		}
	}
	if info, err := os.Stat(key); err != nil || info.Size() != 50 {
		t.Error("the damaged key was replaced")
	}
}

// The second signal does not wait for requests.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	came, release := make(chan struct{}), make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(came)
		<-release
	}))
	defer up.Close()
	defer close(release)
	p := serve(t, config(t, t.TempDir(), routeTo(up.URL)+"limits: {drain: 10m}\n"))
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.public, nil)
		if err != nil {
			t.Error(err)
			return
		}
		if res, err := new(http.Client).Do(req); err == nil {
			res.Body.Close()
			t.Error(res.Status)
		}
	}()
	<-came
	p.signal(syscall.SIGTERM)
	p.next("stopping")
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code == 0 {
		t.Error("exit code", code)
	}
}

func TestListenerInUse(t *testing.T) {
	t.Parallel()
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	dir := t.TempDir()
	path := config(t, dir, routeTo("http://127.0.0.1:1"))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(taken.URL, "http://")
	if err := os.WriteFile(path, bytes.Replace(data, []byte("127.0.0.1:0"), []byte(address), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := run(t, "serve", "-c", path)
	want := "onbehalf: listen.public: " + address + " is in use by another process; stop that, or choose another address\n"
	if code != 1 || !strings.HasSuffix(stderr, want) || strings.Count(stderr, "onbehalf: ") != 1 {
		t.Errorf("%d %q, want %q", code, stderr, want)
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	good := config(t, t.TempDir(), routeTo("http://127.0.0.1:1"))
	bad := config(t, t.TempDir(), "isuer: x\nroutes: []\nroutes: []\n")
	known := "known here: audit, data_dir, enrich, issuer, issuers, keys, limits, link_keys, listen, mesh_tls, presenter, routes, services, signing_key, store, tls, trust_domain, trusted_proxies, version"
	twoLines := fmt.Sprintf("onbehalf: %s:4: isuer: unknown key; %s\nonbehalf: %s:6: routes: stands in line 5 too; remove one\n", bad, known, bad)
	for _, tt := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{[]string{"config", "check", "-c", good}, 0, ""},
		{[]string{"config", "check", "-c", bad}, 1, twoLines},
		{[]string{"serve", "-c", bad}, 1, twoLines},
		{[]string{"serve", "-c", "/none"}, 1, "onbehalf: reading the configuration: open /none: no such file or directory\n"},
		{[]string{"keys", "-c", good}, 1, "onbehalf: data_dir: " + filepath.Join(filepath.Dir(good), "data") + " has no admin token; start the edge with this configuration, and run this where it runs\n"},
		{[]string{"revoke", "session", "alice", "-c", good}, 1, "onbehalf: data_dir: " + filepath.Join(filepath.Dir(good), "data") + " has no admin token; start the edge with this configuration, and run this where it runs\n"},
		{nil, 2, "onbehalf: expected one of \"serve\", \"config\", \"revoke\", \"keys\", \"services\", ... (see onbehalf --help)\n"},
		{[]string{"serf"}, 2, "onbehalf: unexpected argument serf, did you mean \"serve\"? (see onbehalf --help)\n"},
		{[]string{"serve", "--configuration=x"}, 2, "onbehalf: unknown flag --configuration (see onbehalf serve --help)\n"},
		{[]string{"serve", "--log-level=loud"}, 2, "onbehalf: --log-level: slog: level string \"loud\": unknown name (see onbehalf serve --help)\n"},
		{[]string{"keys", "revok"}, 2, "onbehalf: unexpected argument revok (see onbehalf keys --help)\n"},
		{[]string{"revoke", "session"}, 2, "onbehalf: expected \"<id>\" (see onbehalf revoke session --help)\n"},
	} {
		code, _, stderr := run(t, tt.args...)
		if d := cmp.Diff(tt.stderr, stderr); code != tt.code || d != "" {
			t.Errorf("%v: exit code %d, want %d\n%s", tt.args, code, tt.code, d)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(good)); err != nil || len(entries) != 1 {
		t.Error("something was made", entries, err)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"--help", "serve --help", "config check --help", "keys rotate --help", "revoke --help", "revoke session --help", "services --help", "store --help", "version"} {
		code, stdout, stderr := run(t, strings.Fields(args)...)
		if code != 0 || stderr != "" || !strings.Contains(stdout, "onbehalf") {
			t.Errorf("%s: %d %q %q", args, code, stdout, stderr)
		}
		for line := range strings.Lines(stdout) {
			if len(line) > 101 {
				t.Errorf("%s: a long line: %s", args, line)
			}
		}
	}
}
