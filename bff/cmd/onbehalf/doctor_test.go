package main_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
)

func TestDoctor(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(nil)
	t.Cleanup(up.Close)
	path := config(t, t.TempDir(), routeTo(up.URL))
	code, stdout, stderr := run(t, "doctor", "-c", path)
	if code != 0 || stderr != "" || !strings.Contains(stdout, "routes[0].upstream  "+up.URL+" answers, on this machine\n") {
		t.Errorf("got %d %q\n%s", code, stderr, stdout)
	}

	address := strings.TrimPrefix(up.URL, "http://")
	code, stdout, stderr = run(t, "doctor", "-c", path, "--must-not-reach", address, "--output", "json")
	if code != 1 || !strings.Contains(stderr, "onbehalf: there are problems") {
		t.Errorf("got %d %q", code, stderr)
	}
	var found []struct {
		Check  string `json:"check"`
		Status string `json:"status"`
		Text   string `json:"text"`
	}
	if err := json.Unmarshal([]byte(stdout), &found); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	last := found[len(found)-1]
	if last.Check != "must not reach" || last.Status != "problem" || !strings.Contains(last.Text, address+" can be reached") {
		t.Errorf("got %+v", last)
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(nil)
	t.Cleanup(up.Close)
	p := serve(t, config(t, t.TempDir(), routeTo(up.URL)))
	address := strings.TrimPrefix(p.admin, "http://")
	if code, stdout, stderr := run(t, "probe", "live", "--address", address); code != 0 || stdout != "ok\n" {
		t.Errorf("got %d %q %q", code, stdout, stderr)
	}
	if code, stdout, stderr := run(t, "probe", "ready", "--address", address); code != 0 || stdout != "ready\n" {
		t.Errorf("got %d %q %q", code, stdout, stderr)
	}
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Errorf("stopped with %d", code)
	}
	if code, _, stderr := run(t, "probe", "ready", "--address", address); code != 1 || !strings.Contains(stderr, "no edge answers") {
		t.Errorf("got %d %q", code, stderr)
	}
	if code, _, _ := run(t, "probe", "well"); code != 2 {
		t.Errorf("got %d for a word that there is not", code)
	}
}
