package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runWith is run with a standard input.
func runWith(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &complaints
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	} else if ok {
		code = exit.ExitCode()
	}
	return code, out.String(), complaints.String()
}

// devKey makes a development key, and returns it and its key set.
func devKey(t *testing.T, issuer string) (key, set string) {
	t.Helper()
	dir := t.TempDir()
	key, set = filepath.Join(dir, "dev.pem"), filepath.Join(dir, "dev.jwks")
	code, stdout, stderr := run(t, "mint", "--new-key", key, "--issuer", issuer)
	if code != 0 {
		t.Fatal(stderr)
	}
	if err := os.WriteFile(set, []byte(stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	return key, set
}

func mint(t *testing.T, args ...string) (header string) {
	t.Helper()
	code, stdout, stderr := run(t, append([]string{"mint"}, args...)...)
	if code != 0 || stderr != "" || strings.Count(stdout, "\n") != 1 {
		t.Fatal(code, stdout, stderr)
	}
	return strings.TrimSpace(stdout)
}

// What is minted is accepted by those for whom it is meant, and says who acts.
func TestMintAndInspect(t *testing.T) {
	t.Parallel()
	key, set := devKey(t, "https://edge.localhost:8443")
	header := mint(t, "--key", key, "--issuer", "https://edge.localhost:8443", "--audience", "orders", "--human", "alice", "--agent", "planner",
		"--scope", "b", "--scope", "a", "--scope", "b", "--role", "buyer", "--tenant", "acme", "--presenter", "bff", "--life", "2m")
	for _, input := range []string{header, "x-principal-bin: " + header + "\n"} {
		code, stdout, stderr := runWith(t, input, "inspect")
		if code != 0 || stderr != "" || !strings.HasPrefix(stdout, "NOT VERIFIED: ") {
			t.Error(code, stdout, stderr)
		}
		for _, want := range []string{"hm-alice  human, subject", "am-planner  agent, actor", "a b", "(in ", "path          bff"} {
			if !strings.Contains(stdout, want) {
				t.Errorf("no %q in\n%s", want, stdout)
			}
		}
	}
	soon := time.Now().Add(time.Hour).Format(time.RFC3339)
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--keys", set}, 0, "SIGNED: "},
		{[]string{"--keys", set, "--service", "orders"}, 0, "ACCEPTED: "},
		{[]string{"--keys", set, "--service", "orders", "--issuer", "https://edge.localhost:8443"}, 0, "ACCEPTED: "},
		{[]string{"--keys", set, "--service", "orders", "--issuer", "dev:other"}, 1, ": unknown_key (UNAUTHENTICATED)"},
		{[]string{"--keys", set, "--service", "payments"}, 1, ": audience\n"},
		{[]string{"--keys", set, "--service", "orders", "--at", soon}, 1, ": time (UNAUTHENTICATED)"},
	} {
		code, stdout, stderr := run(t, append([]string{"inspect", header}, tt.args...)...)
		text := strings.Join(strings.Fields(stdout), " ")
		if code != tt.code || !strings.Contains(text, strings.TrimSpace(tt.want)) ||
			(stderr == "") != (code == 0) {
			t.Errorf("%v: %d %s %s", tt.args, code, stdout, stderr)
		}
	}
	// Another key of the same issuer has not signed.
	_, other := devKey(t, "https://edge.localhost:8443")
	code, stdout, stderr := run(t, "inspect", header, "--keys", other)
	if code != 1 || stderr != "onbehalf: not every signature verifies with these keys\n" || !strings.HasPrefix(stdout, "NOT VERIFIED: ") {
		t.Error(code, stdout, stderr)
	}
}

func TestMintRelay(t *testing.T) {
	t.Parallel()
	key, set := devKey(t, "dev:local")
	header := mint(t, "--key", key, "--audience", "mesh:dev", "--mode", "relay", "--service", "billing")
	ask := []string{"inspect", header, "--keys", set, "--service", "ledger"}
	if code, _, stderr := run(t, ask...); code != 1 || stderr != "onbehalf: ledger would refuse it: audience\n" {
		t.Error(code, stderr)
	}
	if code, stdout, stderr := run(t, append(ask, "--trust-domain", "mesh:dev")...); code != 0 || !strings.Contains(stdout, "svc-billing  service") {
		t.Error(code, stdout, stderr)
	}
	// An agent may act in its own right.
	const agent = "06c648ea-b10b-533b-8b1f-9a32a3b239ec"
	header = mint(t, "--key", key, "--audience", "ledger", "--agent", agent)
	if code, stdout, _ := run(t, "inspect", header); code != 0 || !strings.Contains(stdout, "am-"+agent+"  agent, subject; acts itself") {
		t.Error(code, stdout)
	}
}

func TestInspectJSON(t *testing.T) {
	t.Parallel()
	key, set := devKey(t, "dev:local")
	header := mint(t, "--key", key, "--audience", "orders", "--human", "alice", "--scope", "a")
	code, stdout, stderr := run(t, "inspect", header, "--output", "json", "--keys", set, "--service", "payments")
	var got struct {
		Signatures string `json:"signatures"`
		Decision   struct {
			Accepted    bool   `json:"accepted"`
			Reason      string `json:"reason"`
			Explanation string `json:"explanation"`
		} `json:"decision"`
		Principal struct {
			Subject struct {
				ID string `json:"id"`
			} `json:"subject"`
			Scopes []string `json:"scopes"`
		} `json:"principal"`
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if code != 1 || got.Signatures != "valid" || got.Decision.Accepted || got.Decision.Reason != "audience" ||
		got.Decision.Explanation == "" || got.Principal.Subject.ID != "hm-alice" || len(got.Principal.Scopes) != 1 || strings.Count(stderr, "\n") != 1 {
		t.Errorf("%d %s %s", code, stdout, stderr)
	}
	code, stdout, stderr = run(t, "inspect", header[:40], "--output", "json")
	var failed map[string]map[string]string
	if err := json.Unmarshal([]byte(stdout), &failed); err != nil || code != 1 ||
		failed["error"]["reason"] != "malformed" || failed["error"]["explanation"] == "" {
		t.Error(code, stdout, stderr, err)
	}
}

// Nothing that was given is repeated by a mistake's text.
func TestInspectMistakes(t *testing.T) {
	t.Parallel()
	key, set := devKey(t, "dev:local")
	header := mint(t, "--key", key, "--audience", "orders", "--human", "alice")
	for _, tt := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{[]string{header[:50]}, 1, "onbehalf: cannot be read: malformed: "},
		{[]string{"!" + header}, 1, "onbehalf: cannot be read: malformed: not base64"},
		{[]string{header + "," + header}, 1, "onbehalf: cannot be read: malformed: several"},
		{[]string{strings.Repeat("AAAA", 1200)}, 1, "onbehalf: cannot be read: size: "},
		{[]string{header, "--keys", "/none"}, 1, "onbehalf: keyset: open /none: no such file"},
		{[]string{header, "--service", "orders"}, 2, "onbehalf: inspect: --service needs --keys"},
		{[]string{header, "--issuer", "dev:local"}, 2, "onbehalf: inspect: --trust-domain and --issuer"},
		{[]string{header, "--keys", set, "--service", "Orders"}, 2, "onbehalf: inspect: principal: audience \"Orders\""},
		{[]string{header, "--at", "noon"}, 2, "onbehalf: --at: not a time"},
		{[]string{header, "--output", "yaml"}, 2, "onbehalf: --output must be one of"},
		{[]string{header, "another"}, 2, "onbehalf: unexpected argument another"},
	} {
		code, stdout, stderr := run(t, append([]string{"inspect"}, tt.args...)...)
		if code != tt.code || stdout != "" || !strings.HasPrefix(stderr, tt.stderr) ||
			strings.Contains(stderr, header[:40]) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%.60v: %d %q %q", tt.args, code, stdout, stderr)
		}
	}
	for _, command := range []string{"inspect", "mint"} {
		code, stdout, _ := run(t, command, "--help")
		if code != 0 || !strings.Contains(stdout, "onbehalf "+command) {
			t.Error(code, stdout)
		}
	}
}
