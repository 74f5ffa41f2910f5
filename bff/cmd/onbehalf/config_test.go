package main_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/bff"
)

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	const route = "routes: [{path_prefix: /, upstream: 'http://127.0.0.1:1', auth: none}]\n"
	good := config(t, t.TempDir(), route+"audit: {file: audit.jsonl}\n")
	odd := config(t, t.TempDir(), route)
	bad := config(t, t.TempDir(), "routes: []\n")
	const warning = "warning: audit.file: records go to the standard output only; if nobody keeps that they are lost, and if its reader stops so does the edge: " +
		"name a file, or see to it that the output is collected\n"
	for _, tt := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"-c", good}, 0, good + ": ok\n", ""},
		{[]string{"-c", good, "--strict"}, 0, good + ": ok\n", ""},
		{[]string{"-c", odd}, 0, warning + odd + ": ok\n", ""},
		{[]string{"-c", odd, "--strict"}, 1, warning, "onbehalf: the configuration has warnings, which --strict takes for mistakes\n"},
		{[]string{"-c", bad, "--strict"}, 1, "", "onbehalf: " + bad + ":4: routes: missing; say where requests go\n"},
		{[]string{"-c", odd, "--output=yaml"}, 2, "", "onbehalf: --output must be one of \"text\",\"json\" but got \"yaml\" (see onbehalf --help)\n"},
	} {
		code, stdout, stderr := run(t, append([]string{"config", "check"}, tt.args...)...)
		if code != tt.code || stdout != tt.stdout || stderr != tt.stderr && !strings.Contains(tt.stderr, "--help") {
			t.Errorf("%v: %d, want %d\n%s%s", tt.args, code, tt.code, cmp.Diff(tt.stdout, stdout), cmp.Diff(tt.stderr, stderr))
		}
	}
}

func TestConfigCheckJSON(t *testing.T) {
	t.Parallel()
	odd := config(t, t.TempDir(), routeTo("http://127.0.0.1:1"))
	bad := config(t, t.TempDir(), "routes: []\nisuer: x\n")
	for _, tt := range []struct {
		args               []string
		code               int
		problems, warnings []string // beginnings of lines, keys
	}{
		{[]string{"-c", odd}, 0, nil, []string{"audit.file"}},
		{[]string{"-c", odd, "--strict"}, 1, nil, []string{"audit.file"}},
		{[]string{"-c", bad}, 1, []string{bad + ":5: isuer: unknown key"}, nil},
	} {
		code, stdout, _ := run(t, append([]string{"config", "check", "--output=json"}, tt.args...)...)
		var got struct {
			Problems *[]string      `json:"problems"`
			Warnings *[]bff.Warning `json:"warnings"`
		}
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || got.Problems == nil || got.Warnings == nil {
			t.Fatalf("%v: %v in %s", tt.args, err, stdout)
		}
		if code != tt.code || len(*got.Problems) != len(tt.problems) || len(*got.Warnings) != len(tt.warnings) {
			t.Fatalf("%v: %d %s", tt.args, code, stdout)
		}
		for i, p := range *got.Problems {
			if !strings.HasPrefix(p, tt.problems[i]) {
				t.Errorf("%v: %s", tt.args, p)
			}
		}
		for i, w := range *got.Warnings {
			if w.Key != tt.warnings[i] || w.What == "" || w.Do == "" {
				t.Errorf("%v: %v", tt.args, w)
			}
		}
	}
}

// The edge says once what the check would.
func TestServeWarns(t *testing.T) {
	t.Parallel()
	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	path := config(t, t.TempDir(), routeTo("http://127.0.0.1:1")+"limits: {mint_window: 4m}\n")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(data), "127.0.0.1:0", strings.TrimPrefix(taken.URL, "http://"), 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := run(t, "serve", "-c", path)
	for _, key := range []string{"audit.file", "limits.mint_window"} {
		if code != 1 || strings.Count(stderr, `"key":"`+key+`"`) != 1 {
			t.Errorf("%d, no or more than one warning about %s in %s", code, key, stderr)
		}
	}
}

// The edge serves metrics if it is told to.
func TestServeMeasures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := config(t, dir, routeTo("http://127.0.0.1:1"))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(data), "admin:", "metrics: '127.0.0.1:0', admin:", 1)
	if err := os.WriteFile(filepath.Join(dir, "onbehalf.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := serve(t, path)
	line := p.next("listening")
	address, _ := line["address"].(string)
	if line["listener"] != "metrics" {
		t.Fatal(line)
	}
	if status, body := get(t, "http://"+address+"/metrics"); status != http.StatusOK || !strings.Contains(body, "\nonbehalf_store_healthy 1\n") {
		t.Error(status, body)
	}
	p.signal(os.Interrupt)
	p.wait()
}
