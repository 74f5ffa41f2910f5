package main_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestReload(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer upstream.Close()
	dir := t.TempDir()
	path := config(t, dir, routeTo(upstream.URL))
	p := serve(t, path)
	status := func(path string) int {
		res, err := http.Get(p.public + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	config(t, dir, strings.Replace(routeTo(upstream.URL), "path_prefix: /", "path_prefix: /new", 1))
	p.next("the configuration was taken") // without a signal
	if got := []int{status("/"), status("/new")}; got[0] != 404 || got[1] != 200 {
		t.Error(got)
	}
	if err := os.WriteFile(path, []byte("version: 1\nisuer: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	line := p.next("the configuration was not taken: the edge goes on with the one before")
	if text, _ := line["error"].(string); !strings.Contains(text, "onbehalf.yaml:2: isuer") {
		t.Error(line)
	}
	if got := status("/new"); got != http.StatusOK {
		t.Error(got)
	}
	config(t, dir, routeTo(upstream.URL))
	p.signal(syscall.SIGHUP)
	p.next("the configuration was taken")
	if got := status("/"); got != http.StatusOK {
		t.Error(got)
	}
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		t.Error(code)
	}
}
