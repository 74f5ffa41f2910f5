package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// decided is a line of a service's log.
func decided(t *testing.T, at time.Time, method, decision, reason string) string {
	t.Helper()
	line, err := json.Marshal(map[string]any{
		"time": at, "level": "WARN", "msg": "principal", "service": "orders", "method": method, "decision": decision, "reason": reason,
		"principal": map[string]any{"id": "x", "kind": "human", "subject": "hm-alice", "path": []string{"bff"}, "scopes": []string{"a"}},
		"rule":      `{all_scopes:"orders:read"}`,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(line) + "\n"
}

func TestReport(t *testing.T) {
	t.Parallel()
	const order = "/shop.orders.v1.OrderService/"
	now := time.Now().UTC()
	log := filepath.Join(t.TempDir(), "orders.log")
	err := os.WriteFile(log, []byte("listening\n"+
		decided(t, now.Add(-80*time.Hour), order+"PlaceOrder", "would_refuse", "scope")+
		decided(t, now.Add(-50*time.Hour), order+"GetOrder", "allowed", "")+
		decided(t, now.Add(-time.Hour), order+"GetOrder", "allowed", "")), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args   []string
		code   int
		stdout []string
		stderr string
	}{
		{args: []string{log}, stdout: []string{
			"shop.orders.v1.OrderService/PlaceOrder at orders\n  not ready: 1 of 1 call would be refused\n", "1 call, scope: without scope orders:read\n",
			"For 1 subject.", "  ready to enforce: 2 calls in 2 days, none would be refused\n",
		}},
		{args: []string{log, "--fail"}, code: 1, stdout: []string{"not ready"}, stderr: "onbehalf: 1 of 3 calls would be refused\n"},
		{args: []string{log, "--fail", "--since", "3d"}, stdout: []string{"0 of 2 calls would be refused", "1 before --since"}},
		{args: []string{log, "--fail", "--since", "72h", "--rules", shop}, stdout: []string{
			"shop.payments.v1.PaymentService/Charge\n  not seen: no call in these logs\n", "1 ready to enforce; 10 not seen",
		}},
		{args: []string{log, "--fail", "--since", now.Format(time.RFC3339)}, code: 1, stdout: []string{"0 of 0 calls"}, stderr: "onbehalf: nothing was decided in these logs: name those of a service with NewLogObserver\n"},
		{args: []string{log, "--subjects"}, stdout: []string{"For 1 subject: hm-alice (1).\n"}},
		{args: []string{log, "-o", "markdown"}, stdout: []string{"| Method |", "## shop.orders.v1.OrderService/PlaceOrder at orders\n"}},
		{args: []string{log, "-o", "json"}, stdout: []string{`"verdict": "not_ready"`}},
		{args: []string{log, "--since", "yesterday"}, code: 2, stderr: "write it as 72h, 7d, 2026-01-31 or 2026-01-31T15:04:05Z"},
		{args: []string{log, "--since=-1h"}, code: 2, stderr: "write it as"},
		{args: []string{log + "x"}, code: 1, stderr: "no such file"},
		{args: []string{log, "--rules", log}, code: 1, stderr: "is not a descriptor set"},
		{args: nil, code: 2, stderr: "expected"},
	} {
		code, stdout, stderr := run(t, append([]string{"report"}, tt.args...)...)
		if code != tt.code || !strings.Contains(stderr, tt.stderr) || tt.stderr == "" && stderr != "" {
			t.Errorf("%q: %d %q", tt.args, code, stderr)
		}
		for _, want := range tt.stdout {
			if !strings.Contains(stdout, want) {
				t.Errorf("%q: %q is not in\n%s", tt.args, want, stdout)
			}
		}
	}

	cmd := exec.CommandContext(t.Context(), binary, "report", "-")
	cmd.Stdin = strings.NewReader(decided(t, now, order+"GetOrder", "would_refuse", "missing"))
	if out, err := cmd.Output(); err != nil || !strings.Contains(string(out), "1 of 1 call would be refused") {
		t.Errorf("%v %s", err, out)
	}
}

func TestReportHelp(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := run(t, "report", "--help")
	if code != 0 || stderr != "" || !strings.Contains(stdout, "ObserveOnly") {
		t.Errorf("%d %q %q", code, stdout, stderr)
	}
	for line := range strings.Lines(stdout) {
		if len(line) > 101 {
			t.Errorf("%d characters: %s", len(line), line)
		}
	}
}
